"""The checkpoints of a run: a folder with the last few, and the best."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from zoo.training.files import PART, replacing

SUFFIX = ".safetensors"
FOLDER = "checkpoints"  # in a run's directory
BEST = f"best{SUFFIX}"  # another name of the file with the best val_top1
SPARE = f"{PART}spare{SUFFIX}"  # a former checkpoint, which the next one overwrites
_NAME = re.compile(rf"epoch-(\d+)(?:-step-(\d+))?{re.escape(SUFFIX)}")


def file_name(epoch: int, step: int) -> str:
    """The name of a checkpoint after `epoch` epochs and `step` steps of the next.

    Example:
        >>> from zoo.training.checkpoints.folder import file_name
        >>> file_name(3, 0), file_name(3, 120)
        ('epoch-0003.safetensors', 'epoch-0003-step-000120.safetensors')
    """
    return f"epoch-{epoch:04}{f'-step-{step:06}' if step else ''}{SUFFIX}"


def position(path: Path) -> tuple[int, int] | None:
    """Epoch and step of a checkpoint by its name; None for another file."""
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a folder but the best, which is one of them or older than they are."""
    ordered = {path: place for path in folder.glob(f"*{SUFFIX}") if (place := position(path)) is not None}
    return sorted(ordered, key=lambda path: ordered[path], reverse=True)


def drop_others(newest: Path, keep: int) -> None:
    """Delete all but the `keep` last up to `newest`; one of them stays as a spare file, for `take_spare`.

    Later ones are of an end of this run that was given up: it goes on from an earlier place, or they were damaged.
    """
    paths = newest_first(newest.parent)
    at = paths.index(newest)
    spare = newest.with_name(SPARE)
    for path in [*paths[:at], *paths[at + keep :]]:
        with suppress(OSError):  # a file that stays is no harm; the next time it is tried again
            if path.stat().st_nlink == 1 and not spare.exists():
                path.rename(spare)
            else:
                path.unlink()


def take_spare(part: Path) -> None:
    """Give the file that is to be written what the spare file has of disk and memory, where there is one.

    To overwrite takes a tenth of the time that fresh pages of the system's cache take on a virtual machine, and on a
    disk that has become full in the meantime there is room.
    """
    with suppress(OSError):
        part.with_name(SPARE).rename(part)


def drop_spare(folder: Path) -> None:
    """Delete the spare file, once there is nothing more to write."""
    with suppress(OSError):
        (folder / SPARE).unlink(missing_ok=True)


def name_best(path: Path) -> None:
    """Let `best.safetensors` be the file `path`: a second name of it, or a copy where the file system has none.

    Raises:
        RecordError: it cannot be written; the former best is as it was.
    """
    with replacing(path.with_name(BEST)) as part:
        part.unlink(missing_ok=True)
        try:
            os.link(path, part)
        except OSError:
            shutil.copyfile(path, part)


def drop_half_written(folder: Path) -> None:
    """Delete what a run that was killed in the middle of saving has left."""
    for path in folder.glob(f"{PART}*{SUFFIX}"):
        path.unlink(missing_ok=True)
