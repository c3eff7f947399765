"""The directory of one run: claimed before anything is written to it, so that no run replaces what another learnt."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo import environment
from zoo.metrics import EVALUATION_FILE, METRICS_FILE, RESULT_FILE, TRAIN_LOSS
from zoo.training.checkpoints import folder as checkpoints
from zoo.training.files import PART, RecordError, cannot_write, write_text

MODEL_FILE = "model.keras"
LOCK_FILE = ".run.lock"  # the system lets go of it when its process ends, however that ends
COMPOSITION = ".hydra"  # where Hydra's users look for what was composed
UNFINISHED = ("running", "interrupted", "failed")  # of a run that may have left without having learnt anything


def refuse_used(directory: Path) -> None:
    """Raise RecordError where an earlier run has left a model, a checkpoint or the figures of an epoch: a new one would
    replace them. One that failed or was stopped before has nothing to lose.
    """
    if contents := learnt(directory):
        raise RecordError(
            f"{directory} holds {contents} of an earlier run{_ending(directory)}, which a new one would replace: "
            f"{_elsewhere()}, go on with it by resume=auto, or remove it first."
        )


@contextmanager
def claimed(
    directory: Path,
    composition: Mapping[str, str] | None = None,
    examine: Callable[[Path], Any] = refuse_used,
) -> Iterator[Any]:
    """Hold `directory` for the run in the block, which gets what `examine` has returned.

    Args:
        directory: made if it does not exist; other files in it are left alone, and those that an earlier run has left
            half written go.
        composition: name -> text of the files of `.hydra`, written once the directory is held.
        examine: raises where this run may not have the directory, before anything is written to it.

    Raises:
        RecordError: another run uses the directory, or it cannot be written; and what `examine` raises.
    """
    directory = Path(directory)
    lock = FileLock(directory / LOCK_FILE, blocking=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RecordError(f"{directory} is in use by another run{_holder(directory)}: {_elsewhere()}.") from None
    except OSError as error:
        raise cannot_write(directory, error) from error
    try:
        examined = examine(directory)
        _prepare(directory, composition or {})
        yield examined
    finally:
        if learnt(directory):  # it is refused with the lock or without
            with suppress(OSError):
                (directory / LOCK_FILE).unlink(missing_ok=True)
        lock.release()


@contextmanager
def unused(directory: Path) -> Iterator[None]:
    """Behind the block, delete `directory` if it is empty: Hydra makes one for each worker, the chief alone writes."""
    try:
        yield
    finally:
        with suppress(OSError):
            Path(directory).rmdir()


def without_model(folder: Path) -> str | None:
    """Why a folder that is the directory of a run, or holds some, is no network; None for any other folder.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.training.run_directory import without_model
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> without_model(folder) is None
        True
        >>> (folder / "result.json").write_text('{"status": "running"}')
        21
        >>> without_model(folder).removeprefix(str(folder))
        ' is a run that has not saved model.keras: it goes on, or has ended before its first step.'
    """
    if (folder / RESULT_FILE).is_file():
        result = read_json(folder / RESULT_FILE)
        if result.get("mode") == "evaluate":
            evaluated = result.get("checkpoint")
            return f"{folder} is an evaluation, which saves no {MODEL_FILE}: give what it evaluated, {evaluated}."
        return f"{folder} is a run that has not saved {MODEL_FILE}: it goes on, or has ended before its first step."
    runs = sorted(str(file.parent) for file in folder.glob(f"*/{MODEL_FILE}"))
    if not runs:
        return None
    listed = ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")
    return f"{folder} is a folder of runs: give one of them, {listed}."


def _prepare(directory: Path, composition: Mapping[str, str]) -> None:
    try:
        (directory / LOCK_FILE).write_text(json.dumps(environment.process()), encoding="utf-8")
        for name in (MODEL_FILE, RESULT_FILE, METRICS_FILE, EVALUATION_FILE):
            (directory / f"{PART}{name}").unlink(missing_ok=True)
        checkpoints.drop_half_written(directory / checkpoints.FOLDER)
        if composition:
            (directory / COMPOSITION).mkdir(exist_ok=True)
        for name, text in composition.items():
            write_text(directory / COMPOSITION / name, text)
    except OSError as error:
        raise cannot_write(directory, error) from error


def learnt(directory: Path) -> str:
    """What in `directory` a new run would replace, in words; empty where there is nothing worth keeping."""
    contents = [name for name in (MODEL_FILE, EVALUATION_FILE) if (directory / name).exists()]
    if checkpoints.newest_first(directory / checkpoints.FOLDER):
        contents.append(checkpoints.FOLDER)
    if _has_epochs(directory / METRICS_FILE):
        contents.append(METRICS_FILE)
    result = directory / RESULT_FILE
    if not contents and result.exists() and read_json(result).get("status") not in UNFINISHED:
        contents.append(RESULT_FILE)  # finished, damaged, or no run's at all
    return " and ".join(contents) if len(contents) < 3 else f"{', '.join(contents[:-1])} and {contents[-1]}"


def _has_epochs(metrics: Path) -> bool:
    """Whether an epoch ended with a loss that is a number; a file that cannot be read may have such."""
    if not metrics.exists():
        return False
    try:
        with metrics.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if TRAIN_LOSS not in (rows.fieldnames or [TRAIN_LOSS]):
                return True  # another program's
            return any(math.isfinite(float(row[TRAIN_LOSS])) for row in rows)
    except (OSError, ValueError, TypeError, csv.Error):
        return True


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    with suppress(OSError, ValueError, RecursionError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    return {}


def _ending(directory: Path) -> str:
    status = read_json(directory / RESULT_FILE).get("status")
    if status == "running":
        return " that was killed"
    return f" ({status})" if status in ("finished", "interrupted", "failed") else ""


def _holder(directory: Path) -> str:
    process = read_json(directory / LOCK_FILE)
    if not process:
        return ""
    return f" (process {process.get('pid')} on {process.get('host')}, since {process.get('started')})"


def _elsewhere() -> str:
    return "name another directory with hydra.run.dir=PATH (for a sweep: hydra.sweep.dir=PATH)"
