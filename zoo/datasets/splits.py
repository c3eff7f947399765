"""Training, validation and test examples of a data set, after checking that they can serve as that."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets import examples
from zoo.datasets.config import DatasetConfig
from zoo.datasets.examples import Examples
from zoo.datasets.folders import ImageFolder, list_folder, listed
from zoo.datasets.holdout import in_fold
from zoo.datasets.prepare import prepared_builder
from zoo.datasets.undecodable import image_fault, naming, record_fault, without_undecodable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """The examples of a data set, its classes, and a search for what cannot be decoded, as `naming` takes it.

    `train` is None where they are opened to evaluate on alone.
    """

    train: Examples | None
    validation: Examples
    test: Examples | None
    num_classes: int
    class_names: tuple[str, ...] | None
    find_fault: Callable[[], str | None] = lambda: None


def open_splits(config: DatasetConfig, folder: ImageFolder | None = None, training: bool = True) -> Splits:
    """The splits that `config` names. `folder` is what an image folder holds, where it has been listed.

    Without `training` no training image is read.

    Raises:
        ValueError: the data set cannot serve, or an image cannot be decoded (`UndecodableError`).
        DataUnavailableError: it is neither prepared nor obtainable.
    """
    if config.source == "synthetic":
        assert config.num_classes is not None  # `zoo.datasets.config.check` saw to it
        train, validation = _synthetic(config, training)
        return Splits(train, validation, None, config.num_classes, None)
    if config.source == "image_folder":
        return _open_folder(config, folder or list_folder(config), training)
    builder = prepared_builder(config)
    num_classes, names = _classes(builder, config)
    own = config.train_split if training or config.fold else None
    validating = None if config.fold else config.validation_split
    wanted = [split for split in (own, validating, config.test_split) if split]
    _check_positions(builder, wanted)

    def find_fault() -> str | None:
        return record_fault(builder, wanted, config)

    with naming(find_fault):
        parts: list[tuple[str, np.ndarray | None]] = [(split, None) for split in wanted]
        if config.fold:
            held = record_fold(builder, config, names)
            parts = [(config.train_split, ~held)] * training + [(config.train_split, held), *parts[1:]]
        splits = [
            examples.from_builder(builder, split, config, training=training and index == 0, chosen=chosen)
            for index, (split, chosen) in enumerate(parts)
        ]
    _check_labels(splits, num_classes, names if training else None)
    train = splits.pop(0) if training else None
    validation, *test = splits
    return Splits(train, validation, test[0] if test else None, num_classes, names, find_fault)


def record_fold(
    builder: tfds.core.DatasetBuilder, config: DatasetConfig, class_names: Sequence[str] | None = None
) -> np.ndarray:
    """bool (N,): which records of the training split `config.fold` validates on, by their place in it."""
    labels = examples.record_labels(builder, config.train_split).tolist()
    names = [str(index) for index in range(len(labels))]
    return np.asarray(in_fold(config, names, labels, class_names, f"{builder.info.full_name} {config.train_split}"))


def _synthetic(config: DatasetConfig, training: bool) -> tuple[Examples | None, Examples]:
    size = config.synthetic_train_size
    if not config.fold:
        train = examples.synthetic(size, 0, config) if training else None
        return train, examples.synthetic(config.synthetic_validation_size, 1, config)
    labels = examples.labels_of(examples.synthetic(size, 0, config)).tolist()
    held = np.asarray(in_fold(config, [str(index) for index in range(size)], labels, None, config.name))
    train = examples.synthetic(size, 0, config, ~held) if training else None
    return train, examples.synthetic(size, 0, config, held)


def _open_folder(config: DatasetConfig, folder: ImageFolder, training: bool) -> Splits:
    for note in folder.notes:
        logger.warning("%s", note)
    folder = without_undecodable(folder, config)

    def find_fault() -> str | None:
        return image_fault(folder, config)

    with naming(find_fault):
        train = examples.from_folder(folder.train, config, training=True) if training else None
        validation, *test = (examples.from_folder(split, config, training=False) for split in folder.splits[1:])
    return Splits(train, validation, test[0] if test else None, len(folder.class_names), folder.class_names, find_fault)


def _check_labels(splits: Sequence[Examples], num_classes: int, names: tuple[str, ...] | None) -> None:
    """Refuses labels that no network output stands for, and classes that have no training images.

    Records that are not in memory are left unread.
    """
    labels = [set(split.labels.numpy().tolist()) for split in splits if split.labels is not None]
    outside = sorted(label for some in labels for label in some if not 0 <= label < num_classes)
    if outside:
        raise ValueError(f"Label {outside[0]} lies outside 0..{num_classes - 1}; is a split unlabelled?")
    if names is None or splits[0].labels is None:
        return
    unknown = sorted(set().union(*labels[1:]) - labels[0])
    if unknown:
        raise ValueError(
            f"The classes {listed([names[label] for label in unknown])} have images to evaluate on but none to train "
            "on; every class needs images in dataset.train_split."
        )


def _classes(builder: tfds.core.DatasetBuilder, config: DatasetConfig) -> tuple[int, tuple[str, ...] | None]:
    """Number and names of the classes; ValueError where the data set is no image classification."""
    info, name = builder.info, builder.info.full_name
    keys = info.supervised_keys
    if not keys or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"{name} declares no (image, label) pair (its supervised_keys are {keys}), so it cannot be used "
            "for classification."
        )
    image, label = info.features[keys[0]], info.features[keys[1]]
    if not isinstance(image, tfds.features.Image) or np.dtype(image.np_dtype) != np.uint8:
        raise ValueError(f"{name}: {keys[0]!r} is {image!r}, not an image of 8-bit pixels.")
    if isinstance(label, tfds.features.ClassLabel):
        count, names = label.num_classes, tuple(label.names) if label.names else None
    elif config.num_classes and label.shape == () and np.dtype(label.np_dtype).kind in "iu":
        count, names = config.num_classes, None
    else:
        raise ValueError(
            f"{name}: {keys[1]!r} is {label!r}, not a class label, so it cannot be used for classification."
        )
    if config.num_classes not in (None, count):
        raise ValueError(
            f"dataset.num_classes={config.num_classes}, but {name} has {count} classes; set null or {count}."
        )
    if count < 2:
        raise ValueError(f"{name} has {count} class; classification needs at least 2.")
    if config.channels == 1 and image.shape[-1] not in (1, None):
        raise ValueError(
            f"dataset.channels=1, but the images of {name} have {image.shape[-1]}; set dataset.channels=3 "
            "(and mean and std to match)."
        )
    return count, names


def _check_positions(builder: tfds.core.DatasetBuilder, splits: Sequence[str]) -> None:
    """Refuses unknown, empty and overlapping splits, by the records in the files that they resolve to.

    Other formats than TFRecord are refused too.
    """
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            f"{builder.data_dir} is prepared as {builder.info.file_format.value}, but only tfrecord is read. "
            "Give another dataset.data_dir to have it prepared anew."
        )
    resolved = []
    for split in filter(None, splits):
        try:
            parts = builder.info.splits[split].file_instructions
        except (KeyError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{builder.info.full_name} has no split {split!r}; it has {', '.join(builder.info.splits)}, "
                "and parts of them such as 'train[:90%]'."
            ) from error
        if not sum(part.take for part in parts):
            raise ValueError(f"The split {split!r} of {builder.info.full_name} is empty.")
        resolved.append((split, parts))
    for (first, some), (second, others) in itertools.combinations(resolved, 2):
        shared = sum(
            max(0, min(a.skip + a.take, b.skip + b.take) - max(a.skip, b.skip))
            for a in some
            for b in others
            if a.filename == b.filename
        )
        if shared:
            raise ValueError(
                f"The splits {first!r} and {second!r} of {builder.info.full_name} share {shared} examples; "
                "take parts that do not overlap, for example 'train[:90%]' and 'train[90%:]'."
            )
