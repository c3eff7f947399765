"""A data set ready to read: prepared on first use, once, and never read half-written."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import tensorflow_datasets as tfds
from google.protobuf import json_format

from zoo.datasets.availability import DataUnavailableError, reason_not_obtainable, unavailable
from zoo.datasets.config import DatasetConfig
from zoo.datasets.digits import Digits
from zoo.errors import FULL_DISK
from zoo.locks import only_process

__all__ = ["DataUnavailableError", "damage", "prepared_builder"]

logger = logging.getLogger(__name__)

_RECORD_FRAME = 16  # bytes that TFRecord adds to each record: length, its CRC, the payload's CRC


def prepared_builder(config: DatasetConfig) -> tfds.core.DatasetBuilder:
    """The TFDS builder of `config.builder`, whose files are complete.

    Whatever is prepared already is used without touching the network. Otherwise it is downloaded and
    prepared, by one process while others wait; a folder that a killed process left half-written is replaced.

    Raises:
      DataUnavailableError: it is not prepared and cannot be obtained; it says from where, why and what to do.
      ValueError: there is no such data set, or `config.source` has no builder.
    """
    if config.source != "tfds":
        raise ValueError(f"dataset.source={config.source} has no builder; only tfds has one.")
    builder = _builder(config)
    if Path(builder.data_dir).exists() and damage(builder) is None:
        return builder

    root = Path(builder.data_dir_root)
    with _naming_a_full_disk(builder):
        root.mkdir(parents=True, exist_ok=True)
    lock = only_process(root / f".{builder.name}.lock", f"prepares {builder.name}")
    with _naming_a_full_disk(builder), lock:
        builder = _builder(config)  # another process may have prepared it while this one waited
        _remove_unfinished(builder)
        broken = damage(builder) if Path(builder.data_dir).exists() else None
        if Path(builder.data_dir).exists() and broken is None:
            return builder
        _prepare(builder, broken)
        return builder


@contextlib.contextmanager
def _naming_a_full_disk(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Raise DataUnavailableError for a disk that is full in the block, whatever TFDS and TensorFlow make of it."""
    reasons = [os.strerror(code) for code in FULL_DISK]
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if full := [reason for reason in reasons if reason in str(cause)]:
                raise DataUnavailableError(
                    f"The data set {builder.info.full_name} cannot be written to {builder.data_dir}: {full[0]}; make "
                    "room there, or choose another folder with dataset.data_dir=PATH."
                ) from error
            cause = cause.__cause__
        raise


def recorded_splits(config: DatasetConfig) -> tfds.core.splits.SplitDict:
    """The splits of a data set as they are recorded, without TensorFlow; none where it is not prepared.

    Raises:
      ValueError: there is no such data set.
    """
    builder = _builder(config)
    return builder.SPLITS if isinstance(builder, Digits) else builder.info.splits


def damage(builder: tfds.core.DatasetBuilder) -> str | None:
    """What is wrong with the files of a prepared data set, None where nothing is.

    Compares the shards' sizes with the ones recorded; where these differ, and always for the digits, the
    records themselves are counted.
    """
    folder = Path(builder.data_dir)
    if not builder.is_prepared():
        return f"{folder} has no dataset_info.json or no features.json"
    if not builder.info.splits:
        return f"{folder} records no splits"
    for name, split in builder.info.splits.items():
        missing = [path for path in split.filepaths if not path.exists()]
        if missing:
            return f"{missing[0]} is missing"
        if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
            continue
        size = sum(path.stat().length for path in split.filepaths)
        if size == int(split.num_bytes) + _RECORD_FRAME * split.num_examples and not isinstance(builder, Digits):
            continue
        for path, expected in zip(sorted(split.filepaths), split.shard_lengths, strict=True):
            count = _count_records(path)
            if count != expected:
                return f"{path} holds {count} whole records of split {name}, not {expected}"
    return None


