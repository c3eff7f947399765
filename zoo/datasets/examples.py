"""The raw examples of one split: in memory where they fit, else files or records on disk."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from zoo.datasets.augment import centre_square, decode
from zoo.datasets.config import DatasetConfig
from zoo.datasets.folders import FolderSplit
from zoo.datasets.parallel import AHEAD, in_parallel, untuned
from zoo.hardware import cores

logger = logging.getLogger(__name__)

READERS = 8  # record files read at once


@dataclass(frozen=True)
class Examples:
    """One split. Either `labels` int32 (N,) and `images`, which are

    - "pixels": uint8 (N, S, S, C), in memory,
    - "encoded": strings (N,), the bytes of image files in memory, or
    - "paths": strings (N,), names of such files,

    or, of kind "records", nothing in memory: `builder` reads `split` from its record files each time; of its records
    those that `chosen` (bool, one for each) says, where it is given.
    """

    kind: str
    size: int
    images: tf.Tensor | None = None
    labels: tf.Tensor | None = None
    builder: tfds.core.DatasetBuilder | None = None
    split: str = ""
    shape: tuple[int | None, int | None] = (None, None)  # height, width, where all images share them
    chosen: tf.Tensor | None = None


def from_builder(
    builder: tfds.core.DatasetBuilder,
    split: str,
    config: DatasetConfig,
    training: bool,
    chosen: np.ndarray | None = None,
) -> Examples:
    """The examples of a TFDS split, or those `chosen` of them; labels and images are its `supervised_keys`."""
    size = builder.info.splits[split].num_examples if chosen is None else int(np.sum(chosen))
    shape = tuple(builder.info.features[builder.info.supervised_keys[0]].shape[:2])
    mask = None if chosen is None else _on_host(chosen)
    encoded = encoded_records(builder, split, mask)
    if training and config.random_resized_crop:  # boxes are cut from the whole image, so that is what is kept
        whole = builder.info.splits.values()
        average = sum(part.num_bytes for part in whole) / max(1, sum(part.num_examples for part in whole))
        if _fits(config, split, int(average * size)):
            images, labels = _gather(encoded)
            return Examples("encoded", size, _on_host(images), _on_host(labels))
    elif _fits(config, split, size * config.image_size**2 * config.channels):
        return _pixels(encoded, size, config, shape)
    return Examples("records", size, builder=builder, split=split, shape=shape, chosen=mask)


def from_folder(split: FolderSplit, config: DatasetConfig, training: bool) -> Examples:
    """The examples of one split of an image folder, in its order."""
    paths = _on_host([os.fsencode(path) for path in split.paths])  # bytes, for a name need not be UTF-8
    labels, size = _on_host(np.asarray(split.labels, np.int32)), len(split.paths)
    files = tf.data.Dataset.from_tensor_slices((paths, labels))
    encoded = files.map(lambda path, label: (tf.io.read_file(path), label), **in_parallel())
    name = split.folder.name
    if training and config.random_resized_crop:
        if _fits(config, name, sum(os.stat(path).st_size for path in split.paths)):
            images, _ = _gather(encoded)
            return Examples("encoded", size, _on_host(images), labels)
    elif _fits(config, name, size * config.image_size**2 * config.channels):
        return _pixels(encoded, size, config)
    return Examples("paths", size, paths, labels)


def synthetic(size: int, stream: int, config: DatasetConfig, chosen: np.ndarray | None = None) -> Examples:
    """Uniform noise and random labels, the same in every process; `stream` tells splits apart. `chosen` (bool, `size`)
    are those of them that the split has.
    """
    random = np.random.default_rng([stream, size])
    shape = (size, config.image_size, config.image_size, config.channels)
    images = random.integers(0, 256, shape, dtype=np.uint8)
    labels = random.integers(0, config.num_classes, size, dtype=np.int32)
    if chosen is not None:
        images, labels = images[chosen], labels[chosen]
    return Examples("pixels", len(labels), _on_host(images), _on_host(labels))


def encoded_records(builder: tfds.core.DatasetBuilder, split: str, chosen: tf.Tensor | None = None) -> tf.data.Dataset:
    """(encoded image string (), label int32 ()) of a TFDS split in the order of its files; with `chosen`, bool (N,), of
    some of its records.
    """
    records = _records(builder, split, chosen)
    # Parsed in bulk: more than ten times as fast as one by one through `as_dataset`.
    return records.batch(256).map(lambda some: parse_records(builder, some)).unbatch()


def shuffled_records(examples: Examples, seed: tf.Tensor, buffer: int, first: int = 0) -> tf.data.Dataset:
    """As `encoded_records`, in an order drawn from `seed` (shape (2,)), from the `first`-th on.

    The files come in random order, several side by side, and every `buffer` records in turn are shuffled.
    The global seed enters `Dataset.shuffle`, so that is not used.
    """
    files, spans = _record_files(examples.builder, examples.split)
    read = partial(_read_span, chosen=examples.chosen)
    order = tf.random.experimental.stateless_shuffle(tf.range(len(files)), seed)
    shuffled = tf.data.Dataset.from_tensor_slices((tf.gather(files, order), tf.gather(spans, order)))
    readers = min(READERS, len(files))
    records = shuffled.interleave(
        read, cycle_length=readers, block_length=16, num_parallel_calls=min(cores(), readers), deterministic=True
    )

    def mix(block: tf.Tensor, some: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key = tf.random.experimental.stateless_fold_in(seed, block)
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(some)), key)
        return parse_records(examples.builder, tf.gather(some, order))

    blocks = records.skip(first // buffer * buffer).batch(buffer).enumerate(first // buffer)
    return blocks.map(mix).prefetch(1).unbatch().skip(first % buffer)


def labels_of(examples: Examples) -> np.ndarray:
    """Labels int32 (N,). Those of records that are not in memory are read from all their files, without decoding."""
    if examples.labels is not None:
        return examples.labels.numpy()
    assert examples.builder is not None  # of records
    return record_labels(examples.builder, examples.split, examples.chosen)


def record_labels(builder: tfds.core.DatasetBuilder, split: str, chosen: tf.Tensor | None = None) -> np.ndarray:
    """Labels int32 (N,) of a TFDS split in the order of its files, read without decoding an image."""
    key = builder.info.supervised_keys[1]
    spec = {key: tf.io.FixedLenFeature((), tf.int64)}
    parts = [
        tf.io.parse_example(some, spec)[key].numpy() for some in _records(builder, split, chosen).batch(256).prefetch(2)
    ]
    return np.concatenate(parts).astype(np.int32)


def _records(builder: tfds.core.DatasetBuilder, split: str, chosen: tf.Tensor | None) -> tf.data.Dataset:
    files = tf.data.Dataset.from_tensor_slices(_record_files(builder, split))
    return files.flat_map(partial(_read_span, chosen=chosen))


def _record_files(builder: tfds.core.DatasetBuilder, split: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Names (F,) of a split's record files, and int64 (F, 3): the records to skip and to take in each, and how many
    records of the split lie in the files before it.
    """
    parts = builder.info.splits[split].file_instructions
    takes = [part.take for part in parts]
    before = itertools.accumulate(takes[:-1], initial=0)
    spans = [(part.skip, part.take, earlier) for part, earlier in zip(parts, before, strict=True)]
    return _on_host([part.filename for part in parts]), _on_host(np.asarray(spans, np.int64))


