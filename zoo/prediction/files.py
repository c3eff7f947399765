"""Which pictures are meant by names on a command line: files, folders and patterns."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zoo.datasets.folders import SYSTEM_FOLDERS, counted
from zoo.pictures import image_suffixes


@dataclass(frozen=True)
class Listing:
    """paths: of the pictures, each once, in the order of the names and, within a folder, of their own names.

    missing: name -> why nothing is meant by it.
    notes: sentences on files of folders that are left out, for their names are not those of pictures.
    """

    paths: tuple[str, ...]
    missing: dict[str, str]
    notes: tuple[str, ...]


def list_pictures(names: Iterable[str]) -> Listing:
    """The pictures that `names` stand for.

    A folder stands for all pictures in it and below it, by the suffixes of formats that Pillow decodes; what is hidden
    is left out. A name with `*`, `?` or `[...]` that is no file is a pattern, in which `**` is any number of folders:
    shells that leave it to the program, or a user who quotes it, get the same as others.
    """
    paths: dict[str, None] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        if os.path.lexists(name):
            matches = [name]
        elif glob.has_magic(name):
            # Of "none/**" glob gives the folder that is not there.
            matches = sorted(filter(os.path.lexists, glob.glob(name, recursive=True)))
        else:
            matches = []
        pictures = [path for match in matches for path in _pictures(match, notes)]
        paths.update(dict.fromkeys(pictures))
        if not matches:
            missing[name] = "no file matches it" if glob.has_magic(name) else "there is no such file"
        elif not pictures:
            missing[name] = "it holds no pictures"
    return Listing(tuple(paths), missing, tuple(dict.fromkeys(notes)))


def _pictures(path: str, notes: list[str]) -> Iterator[str]:
    if not os.path.isdir(path):
        yield os.path.normpath(path)
        return
    others = []
    for place in _walk(path, ()):
        if os.path.splitext(place)[1].lower() in image_suffixes():
            yield os.path.normpath(place)
        else:
            others.append(os.path.relpath(place, path))
    if others:
        notes.append(f"{path}: {counted(others)} left out, for the suffix is of no format of pictures.")


def _walk(folder: str, around: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Visible files in and below a folder, through links too, but for one to a folder that it lies in."""
    status = os.stat(folder)
    identity = status.st_dev, status.st_ino
    if identity in around:
        return
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        if os.path.isdir(entry.path):
            yield from _walk(entry.path, (*around, identity))
        else:
            yield entry.path
