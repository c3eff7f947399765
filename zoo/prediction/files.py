"""Which pictures are meant by names on a command line: files, folders and patterns."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from zoo.datasets.folders import SYSTEM_FOLDERS, counted
from zoo.pictures import image_suffixes


@dataclass
class Listing:
    """paths: of the pictures, each file once, in the order of the names and, within a folder, of their own names.

    missing: name -> why nothing is meant by it.
    notes: sentences on files of folders that are left out, for their names are not those of pictures.

    Example:
        >>> from zoo.prediction.files import Listing
        >>> Listing(["cat.jpg"]).missing
        {}
    """

    paths: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def list_pictures(names: Iterable[str]) -> Listing:
    """The pictures that `names` stand for.

    A folder stands for all pictures in it and below it, by the suffixes of formats that Pillow decodes; what is hidden
    is left out. A name with `*`, `?` or `[...]` that is no file is a pattern, in which `**` is any number of folders:
    shells that leave it to the program, or a user who quotes it, get the same as others.

    Example:
        >>> import os, pathlib, tempfile
        >>> from zoo.prediction.files import list_pictures
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("2.png", "1.jpg", "notes.txt"):
        ...     (folder / name).touch()
        >>> listing = list_pictures([str(folder), "nothing*.gif"])
        >>> [os.path.basename(path) for path in listing.paths], listing.missing
        (['1.jpg', '2.png'], {'nothing*.gif': 'no file matches it'})
    """
    listing, places = Listing(), set()
    for name in names:
        if os.path.lexists(name):
            matches = [name]
        elif glob.has_magic(name):
            # Of "none/**" glob gives the folder that is not there.
            matches = sorted(filter(os.path.lexists, glob.glob(name, recursive=True)))
        else:
            matches = []
        pictures = [path for match in matches for path in _pictures(match, listing)]
        for path in pictures:
            folder, own = os.path.split(path)
            place = os.path.realpath(folder), own  # not of the file itself: links are pictures of their own
            if place not in places:
                places.add(place)
                listing.paths.append(path)
        if not matches:
            listing.missing[name] = "no file matches it" if glob.has_magic(name) else "there is no such file"
        elif not pictures:
            listing.missing.setdefault(name, "it holds no pictures")
    return listing


def _pictures(path: str, listing: Listing) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    others = []
    for place in _walk(path, (), listing):
        if os.path.splitext(place)[1].lower() in image_suffixes():
            yield place
        else:
            others.append(os.path.relpath(place, path))
    if others:
        listing.notes.append(f"{path}: {counted(others)} left out, for the suffix is of no format of pictures.")


def _walk(folder: str, around: tuple[tuple[int, int], ...], listing: Listing) -> Iterator[str]:
    """Visible files in and below a folder, through links too, but for one to a folder that it lies in."""
    try:
        status = os.stat(folder)
        identity = status.st_dev, status.st_ino
        if identity in around:
            return
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        listing.missing[folder] = error.strerror or str(error)
        return
    for entry in ordered:
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        if os.path.isdir(entry.path):
            yield from _walk(entry.path, (*around, identity), listing)
        else:
            yield entry.path
