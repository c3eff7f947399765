"""The validation images of a run, after it: as they are stored, and as its network saw them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from zoo.datasets import augment, examples
from zoo.datasets.config import DatasetConfig, check
from zoo.datasets.folders import list_folder
from zoo.datasets.parallel import untuned
from zoo.datasets.prepare import prepared_builder
from zoo.datasets.splits import open_splits, record_fold
from zoo.datasets.undecodable import image_fault, naming, record_fault, without_undecodable


def validation_images(config: DatasetConfig, most: int, *, raw: bool = False) -> Iterator[tuple[np.ndarray, int]]:
    """Images and labels of the validation split, evenly from all of it, in the order of its files.

    Args:
        most: at most so many.
        raw: uint8 pictures (H, W, C) of the size that they are stored in, in place of normalised float32 images.

    Raises:
        ValueError: the data set cannot serve, or an image cannot be decoded.
        zoo.datasets.prepare.DataUnavailableError: it is neither prepared nor obtainable.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.validation import validation_images
        >>> images = validation_images(DatasetConfig(source="synthetic", num_classes=10), most=20)
        >>> [image.shape for image, label in images][-1]
        (8, 8, 1)
    """
    check(config)
    if config.source == "synthetic":
        split = open_splits(config, training=False).validation
        pictures = _evenly(tf.data.Dataset.from_tensor_slices((split.images, split.labels)), split.size, most)
        yield from _finished(pictures, config, raw)
        return
    encoded, shape, find_fault = _folder(config, most) if config.source == "image_folder" else _records(config, most)
    with naming(find_fault):
        pictures = encoded.map(lambda image, label: (augment.decode(image, config.channels, shape), label))
        yield from _finished(pictures, config, raw)


Encoded = tuple[tf.data.Dataset, tuple[int | None, int | None], Callable[[], str | None]]


def _folder(config: DatasetConfig, most: int) -> Encoded:
    """Encoded images of a folder with their labels, their shape where it is known, and a search for broken ones."""
    folder = list_folder(config)
    if config.skip_broken:
        folder = without_undecodable(folder, config)
    paths = tf.constant([os.fsencode(path) for path in folder.validation.paths])
    files = tf.data.Dataset.from_tensor_slices((paths, tf.constant(folder.validation.labels)))
    encoded = _evenly(files, len(folder.validation.paths), most)
    return (
        encoded.map(lambda path, label: (tf.io.read_file(path), label)),
        (None, None),
        lambda: image_fault(folder, config),
    )


def _records(config: DatasetConfig, most: int) -> Encoded:
    """The same of a data set of TFDS."""
    builder = prepared_builder(config)
    split = config.train_split if config.fold else config.validation_split
    chosen = record_fold(builder, config) if config.fold else None
    size = builder.info.splits[split].num_examples if chosen is None else int(chosen.sum())
    encoded = _evenly(examples.encoded_records(builder, split, chosen), size, most)
    height, width = builder.info.features[builder.info.supervised_keys[0]].shape[:2]
    return encoded, (height, width), lambda: record_fault(builder, [split], config)


def _evenly(data: tf.data.Dataset, size: int, most: int) -> tf.data.Dataset:
    """Every so many-th, for a folder has one class after the other."""
    return data.shard(max(1, -(-size // most)), 0)


def _finished(pictures: tf.data.Dataset, config: DatasetConfig, raw: bool) -> Iterator[tuple[np.ndarray, int]]:
    if not raw:
        pictures = pictures.map(
            lambda image, label: (augment.normalise(augment.centre_square(image, config)[None], config)[0], label)
        )
    yield from untuned(pictures).as_numpy_iterator()
