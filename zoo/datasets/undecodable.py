"""Images that cannot be decoded: looked for before training where that is cheap, named where training meets one.

Before training the headers of all files are read, and where a file does not end as its format does, it is decoded; what
is damaged in the midst shows when it is read.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from zoo.datasets.augment import decode
from zoo.datasets.config import DatasetConfig
from zoo.datasets.examples import parse_records
from zoo.datasets.folders import FolderSplit, ImageFolder, counted, shown
from zoo.datasets.parallel import in_parallel, untuned
from zoo.errors import UserError

logger = logging.getLogger(__name__)

THREADS, BLOCK = 16, 16  # for reading headers, and files for one at a time: they may lie on a server
ENDINGS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
LENGTHS = {"WEBP": (4, 8), "BMP": (2, 0)}  # where the header tells the length of the file, and what is not part of it
GREY = ("1", "L")  # Pillow's modes that certainly decode to one channel
DAMAGED = "it is damaged or cut off"
COLOUR = "has colour, but dataset.channels=1; set dataset.channels=3 (and mean and std)."  # what `decode` says


class UndecodableError(UserError, ValueError):
    """An image cannot be decoded; says which, why and what to do."""


def without_undecodable(folder: ImageFolder, config: DatasetConfig) -> ImageFolder:
    """`folder`, of whose images the header is sound; with `config.skip_broken`, which can all be decoded.

    Raises:
        UndecodableError: some cannot, and are not to be skipped, or they are all that a class or a split has.
        ValueError: an image has colour where `config.channels` is 1.
    """
    paths = [path for split in folder.splits for path in split.paths]
    faults = dict(sorted(_faults(paths, config, thorough=config.skip_broken)))
    if not faults:
        return folder
    if not config.skip_broken:
        raise UndecodableError(_sentence(paths, faults))
    names = [f"{os.path.relpath(paths[index], folder.root)}: {reason}" for index, reason in faults.items()]
    logger.warning(
        "%s: %s of %s images cannot be decoded and are left out (dataset.skip_broken=true).",
        shown(folder.root),
        counted(names),
        f"{len(paths):,}",
    )
    broken = {paths[index] for index in faults}
    return replace(
        folder,
        train=_without(folder.train, broken, folder.class_names),
        validation=_without(folder.validation, broken, ()),
        test=folder.test and _without(folder.test, broken, ()),
    )


def image_fault(folder: ImageFolder, config: DatasetConfig) -> str | None:
    """One sentence on an image of the folder that cannot be decoded, or no longer; None where all can."""
    paths = [path for split in folder.splits for path in split.paths]
    fault = next(_faults(paths, config, thorough=True), None)
    return fault and _sentence(paths, dict([fault]))


def record_fault(builder: tfds.core.DatasetBuilder, splits: Sequence[str], config: DatasetConfig) -> str | None:
    """One sentence on a record of these splits that cannot be read or decoded; None where all can."""

    def height(record: tf.Tensor) -> tf.Tensor:
        return tf.shape(decode(parse_records(builder, record[None])[0][0], config.channels))[0]

    for split in filter(None, splits):
        for part in builder.info.splits[split].file_instructions:
            records = tf.data.TFRecordDataset(part.filename).skip(part.skip).take(part.take)
            position = part.skip
            try:
                for _ in untuned(records.map(height, **in_parallel())):
                    position += 1
            except tf.errors.OpError as error:
                place = f"Record {position} (from 0) of {part.filename}, split {split} of {builder.info.full_name},"
                if COLOUR in str(error):
                    return f"{place[:-1]} {COLOUR}"
                return f"{place} cannot be decoded; move {builder.data_dir} away to have it prepared again."
    return None


@contextmanager
def naming(find: Callable[[], str | None]) -> Iterator[None]:
    """Where reading a batch fails in the block: raises what `find` says in place of the error.

        with naming(lambda: image_fault(folder, config)):
            model.fit(batches)

    TensorFlow's error knows neither the file nor the record, so `find` looks for it. What it cannot explain is raised
    as it was.

    Raises:
        UndecodableError: `find` named an image.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if "IteratorGetNext" not in str(error):
            raise
        sentence = find()
        if sentence is None:
            raise
        raise UndecodableError(sentence) from error


