"""A row of the report, and what keeps one that fails from ending the others."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.environment import redact

OK, NOTE, PROBLEM = "ok", "note", "problem"
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
LONGEST = 400  # characters of a text from outside


@dataclass(frozen=True)
class Row:
    """One thing that was found out.

    key: "section.name"; it stays the same from version to version.
    status: OK, NOTE (worth knowing, nothing is broken) or PROBLEM.
    text: what there is, for people; other programs read `data`.
    remedy: a sentence on how to mend it, of every problem and of some notes.
    """

    key: str
    status: str
    text: str
    remedy: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


Part = Callable[[], Iterable[Row]]


def guarded(key: str, part: Part) -> list[Row]:
    """The rows of `part`; where it fails, one problem under `key` that says why, in place of all of them."""
    try:
        return list(part())
    except Exception as error:  # whatever it is: the report is for those whose machine is not as expected
        reason = shown(f"{type(error).__name__}: {error}")
        remedy = f"Report this line as a bug: {key}."
        if isinstance(error, ModuleNotFoundError):
            remedy = f"pip install {error.name} installs what is missing."
        return [Row(key, PROBLEM, f"this could not be found out ({reason})", remedy)]


def shown(text: str) -> str:
    """A text from outside on one line, without credentials, the home folder as ~."""
    line = CREDENTIALS.sub("***@", redact(" ".join(text.split())))
    home = os.path.expanduser("~")
    if len(home) > 1:
        line = re.sub(rf"{re.escape(home)}(?=/|$|[\s'\":;,)])", "~", line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def path_text(path: str | os.PathLike[str]) -> str:
    """A path, with ~ for the home folder: its name is the user's, and reports are public."""
    return shown(str(path))


def size_text(count: int) -> str:
    """Bytes in three digits: 3.52 GiB."""
    value = float(count)
    for unit in UNITS:
        if value < 999.5 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def writable(folder: Path) -> bool:
    """Whether files can be written into `folder`, which is made if it is not there."""
    there = existing(folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    for folder in (path, *path.parents):
        try:
            if folder.exists():
                return folder
        except OSError:  # above it, perhaps, reading is allowed
            continue
    return Path(path.anchor or ".")