def _read_span(file: tf.Tensor, span: tf.Tensor, chosen: tf.Tensor | None = None) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(file).skip(span[0]).take(span[1])
    if chosen is None:
        return records
    numbered = tf.data.Dataset.zip(tf.data.Dataset.range(span[2], span[2] + span[1]), records)
    return numbered.filter(lambda number, record: tf.gather(chosen, number)).map(lambda number, record: record)


def parse_records(builder: tfds.core.DatasetBuilder, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(encoded images, labels int32) of serialised examples (B,), which hold a scalar under either key."""
    image_key, label_key = builder.info.supervised_keys
    features = tf.io.parse_example(
        records,
        {image_key: tf.io.FixedLenFeature((), tf.string), label_key: tf.io.FixedLenFeature((), tf.int64)},
    )
    return features[image_key], tf.cast(features[label_key], tf.int32)


def _pixels(
    encoded: tf.data.Dataset, size: int, config: DatasetConfig, shape: tuple[Any, ...] = (None, None)
) -> Examples:
    """Decodes a whole split to squares, in memory; `shape` as in `Examples`."""

    def squares(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = tf.TensorSpec((config.image_size, config.image_size, config.channels), tf.uint8)
        return tf.map_fn(
            lambda image: centre_square(decode(image, config.channels, shape), config),
            images,
            fn_output_signature=spec,
        ), labels

    images = np.empty((size, config.image_size, config.image_size, config.channels), np.uint8)
    labels, position = np.empty((size,), np.int32), 0
    batches = untuned(encoded.batch(64).map(squares, **in_parallel()).prefetch(AHEAD))
    for some_images, some_labels in batches.as_numpy_iterator():
        images[position : position + len(some_labels)] = some_images
        labels[position : position + len(some_labels)] = some_labels
        position += len(some_labels)
    if position != size:
        raise RuntimeError(f"{position} examples were read where the data set records {size}.")
    return Examples("pixels", size, _on_host(images), _on_host(labels))


def _gather(encoded: tf.data.Dataset) -> tuple[list[bytes], np.ndarray]:
    pairs = list(untuned(encoded.prefetch(256)).as_numpy_iterator())
    return [image for image, _ in pairs], np.asarray([label for _, label in pairs], np.int32)


def _on_host(values: np.ndarray | list[Any]) -> tf.Tensor:
    with tf.device("/CPU:0"):  # tf.data reads it there; on an accelerator it would take its memory
        return tf.constant(values)


def _fits(config: DatasetConfig, split: str, size: int) -> bool:
    limit = int(config.cache_limit_gb * 1e9)
    if config.cache is True or (config.cache == "auto" and size <= limit):
        return True
    if config.cache is False:
        logger.warning(
            "%s, split %s: not cached (dataset.cache=false); read from disk every epoch.", config.name, split
        )
    else:
        logger.warning(
            "%s, split %s: not cached; %.2f GB exceed dataset.cache_limit_gb=%g; read from disk every epoch.",
            config.name,
            split,
            size / 1e9,
            config.cache_limit_gb,
        )
    return False