def _faults(paths: Sequence[str], config: DatasetConfig, thorough: bool) -> Iterator[tuple[int, str]]:
    """The positions of images that cannot be decoded, and why; all are decoded only where `thorough`."""
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    with ThreadPoolExecutor(THREADS) as pool:
        headers = [header for some in pool.map(lambda block: [*map(_header, block)], blocks) for header in some]
    for index, (reason, _, _) in enumerate(headers):
        if reason:
            yield index, reason
    doubtful = [
        index
        for index, (reason, whole, mode) in enumerate(headers)
        if not reason and (thorough or not whole or (config.channels == 1 and mode not in GREY))
    ]
    for index in _refused([paths[index] for index in doubtful], config.channels):
        reason = _refusal(paths[doubtful[index]], config.channels)
        if reason == COLOUR:
            raise ValueError(f"{shown(paths[doubtful[index]])} {COLOUR}")
        yield doubtful[index], reason


def _header(path: str) -> tuple[str | None, bool, str]:
    """Why the file is no image, None where its header is one; whether it ends as its format does; Pillow's mode."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "it is no regular file", False, ""
        if not status.st_size:
            return "it is empty", False, ""
        with open(path, "rb") as file:
            with Image.open(file) as image:
                kind, mode = image.format, image.mode
            return None, _whole(file, kind, status.st_size), mode
    except UnidentifiedImageError:
        return "it is no image of a format that Pillow knows", False, ""
    except OSError as error:
        return error.strerror or str(error), False, ""
    except Exception as error:  # Pillow's readers raise whatever a wrong header leads them to
        return " ".join(str(error).split()) or type(error).__name__, False, ""


def _whole(file: Any, kind: str | None, size: int) -> bool:
    if kind in ENDINGS:
        file.seek(-len(ENDINGS[kind]), os.SEEK_END)
        return file.read() == ENDINGS[kind]
    if kind in LENGTHS:
        start, outside = LENGTHS[kind]
        file.seek(start)
        return int.from_bytes(file.read(4), "little") + outside <= size
    return True  # as far as is known without decoding


def _refused(paths: Sequence[str], channels: int) -> Iterator[int]:
    """The positions of the files that the decoder refuses, or that cannot be read."""
    if not paths:
        return
    files = tf.constant([os.fsencode(path) for path in paths])

    def height(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, tf.shape(decode(tf.io.read_file(files[index]), channels))[0]

    decoded = untuned(tf.data.Dataset.range(len(paths)).map(height, **in_parallel()))
    expected = 0
    for index, _ in decoded.ignore_errors().as_numpy_iterator():
        yield from range(expected, index)
        expected = index + 1
    yield from range(expected, len(paths))


def _refusal(path: str, channels: int) -> str:
    try:
        decode(tf.io.read_file(os.fsencode(path)), channels)
    except tf.errors.InvalidArgumentError as error:
        return COLOUR if COLOUR in str(error) else DAMAGED
    except tf.errors.OpError:
        pass
    return _header(path)[0] or DAMAGED


def _sentence(paths: Sequence[str], faults: dict[int, str]) -> str:
    """Names the first, and counts the others."""
    (first, reason), *others = faults.items()
    more = f", nor can {counted([paths[index] for index, _ in others])} more" if others else ""
    return (
        f"{shown(paths[first])} cannot be decoded: {reason}{more}. Mend or remove what is broken, or set "
        "dataset.skip_broken=true to leave it out."
    )


def _without(split: FolderSplit, broken: set[str], needed: tuple[str, ...]) -> FolderSplit:
    """`split` without what is broken; every class of `needed` must keep an image."""
    pairs = [pair for pair in zip(split.paths, split.labels, strict=True) if pair[0] not in broken]
    lost = sorted(set(range(len(needed))) - {label for _, label in pairs})
    if lost or not pairs:
        what = f"of the class {shown(needed[lost[0]])} " if lost else ""
        raise UndecodableError(f"No image {what}in {shown(split.folder)} can be decoded.")
    return replace(split, paths=tuple(path for path, _ in pairs), labels=tuple(label for _, label in pairs))
