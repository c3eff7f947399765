"""Caches, prepared data sets and runs: where they lie, how large they are, and the space that is left there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.comparison.reading import run_folders
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, existing, path_text, shown, size_text, writable
from zoo.weights.download import cache_folder as weights_folder

MOST_FILES = 100_000  # that are counted of one folder, a few seconds
LITTLE_SPACE = 2 * 2**30  # bytes: a data set, the weights of a network and its checkpoints
NO_SPACE = 100 * 2**20  # bytes: nor the kernels
NAMED = 12  # data sets
RUNS = ("outputs", "multirun")


@dataclass(frozen=True)
class Size:
    """What is in a folder; `complete` is False where more than MOST_FILES are, or some cannot be read."""

    bytes: int = 0
    files: int = 0
    complete: bool = True


def caches() -> Iterator[Row]:
    """Compiled kernels, downloaded weights, what W&B keeps."""
    yield _cache("caches.kernels", kernels_folder(), "XDG_CACHE_HOME")
    yield _cache("caches.weights", weights_folder(), "XDG_CACHE_HOME")
    yield _cache("caches.hugging_face", hub_folder(), "HF_HOME")
    yield _cache("caches.wandb", wandb_folder(), "WANDB_CACHE_DIR")


def data_sets() -> Iterator[Row]:
    """The folder of TFDS and the data sets that are prepared there."""
    folder = data_folder()
    row = _cache("data.folder", folder, "TFDS_DATA_DIR")
    yield row
    prepared, unfinished = prepared_in(folder)
    names = ", ".join(prepared[:NAMED]) + (f" and {len(prepared) - NAMED} more" if len(prepared) > NAMED else "")
    data = {"prepared": prepared, "unfinished": [path_text(path) for path in unfinished]}
    if unfinished:
        some = ", ".join(path_text(path) for path in unfinished[:3])
        remedy = f"Remove what a preparation that was stopped has left, if none is going on: {some}."
        yield Row("data.prepared", NOTE, f"{shown(names) or 'none'}; {len(unfinished)} unfinished", remedy, data)
    else:
        yield Row("data.prepared", OK, shown(names) or "none", None, data)


def runs() -> Iterator[Row]:
    """Runs below the working directory, where `train.py` writes them."""
    try:
        here = Path.cwd()
    except OSError as error:
        reason = f"the working directory cannot be read: {error.strerror}"
        for name in RUNS:
            yield Row(f"runs.{name}", NOTE, reason, "Change to a folder that is there.", {"folder": None, "runs": 0})
        return
    for name in RUNS:
        folder = here / name
        if not folder.is_dir():
            yield Row(f"runs.{name}", OK, f"no {name}/ in {path_text(here)}", None, {"folder": None, "runs": 0})
            continue
        unread: list[str] = []
        count, size = sum(1 for _ in run_folders(folder, unread.append)), size_of(folder)
        facts = {"folder": path_text(folder), "runs": count, **_as_data(size)}
        text = f"{count} run{'' if count == 1 else 's'} in {path_text(folder)}, {_in_words(size)}"
        yield Row(f"runs.{name}", OK, text, None, facts)


def kernels_folder() -> Path:
    """As `blocks.kernels.build.cache_folder` has it, which cannot be imported without TensorFlow."""
    return weights_folder().with_name("kernels")


def hub_folder() -> Path:
    """Where huggingface_hub keeps what it fetches. Source: its `constants`, which it reads when it is imported."""
    if folder := _variable("HF_HUB_CACHE") or _variable("HUGGINGFACE_HUB_CACHE"):
        return folder
    return (_variable("HF_HOME") or _user_cache() / "huggingface") / "hub"


def wandb_folder() -> Path:
    """Where W&B keeps artifacts. Source: its `env.get_cache_dir`, which takes the system's folder of caches."""
    system = Path("~/Library/Caches").expanduser() if sys.platform == "darwin" else _user_cache()
    return _variable("WANDB_CACHE_DIR") or system / "wandb"


def data_folder() -> Path:
    """Where TFDS prepares data sets, unless `dataset.data_dir` says otherwise."""
    return _variable("TFDS_DATA_DIR") or Path("~/tensorflow_datasets").expanduser()


def prepared_in(folder: Path) -> tuple[list[str], list[Path]]:
    """Data sets that are prepared below TFDS's folder, as NAME[/CONFIG]/VERSION, and folders of unfinished ones."""
    prepared, unfinished = set(), []
    for pattern in ("*/*", "*/*/*"):
        for path in folder.glob(pattern):
            if path.relative_to(folder).parts[0] == "downloads":
                continue
            if ".incomplete" in path.name:
                unfinished.append(path)
            elif re.fullmatch(r"\d+\.\d+\.\d+", path.name) and (path / "dataset_info.json").is_file():
                prepared.add(path.relative_to(folder).as_posix())
    return sorted(prepared), sorted(unfinished)


def size_of(folder: Path, most: int = MOST_FILES) -> Size:
    """The files below a folder, a file with several names counted once; links are not followed."""
    total, complete = 0, True
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                        continue
                    state = entry.stat(follow_symlinks=False)
                    if (state.st_dev, state.st_ino) not in seen:
                        seen.add((state.st_dev, state.st_ino))
                        total += state.st_size
        except OSError:
            complete = False
        if len(seen) >= most:
            return Size(total, len(seen), False)
    return Size(total, len(seen), complete)


def _cache(key: str, folder: Path, variable: str) -> Row:
    """A folder that fills while programs run: its size, whether it can be written, the space that is left."""
    folder = folder.absolute()
    size = size_of(folder) if folder.is_dir() else Size()
    free = shutil.disk_usage(existing(folder)).free
    facts = {"folder": path_text(folder), "exists": folder.is_dir(), "writable": writable(folder), "free_bytes": free}
    facts |= _as_data(size)
    text = f"{path_text(folder)}, {_in_words(size) if folder.is_dir() else 'not there yet'}, {size_text(free)} free"
    if not writable(folder):
        remedy = f"Set {variable} to a folder that can be written."
        return Row(key, NOTE, f"{text}, cannot be written", remedy, facts)
    if free < LITTLE_SPACE:
        remedy = f"Free some space, or set {variable} to a folder on another disk."
        return Row(key, PROBLEM if free < NO_SPACE else NOTE, f"{text}: that is little", remedy, facts)
    return Row(key, OK, text, None, facts)


def _in_words(size: Size) -> str:
    if not size.files:
        return "empty"
    at_least, plural = "" if size.complete else "at least ", "" if size.files == 1 else "s"
    return f"{at_least}{size_text(size.bytes)} in {size.files:,} file{plural}"


def _as_data(size: Size) -> dict[str, int | bool]:
    return {"bytes": size.bytes, "files": size.files, "complete": size.complete}


def _variable(name: str) -> Path | None:
    return Path(value).expanduser() if (value := os.environ.get(name)) else None


def _user_cache() -> Path:
    return _variable("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
