"""Which data a run learns from, wherever they lie: two runs with the same identity have read the same images."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from zoo.datasets.config import DatasetConfig
from zoo.datasets.folders import FolderSplit, ImageFolder, list_folder

AT_ONCE = 8  # files whose sizes are asked for: on a network's file system each waits for an answer


def data_identity(config: DatasetConfig, folder: ImageFolder | None = None) -> dict[str, Any]:
    """What tells the data of `config` from others, in JSON's types. The data set must be prepared.

    For a TFDS data set, its full name `builder` (`mnist/3.0.1`) and the `examples` of each split; for an image folder,
    the number of `files` of the splits in use, their `bytes`, and a `digest` of their names and sizes; for synthetic
    data only that, since the configuration has the rest. `folder` is what an image folder holds, where it has been
    listed.

    Raises:
        ValueError: an image folder cannot be read.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.identity import data_identity
        >>> data_identity(DatasetConfig(source="synthetic"))
        {'source': 'synthetic'}
    """
    if config.source == "synthetic":
        return {"source": config.source}
    if config.source == "image_folder":
        return folder_identity(folder or list_folder(config), folds=config.fold is not None)
    data_dir = Path(config.data_dir).expanduser() if config.data_dir else None
    info = tfds.builder(config.builder, data_dir=data_dir).info
    return {
        "builder": info.full_name,
        "examples": {name: int(split.num_examples) for name, split in info.splits.items()},
    }


def folder_identity(folder: ImageFolder, folds: bool = False) -> dict[str, Any]:
    """Number, bytes and digest of the images of an image folder; of its splits in use. With `folds`, of which training
    and validation split are parts, every fold has the same.

    No image is opened: a million take seconds. The digest is SHA-256 over split, class, name below the split's folder
    and size of every image, so that a copy in another place has the same; times and owners do not count.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.folders import list_folder
        >>> from zoo.datasets.identity import folder_identity
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("train/cat/1.jpg", "train/dog/1.jpg", "validation/cat/2.jpg", "validation/dog/2.jpg"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     size = (root / name).write_bytes(b"1,024")
        >>> identity = folder_identity(list_folder(DatasetConfig(source="image_folder", data_dir=str(root))))
        >>> identity["files"], identity["bytes"]
        (4, 20)
    """
    total, files, size = hashlib.sha256(), 0, 0
    splits = {"train": folder.train, "validation": folder.validation, "test": folder.test}
    if folds:
        paths, labels = (getattr(folder.train, key) + getattr(folder.validation, key) for key in ("paths", "labels"))
        splits = {"folds": FolderSplit(folder.train.folder, paths, labels), "test": folder.test}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for role, split in splits.items():
            if split is None:
                continue
            sizes = _sizes(split, pool)
            start = len(os.fspath(split.folder)) + 1
            images = sorted(
                (os.fsencode(path[start:].replace(os.sep, "/")), label, length)
                for path, label, length in zip(split.paths, split.labels, sizes, strict=True)
            )
            total.update(b"%s %d\n" % (role.encode(), len(images)))
            for name, label, length in images:
                total.update(b"%s\0%d %d\n" % (name, label, length))
            files, size = files + len(images), size + sum(sizes)
    return {"files": files, "bytes": size, "digest": total.hexdigest()}


def _sizes(split: FolderSplit, pool: ThreadPoolExecutor) -> list[int]:
    """Bytes of each file of a split, which are asked for by several threads, each with a part of them."""
    step = -(-len(split.paths) // AT_ONCE) or 1
    parts = [split.paths[first : first + step] for first in range(0, len(split.paths), step)]
    return [length for lengths in pool.map(_lengths, parts) for length in lengths]


def _lengths(paths: tuple[str, ...]) -> list[int]:
    lengths = []
    for path in paths:
        try:
            lengths.append(os.stat(path).st_size)
        except FileNotFoundError:  # a link that leads to nothing
            lengths.append(0)
    return lengths
