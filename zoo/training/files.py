"""Files that are replaced as a whole: a reader, or a program that is killed, leaves the old one or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import FULL_DISK, UserError

PART = "part."  # before the name of a file that is being written; behind it, Keras would not know the suffix


class RecordError(UserError):
    """The run directory cannot be written."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` for the block to write to, which then takes the place of `path`.

        with replacing(directory / "model.keras") as part:
            model.save(part)

    The data is on disk before it takes that place. When the block raises, `path` is as it was.

    Raises:
        RecordError: the block or the file system raised OSError, a full disk for instance.
    """
    part = path.with_name(PART + path.name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the new name to disk; not every system and file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file as `replacing` does. Raises RecordError where it cannot be written."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def cannot_write(path: Path, error: OSError) -> RecordError:
    """One sentence on why `path` cannot be written."""
    reason = error.strerror or str(error)
    more = ", and once there is room resume=auto goes on" if error.errno in FULL_DISK else ""
    return RecordError(f"Cannot write {path}: {reason}; another directory is chosen with hydra.run.dir=PATH{more}.")