def _count_records(path: Path) -> int:
    """Records of one TFRecord file whose checksums are right, up to the first that is damaged."""
    import tensorflow as tf  # what is asked before a run needs none of it

    count = 0
    with contextlib.suppress(tf.errors.DataLossError):
        for _ in tf.data.TFRecordDataset(str(path)).batch(256):
            count += len(_)
    return count


def _builder(config: DatasetConfig) -> tfds.core.DatasetBuilder:
    assert config.builder is not None  # `zoo.datasets.config.check` saw to it
    name = re.split(r"[/:,]", config.builder)[0]
    data_dir = Path(config.data_dir).expanduser() if config.data_dir else None
    known = tfds.list_builders(with_community_datasets=False)  # the community's are listed on the network
    try:
        if re.match(r"\w+:[^\d*]", config.builder):
            raise tfds.core.registered.DatasetNotFoundError(f"{config.builder} names a community data set")
        return tfds.builder(config.builder, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        close = get_close_matches(name, known, n=3)
        hint = f"; the closest names are {', '.join(close)}." if close else "."
        raise ValueError(
            f"dataset.builder={config.builder!r}: TFDS {tfds.__version__} knows no data set {name!r}{hint} "
            "All names: https://www.tensorflow.org/datasets/catalog/overview."
        ) from error
    except (ValueError, AssertionError, json_format.ParseError) as error:
        configs = list(tfds.builder_cls(name).builder_configs) if name in known else []
        some = f" Its configs: {', '.join(configs[:10])}{', ...' if len(configs) > 10 else ''}." if configs else ""
        folder = data_dir / name if data_dir else None
        some += f" If its files are damaged, delete {folder}." if folder and folder.is_dir() else ""
        raise ValueError(f"dataset.builder={config.builder!r} cannot be opened: {_one_line(error)}{some}") from error


def _prepare(builder: tfds.core.DatasetBuilder, broken: str | None) -> None:
    """Writes the data set beside its final folder; TFDS renames it when complete. The lock must be held."""
    target = Path(builder.data_dir)
    why = reason_not_obtainable(builder)
    if why is not None:  # what is broken stays: it may be the user's only copy, and it is never read
        _remove_unfinished(builder)
        raise unavailable(builder, why, broken)
    if broken:
        logger.warning("%s; %s is prepared again.", broken, builder.info.full_name)
        shutil.rmtree(target)
    logger.info("Preparing %s in %s.", builder.info.full_name, target)
    try:
        # TFDS prints its progress, and stdout belongs to the caller; of the digits, done at once, it says too much.
        progress = io.StringIO() if isinstance(builder, Digits) else sys.stderr
        with contextlib.redirect_stdout(progress), contextlib.redirect_stderr(progress):
            builder.download_and_prepare()
    except Exception as error:
        if isinstance(builder, Digits):  # no download to blame
            raise
        raise unavailable(builder, _one_line(error), broken) from error
    finally:
        _remove_unfinished(builder)
    wrong = damage(builder)
    if wrong is not None:
        raise unavailable(builder, f"what was just prepared is incomplete ({wrong})", None)
    logger.info("Prepared %s.", builder.info.full_name)


def _remove_unfinished(builder: tfds.core.DatasetBuilder) -> None:
    """Deletes what killed or failed preparations of this data set left; only with the lock held."""
    target = Path(builder.data_dir)
    for folder in target.parent.glob(f"incomplete.*_{target.name}"):  # TFDS's name for work in progress
        logger.warning("Removing %s, left by a preparation that did not finish.", folder)
        shutil.rmtree(folder, ignore_errors=True)
    downloads = Path(builder.data_dir_root) / "downloads" / builder.name
    for folder in downloads.glob("**/*.tmp.*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (downloads, target.parent, target.parent.parent):
        if folder.is_dir() and folder != Path(builder.data_dir_root) and not any(folder.iterdir()):
            folder.rmdir()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
