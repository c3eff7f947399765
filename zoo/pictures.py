"""Files of pictures: which names they have, and those in a folder. Imports neither Keras nor TensorFlow."""

import os
from functools import cache
from pathlib import Path

NOT_DECODED = ("EPS", "MPEG")  # Pillow needs Ghostscript for the one and decodes nothing of the other


@cache
def image_suffixes() -> frozenset[str]:
    """In small letters, with the dot: of all formats that Pillow decodes.

    Example:
        >>> from zoo.pictures import image_suffixes
        >>> {".jpg", ".png", ".webp"} <= image_suffixes()
        True
    """
    from PIL import Image, ImageFile

    suffixes = Image.registered_extensions()
    decoded = {
        name
        for name, (factory, _) in Image.OPEN.items()
        if not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)) and name not in NOT_DECODED
    }
    return frozenset(suffix for suffix, name in suffixes.items() if name in decoded or name == "MPO")  # MPO is a JPEG


def pictures_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder and those below it, in the order of their paths; hidden files and folders are left out.

    Raises ValueError where there is no such folder, or no picture in it.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.pictures import pictures_in
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("cat.jpg", "notes.txt", ".hidden.png"):
        ...     (root / name).touch()
        >>> [path.name for path in pictures_in(root)]
        ['cat.jpg']
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"{os.fspath(folder)} is no folder of pictures: {'a file' if root.exists() else 'not there'}.")
    paths = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in image_suffixes()
        ]
    if not paths:
        raise ValueError(
            f"{os.fspath(folder)} holds no pictures: their names end in .jpg, .png or another of Pillow's."
        )
    return paths
