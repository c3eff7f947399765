"""Which data a run learns from, wherever they lie: two runs with the same identity have read the same images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from zoo.training.data_config import DatasetConfig
from zoo.training.errors import UserError
from zoo.training.examples import FOLDER_ALIASES

SCANNED_AT_ONCE = 16  # folders: on a network's file system each waits for answers


def data_identity(config: DatasetConfig) -> dict[str, Any]:
    """What tells the data of `config` from others, in JSON's types. The data set must be prepared.

    For a TFDS data set, its full name `builder` (`mnist/3.0.1`) and the `examples` of each split; for an image folder,
    the number of `files` of the splits in use, their `bytes`, and a `digest` of their names and sizes; for synthetic
    data only that, since the configuration has the rest.

        data_identity(DatasetConfig())  # {"builder": "digits/1.0.0", "examples": {"train": 1437, "validation": 360}}

    Raises:
        UserError: a folder cannot be read.
    """
    if config.source == "synthetic":
        return {"source": config.source}
    if config.source == "tfds":
        folder = Path(config.data_dir).expanduser() if config.data_dir else None
        info = tfds.builder(config.builder, data_dir=folder).info
        return {
            "builder": info.full_name,
            "examples": {name: int(split.num_examples) for name, split in info.splits.items()},
        }
    root = Path(config.data_dir).expanduser()
    splits = {"train": config.train_split, "validation": config.validation_split, "test": config.test_split}
    return folder_identity({role: _folder_of(root, split) for role, split in splits.items() if split})


def folder_identity(splits: Mapping[str, Path]) -> dict[str, Any]:
    """Number, bytes and digest of the visible files in the folders of these splits, in every depth.

    No file is opened: a million take seconds. The digest is SHA-256 over split, name below its folder and size of every
    file, in order, so that a copy in another place has the same; times and owners do not count. Links are followed.

    Args:
        splits: role ("train") -> its folder.

    Raises:
        UserError: a folder cannot be read.
    """
    total, files, size = hashlib.sha256(), 0, 0
    for role in sorted(splits):
        for name, number, length, digest in sorted(_scanned(splits[role])):
            total.update(b"%s/%s\0%s\n" % (os.fsencode(role), name, digest))
            files, size = files + number, size + length
    return {"files": files, "bytes": size, "digest": total.hexdigest()}


def _folder_of(root: Path, split: str) -> Path:
    """The folder of a split, which may have another of the names that are understood."""
    names = FOLDER_ALIASES.get(split, (split,))
    return next((root / name for name in names if (root / name).is_dir()), root / split)


def _scanned(root: Path) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Name below `root`, files, bytes and digest of each visible folder that has files."""
    with ThreadPoolExecutor(SCANNED_AT_ONCE) as pool:
        waiting: list[tuple[bytes, Future]] = [(b"", pool.submit(_scan, os.fsencode(root)))]
        while waiting:
            name, future = waiting.pop()
            try:
                number, length, digest, folders = future.result()
            except OSError as error:
                raise UserError(f"The images cannot be listed: {error.filename}: {error.strerror}.") from error
            for folder in folders:
                below = os.path.join(name, folder)
                waiting.append((below, pool.submit(_scan, os.path.join(os.fsencode(root), below))))
            if number:
                yield name, number, length, digest


def _scan(path: bytes) -> tuple[int, int, bytes, list[bytes]]:
    """Number, bytes and digest of the visible files of one folder, and names of its visible folders."""
    sizes: dict[bytes, int] = {}
    folders = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(b".") or entry.name == b"__MACOSX":
                continue
            if not entry.is_dir():
                # A link to nothing has a name alone.
                sizes[entry.name] = entry.stat().st_size if not entry.is_symlink() or os.path.exists(entry.path) else -1
            elif not (entry.is_symlink() and _is_above(os.path.realpath(entry.path), os.path.realpath(path))):
                folders.append(entry.name)
    lines = b"".join(b"%s\0%d\n" % (name, sizes[name]) for name in sorted(sizes))
    return len(sizes), sum(max(0, size) for size in sizes.values()), hashlib.sha256(lines).digest(), folders


def _is_above(folder: bytes, path: bytes) -> bool:
    """Whether a link to `folder` inside of `path` leads in a circle."""
    return os.path.commonpath([folder, path]) == folder
