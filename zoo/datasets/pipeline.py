"""Batches to train and evaluate on: read, cache (uint8), shuffle, augment, normalise, prefetch.

Nothing in an epoch depends on anything but the seed, the epoch's number and the place in it: an interrupted run that
goes on from any step sees the batches it would have seen, and those before are not made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.datasets import augment, examples
from zoo.datasets.augmentation import images as augmentation
from zoo.datasets.augmentation.erasing import erase
from zoo.datasets.augmentation.mixing import mix
from zoo.datasets.config import DatasetConfig, check
from zoo.datasets.examples import Examples
from zoo.datasets.folders import ImageFolder
from zoo.datasets.parallel import AHEAD, in_parallel, untuned
from zoo.datasets.sampling import Balanced
from zoo.datasets.shares import evaluation_share, places
from zoo.datasets.sizes import refuse_larger_batch
from zoo.datasets.splits import open_splits
from zoo.datasets.undecodable import naming

_ORDER, _SHIFT, _BOX, _SAMPLE, _IMAGE, _MIX, _ERASE = range(7)  # tell the random streams of one seed apart
_FOREVER = 2**62


@dataclass(frozen=True)
class Data:
    """Batches of (images float32 (B, H, W, C), labels int32 (B,)), and what a network must know about them.

    With `config.mixing` the labels of training batches are shares of classes, float32 (B, classes).

    Iterating over `train` gives one epoch; the next iteration gives the next epoch. The last images of an
    epoch that do not fill a batch are left out of it (others are in the next). `validation` and `test` give
    every example once, in a fixed order; their last batch may be smaller. Where several processes share the batches,
    `train`, `epoch` and `stream` give this one's share of each, and `validation_share` that of `validation`.

    `epoch(number)`, `stream(first_epoch, first_step)` and `batch(step)` give the same batches by number. Prefer
    `stream` for `Model.fit`: Keras looks at a batch before it trains, which moves `train` one epoch on.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.pipeline import load
        >>> config = DatasetConfig(source="synthetic", num_classes=10, synthetic_train_size=64)
        >>> data = load(config, batch_size=32, seed=0)
        >>> model = keras.Sequential([keras.Input(data.input_shape), keras.layers.Flatten(), blocks.Dense(10)])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(data.stream(), steps_per_epoch=data.steps_per_epoch, epochs=2, verbose=0)
        >>> data.steps_per_epoch, len(history.history["loss"])
        (2, 2)
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    validation_share: tf.data.Dataset
    test: tf.data.Dataset | None
    train_size: int
    validation_size: int
    test_size: int
    batch_size: int
    steps_per_epoch: int
    num_classes: int
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...] | None
    _epochs: Callable[[tf.data.Dataset, int], tf.data.Dataset]
    _whole_epochs: Callable[[tf.data.Dataset, int], tf.data.Dataset]
    _find_fault: Callable[[], str | None]
    _labels: Callable[[], np.ndarray]

    def epoch(self, number: int) -> tf.data.Dataset:
        """The `steps_per_epoch` training batches of epoch `number` (from 0), the same every time."""
        batches = self._epochs(tf.data.Dataset.range(number, number + 1), 0)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    def stream(self, first_epoch: int = 0, first_step: int = 0) -> tf.data.Dataset:
        """The training batches of all epochs from `first_epoch` on, one after the other, without end.

        The first `first_step` batches of the first one are passed over: none of their images is decoded, and none read,
        but of records the bytes.
        """
        whole = self._epochs(tf.data.Dataset.range(first_epoch + (first_step > 0), _FOREVER), 0)
        if not first_step:
            return whole
        rest = self._epochs(tf.data.Dataset.range(first_epoch, first_epoch + 1), first_step)
        return rest.concatenate(whole)

    def batch(self, step: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The training batch of step `step` of `stream()`, counted from 0; all of it, whatever the share."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return next(iter(self._whole_epochs(tf.data.Dataset.range(epoch, epoch + 1), index)))

    def class_counts(self) -> np.ndarray:
        """int64 (C,): how many training images each class has. Reads the files of records that are not in memory."""
        return np.bincount(self._labels(), minlength=self.num_classes)

    def naming_what_is_broken(self) -> AbstractContextManager[Any]:
        """A block that reads batches, and raises `UndecodableError`, which names it, for an image that cannot be
        decoded.
        """
        return naming(self._find_fault)


def load(
    config: DatasetConfig,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    folder: ImageFolder | None = None,
    training: bool = True,
    label_smoothing: float = 0.0,
    share: tuple[int, int] = (0, 1),
) -> Data:
    """The data set of `config`, prepared on first use.

    `seed` fixes the order and the augmentation of every epoch; `train` starts with epoch `first_epoch`. `folder` is
    what an image folder holds, where it has been listed. Without `training` no training image is read, and an epoch
    has no steps. `label_smoothing` is of the labels that `config.mixing` makes; a loss smooths integers itself. `share`
    is the number of this process, and of how many that make each batch together: what the others make is not decoded
    here, and what all make is what one would.

    Raises:
      ValueError: the configuration, the batch size or the kind of data set cannot work, or an image cannot be decoded.
      zoo.datasets.prepare.DataUnavailableError: the data set is neither prepared nor obtainable.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.pipeline import load
        >>> data = load(DatasetConfig(source="synthetic", num_classes=10), batch_size=32, seed=0)
        >>> images, labels = next(iter(data.epoch(0)))
        >>> images.shape == (32, 8, 8, 1), labels.shape == (32,)
        (True, True)
    """
    check(config)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1.")
    splits = open_splits(config, folder, training)
    train, validation, test = splits.train, splits.validation, splits.test
    if train is not None:
        refuse_larger_batch(config, batch_size, train.size)
        if config.sampling == "balanced" and train.labels is None:
            raise ValueError(
                f"dataset.sampling=balanced picks images by their labels, but {config.name} is not in memory: set "
                "dataset.cache=true, or dataset.sampling=uniform."
            )
    steps = 0 if train is None else train.size // batch_size

    # Traced once for all datasets that are made below: policies have thousands of operations.
    augmented = tf.function(lambda image, key: augmentation.apply(image, key, config), autograph=False)
    mixed = partial(mix, config=config.mixing, num_classes=splits.num_classes, smoothing=label_smoothing)

    def epochs(numbers: tf.data.Dataset, first_step: int, share: tuple[int, int] = share) -> tf.data.Dataset:
        if train is None:
            return validation_batches.take(0)
        own = None if share[1] == 1 else places(batch_size, share, in_pairs=config.mixing.is_on)
        return _training_batches(train, config, augmented, mixed, batch_size, seed, numbers, first_step, own)

    validation_batches = _evaluation_batches(validation, config, batch_size)
    # The counter is read when an epoch's first batch is asked for, not when its iterator is made.
    counter = itertools.count(first_epoch)
    each_time = tf.data.Dataset.from_generator(lambda: [next(counter)], output_signature=tf.TensorSpec((), tf.int64))
    return Data(
        name=config.name,
        train=epochs(each_time, 0).apply(tf.data.experimental.assert_cardinality(steps)),
        validation=validation_batches,
        validation_share=validation_batches
        if share[1] == 1
        else _evaluation_batches(validation, config, batch_size, share),
        test=_evaluation_batches(test, config, batch_size) if test else None,
        train_size=train.size if train else 0,
        validation_size=validation.size,
        test_size=test.size if test else 0,
        batch_size=batch_size,
        steps_per_epoch=steps,
        num_classes=splits.num_classes,
        input_shape=(config.image_size, config.image_size, config.channels),
        class_names=splits.class_names,
        _epochs=epochs,
        _whole_epochs=partial(epochs, share=(0, 1)),
        _find_fault=splits.find_fault,
        _labels=lambda: examples.labels_of(train) if train else np.zeros(0, np.int32),
    )


def _key(seed: int, stream: int, epoch: tf.Tensor) -> tf.Tensor:
    """Seed int64 (2,) for one purpose and epoch, unrelated to its neighbours'."""
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed % 2**63, stream], tf.int64), epoch)
    # Folding scrambles a seed and puts the number behind it: once more, or the epoch would count as a position.
    return tf.random.experimental.stateless_fold_in(key, tf.zeros((), tf.int64))


def _at(key: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Seed int64 (2,) for one place of the epoch that `key` is for: TensorFlow scrambles both numbers of a seed."""
    return tf.stack([key[0], position])


def _training_batches(
    train: Examples,
    config: DatasetConfig,
    augmented: Callable[..., tf.Tensor],
    mixed: Callable[..., tuple[tf.Tensor, tf.Tensor]],
    batch_size: int,
    seed: int,
    epochs: tf.data.Dataset,
    first_step: int,
    own: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Augmented, normalised batches of the epochs whose numbers `epochs` holds, each from `first_step` on.

    own: places of each batch that are made here; None is all.
    """
    own_size = batch_size if own is None else len(own)
    steps, repeats = train.size // batch_size, config.repeats
    first, end = first_step * batch_size, steps * batch_size
    sampler = Balanced(train.labels) if config.sampling == "balanced" else None
    by_batch = train.kind == "pixels" and not augmentation.is_on(config)  # whole batches are gathered

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        """(keys, position, item) of the places of an epoch; the keys are of each stage, for this epoch."""
        key = _key(seed, _ORDER, epoch)
        if train.kind == "records":
            chosen = examples.shuffled_records(train, key, config.shuffle_buffer, first // repeats)
            if repeats > 1:
                chosen = chosen.flat_map(lambda *record: tf.data.Dataset.from_tensors(record).repeat(repeats))
            chosen = chosen.skip(first % repeats).take(end - first)
            if own is not None:
                numbered = chosen.enumerate()  # bytes, of which the others' are read and not decoded
                is_own = tf.constant(np.isin(np.arange(batch_size), own))
                chosen = numbered.filter(lambda place, _: tf.gather(is_own, place % batch_size)).map(
                    lambda _, item: item
                )
        else:
            if sampler is None:
                indices = tf.random.experimental.stateless_shuffle(tf.range(train.size), key)
            else:
                indices = sampler.draw(-(-end // repeats), key, _key(seed, _SAMPLE, epoch))
            indices = tf.gather(indices, tf.range(first, end) // repeats)
            if by_batch or own is not None:
                indices = tf.reshape(indices, (steps - first_step, batch_size))
            if own is not None:
                indices = tf.gather(indices, own, axis=1)
                indices = indices if by_batch else tf.reshape(indices, (-1,))
            chosen = tf.data.Dataset.from_tensor_slices(indices)
        stages = {"box": _BOX, "image": _IMAGE, "batch": _SHIFT, "mix": _MIX, "erase": _ERASE}
        keys = {stage: _key(seed, stream, epoch) for stage, stream in stages.items()}
        positions = chosen.enumerate(first_step if by_batch else first_step * own_size)
        return positions.map(lambda position, item: (keys, position if by_batch else in_epoch(position), item))

    def in_epoch(position: tf.Tensor) -> tf.Tensor:
        """The place in the epoch of an image, from its place among those that are made here."""
        if own is None:
            return position
        return position // own_size * batch_size + tf.gather(tf.constant(own, tf.int64), position % own_size)

    drawn = None if own is None else (batch_size, own)  # random numbers are those of the whole batch

    def finished(
        keys: dict[str, tf.Tensor], step: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """float32 (B, S, S, C) of uint8, and the labels: what is done to a batch."""
        if not augmentation.is_on(config):  # else each image has been shifted and flipped by itself
            images = augment.shift_and_flip(images, _at(keys["batch"], step), config, drawn)
        if config.mixing.is_on:
            images, labels = mixed(images, labels, _at(keys["mix"], step))
        images = augment.normalise(images, config)
        if config.random_erasing.probability > 0:
            images = erase(images, _at(keys["erase"], step), config.random_erasing, drawn)
        return images, labels

    def pixels(keys: dict[str, tf.Tensor], step: tf.Tensor, indices: tf.Tensor) -> tuple[Any, ...]:
        return finished(keys, step, tf.gather(train.images, indices), tf.gather(train.labels, indices))

    def one(keys: dict[str, tf.Tensor], position: tf.Tensor, item: tf.Tensor) -> tuple[Any, ...]:
        if train.kind == "pixels":
            image, label = tf.gather(train.images, item), tf.gather(train.labels, item)
        else:
            encoded, label = _encoded(train, item)
            image = _training_image(encoded, _at(keys["box"], position), config, train.shape)
        if augmentation.is_on(config):
            image = augmented(image, _at(keys["image"], position))
        return keys, position, image, label

    def batch(
        keys: dict[str, tf.Tensor], positions: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[Any, ...]:
        # An epoch fills its batches exactly, so the first image's epoch is its batch's.
        return finished({stage: key[0] for stage, key in keys.items()}, positions[0] // batch_size, images, labels)

    parallel = in_parallel()
    ordered = epochs.flat_map(order)
    if by_batch:
        batches = ordered.map(pixels, **parallel)
    else:
        batches = ordered.map(one, **parallel).batch(own_size, drop_remainder=True).map(batch, **parallel)
    return untuned(batches.prefetch(AHEAD))


def _training_image(
    encoded: tf.Tensor, key: tf.Tensor, config: DatasetConfig, shape: tuple[int | None, int | None]
) -> tf.Tensor:
    """uint8 (S, S, C): the crop of one image, its box from `key`."""
    if config.random_resized_crop:
        return augment.random_resized_square(encoded, key, config)
    return augment.centre_square(augment.decode(encoded, config.channels, shape), config)


def _evaluation_batches(
    split: Examples, config: DatasetConfig, batch_size: int, share: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """Every example once, in the order of the files, unaugmented; of each batch the share of this process, which may be
    empty.
    """
    first, end = evaluation_share(batch_size, share)
    steps = -(-split.size // batch_size)

    def own(items: tf.data.Dataset) -> tf.data.Dataset:
        if share[1] == 1:
            return items
        numbered = items.enumerate().filter(lambda place, _: first <= place % batch_size < end)
        return numbered.map(lambda _, item: item)

    def decoded(encoded: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment.centre_square(augment.decode(encoded, config.channels, split.shape), config), label

    parallel = in_parallel()
    if split.kind == "pixels":
        batches = own(tf.data.Dataset.range(split.size)).batch(max(end - first, 1))
        batches = batches.map(lambda indices: (tf.gather(split.images, indices), tf.gather(split.labels, indices)))
    else:
        if split.kind == "records":
            items = own(examples.encoded_records(split.builder, split.split, split.chosen))
        else:
            items = own(tf.data.Dataset.range(split.size)).map(lambda index: _encoded(split, index))
        batches = items.map(decoded, **parallel).batch(max(end - first, 1))
    batches = batches.map(lambda images, labels: (augment.normalise(images, config), labels), **parallel)
    if without := steps if first == end else int((split.size - 1) % batch_size < first):  # batches without a share
        shape = (0, config.image_size, config.image_size, config.channels)
        empty = tf.data.Dataset.from_tensors((tf.zeros(shape), tf.zeros((0,), tf.int32)))
        batches = batches.concatenate(empty.repeat(without))
    return untuned(batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(AHEAD))


def _encoded(split: Examples, item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(encoded image, label) of an item: an index into `images` and `labels`, or such a pair already."""
    if split.kind == "records":
        return item
    image, label = tf.gather(split.images, item), tf.gather(split.labels, item)
    return (tf.io.read_file(image) if split.kind == "paths" else image), label
