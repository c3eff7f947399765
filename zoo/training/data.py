"""Batches to train and evaluate on: read -> cache (uint8) -> shuffle -> augment -> normalise -> batch -> prefetch.

Nothing in an epoch depends on anything but the seed and the epoch's number: an interrupted run that starts again at
epoch k sees the batches it would have seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from zoo.training import augment, examples
from zoo.training.data_config import DatasetConfig, check
from zoo.training.examples import Examples
from zoo.training.prepare import prepared_builder

_ORDER, _AUGMENTATION = 0, 1  # tell the random streams of one seed apart
_FOREVER = 2**62


@dataclass(frozen=True)
class Data:
    """Batches of (images float32 (B, H, W, C), labels int32 (B,)), and what a network must know about them.

    Iterating over `train` gives one epoch; the next iteration gives the next epoch. The last images of an epoch that
    do not fill a batch are left out of it (others are in the next). `validation` and `test` give every example
    once, in a fixed order; their last batch may be smaller.

    `epoch(number)` and `stream(first_epoch)` give the same batches by number. Prefer `stream` for `Model.fit`: Keras
    opens an iterator to look at a batch before it trains, which moves `train` one epoch on.

        model.fit(data.stream(first), steps_per_epoch=data.steps_per_epoch, initial_epoch=first, epochs=90)
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset | None
    train_size: int
    validation_size: int
    test_size: int
    batch_size: int
    steps_per_epoch: int
    num_classes: int
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...] | None
    _epochs: Callable[[tf.data.Dataset], tf.data.Dataset]

    def epoch(self, number: int) -> tf.data.Dataset:
        """The `steps_per_epoch` training batches of epoch `number` (from 0), the same every time."""
        batches = self._epochs(tf.data.Dataset.from_tensors(tf.constant(number, tf.int64)))
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    def stream(self, first_epoch: int = 0) -> tf.data.Dataset:
        """The training batches of all epochs from `first_epoch` on, one after the other, without end."""
        return self._epochs(tf.data.Dataset.range(first_epoch, _FOREVER))


def load(config: DatasetConfig, batch_size: int, seed: int, first_epoch: int = 0) -> Data:
    """The data set of `config`, prepared on first use.

    `seed` fixes the order and the augmentation of every epoch; `train` starts with epoch `first_epoch` (from 0).

    Raises:
      ValueError: the configuration, the batch size or the kind of data set cannot work.
      zoo.training.prepare.DataUnavailable: the data set is neither prepared nor obtainable.
    """
    check(config)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1.")
    train, validation, test, num_classes, names = _splits(config)
    if batch_size > train.size:
        raise ValueError(
            f"batch_size={batch_size} exceeds the {train.size} training images of {config.name}, so no batch would be "
            f"full; the largest possible is {train.size}.")
    steps = train.size // batch_size

    def epochs(numbers: tf.data.Dataset) -> tf.data.Dataset:
        return _training_batches(train, config, batch_size, seed, numbers)

    # The counter is read when an epoch's first batch is asked for, not when its iterator is made.
    counter = itertools.count(first_epoch)
    each_time = tf.data.Dataset.from_generator(
        lambda: [next(counter)], output_signature=tf.TensorSpec((), tf.int64))
    return Data(
        name=config.name,
        train=epochs(each_time).apply(tf.data.experimental.assert_cardinality(steps)),
        validation=_evaluation_batches(validation, config, batch_size),
        test=_evaluation_batches(test, config, batch_size) if test else None,
        train_size=train.size,
        validation_size=validation.size,
        test_size=test.size if test else 0,
        batch_size=batch_size,
        steps_per_epoch=steps,
        num_classes=num_classes,
        input_shape=(config.image_size, config.image_size, config.channels),
        class_names=names,
        _epochs=epochs,
    )


def _splits(config: DatasetConfig) -> tuple[Examples, Examples, Examples | None, int, tuple[str, ...] | None]:
    """Training, validation and test examples, number of classes, their names."""
    if config.source == "synthetic":
        train = examples.synthetic(config.synthetic_train_size, 0, config)
        return train, examples.synthetic(config.synthetic_validation_size, 1, config), None, config.num_classes, None
    builder = prepared_builder(config)
    num_classes, names = _classes(builder, config)
    wanted = (config.train_split, config.validation_split, config.test_split)
    if config.source == "image_folder":
        splits = [examples.folder_split(builder, split) if split else None for split in wanted]
        read = examples.from_folder
    else:
        _check_positions(builder, wanted)
        splits, read = wanted, examples.from_builder
    train, *others = (
        read(builder, split, config, training=index == 0) if split else None for index, split in enumerate(splits))
    if config.source == "image_folder":
        _check_trained(train, others, names)
    return train, *others, num_classes, names


def _check_trained(train: Examples, others: list[Examples | None], names: tuple[str, ...]) -> None:
    trained = set(train.labels.numpy().tolist())
    for other in filter(None, others):
        unknown = sorted(set(other.labels.numpy().tolist()) - trained)
        if unknown:
            raise ValueError(
                f"The classes {', '.join(names[label] for label in unknown[:5])} have images to evaluate on but none to "
                "train on; every class needs a folder of the same name among the training images.")


def _classes(builder: tfds.core.DatasetBuilder, config: DatasetConfig) -> tuple[int, tuple[str, ...] | None]:
    """Number and names of the classes; ValueError where the data set is no image classification."""
    info, name = builder.info, builder.info.full_name
    keys = info.supervised_keys
    if not keys or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"{name} declares no (image, label) pair (its supervised_keys are {keys}), so it cannot be used for "
            "classification.")
    image, label = info.features[keys[0]], info.features[keys[1]]
    if not isinstance(image, tfds.features.Image) or np.dtype(image.np_dtype) != np.uint8:
        raise ValueError(f"{name}: {keys[0]!r} is {image!r}, not an image of 8-bit pixels.")
    if isinstance(label, tfds.features.ClassLabel):
        count, names = label.num_classes, tuple(label.names) if label.names else None
    elif config.num_classes and label.shape == () and np.dtype(label.np_dtype).kind in "iu":
        count, names = config.num_classes, None
    else:
        raise ValueError(
            f"{name}: {keys[1]!r} is {label!r}, not a class label, so it cannot be used for classification.")
    if config.num_classes not in (None, count):
        raise ValueError(
            f"dataset.num_classes={config.num_classes}, but {name} has {count} classes; set null or {count}.")
    if config.channels == 1 and image.shape[-1] not in (1, None) and config.source == "tfds":
        raise ValueError(
            f"dataset.channels=1, but the images of {name} have {image.shape[-1]}; set dataset.channels=3 (and mean and "
            "std to match).")
    return count, names


def _check_positions(builder: tfds.core.DatasetBuilder, splits: tuple[str | None, ...]) -> None:
    """Refuses unknown, empty and overlapping splits by the positions in the record files that they resolve to."""
    resolved = []
    for split in filter(None, splits):
        try:
            parts = builder.info.splits[split].file_instructions
        except (KeyError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{builder.info.full_name} has no split {split!r}; it has {', '.join(builder.info.splits)}, and parts of "
                "them such as 'train[:90%]'.") from error
        if not sum(part.take for part in parts):
            raise ValueError(f"The split {split!r} of {builder.info.full_name} is empty.")
        resolved.append((split, parts))
    for (first, some), (second, others) in itertools.combinations(resolved, 2):
        shared = sum(
            max(0, min(a.skip + a.take, b.skip + b.take) - max(a.skip, b.skip))
            for a in some for b in others if a.filename == b.filename)
        if shared:
            raise ValueError(
                f"The splits {first!r} and {second!r} of {builder.info.full_name} share {shared} examples; take parts "
                "that do not overlap, for example 'train[:90%]' and 'train[90%:]'.")


def _key(seed: int, stream: int, *counters: tf.Tensor) -> tf.Tensor:
    """Seed int64 (2,) for one purpose, epoch, position: independent of its neighbours, a function of them alone."""
    key = tf.constant([seed % 2**63, stream], tf.int64)
    for counter in counters:
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(counter, tf.int64))
    return key


def _training_batches(
    train: Examples, config: DatasetConfig, batch_size: int, seed: int, epochs: tf.data.Dataset
) -> tf.data.Dataset:
    """Augmented, normalised batches of the epochs whose numbers `epochs` holds."""
    steps = train.size // batch_size

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        key = _key(seed, _ORDER, epoch)
        if train.kind == "records":
            shuffled = examples.shuffled_records(train, key).shuffle(
                min(config.shuffle_buffer, train.size), seed=key[0], reshuffle_each_iteration=False)
            chosen = shuffled.take(steps * batch_size)
        else:
            permutation = tf.random.experimental.stateless_shuffle(tf.range(train.size), key)[:steps * batch_size]
            if train.kind == "pixels":  # whole batches at a time
                permutation = tf.reshape(permutation, (steps, batch_size))
            chosen = tf.data.Dataset.from_tensor_slices(permutation)
        return chosen.enumerate().map(lambda position, item: (epoch, position, item))

    def pixels(epoch: tf.Tensor, position: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.gather(train.images, indices)
        images = augment.shift_and_flip(images, _key(seed, _AUGMENTATION, epoch, position), config)
        return augment.normalise(images, config), tf.gather(train.labels, indices)

    def one(epoch: tf.Tensor, position: tf.Tensor, item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label = _encoded(train, item)
        key = _key(seed, _AUGMENTATION, epoch, position)
        if config.random_resized_crop:
            image = augment.random_resized_square(encoded, tf.random.experimental.stateless_fold_in(key, 2), config)
        else:
            image = augment.centre_square(augment.decode(encoded, config.channels), config)
        return augment.shift_and_flip(image[tf.newaxis], key, config)[0], label

    ordered = epochs.flat_map(order)
    if train.kind == "pixels":
        batches = ordered.map(pixels, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    else:
        decoded = ordered.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = decoded.batch(batch_size, drop_remainder=True).map(
            lambda images, labels: (augment.normalise(images, config), labels), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def _evaluation_batches(split: Examples, config: DatasetConfig, batch_size: int) -> tf.data.Dataset:
    """Every example once, in the order of the files, unaugmented."""
    if split.kind == "pixels":
        batches = tf.data.Dataset.range(split.size).batch(batch_size).map(
            lambda indices: (tf.gather(split.images, indices), tf.gather(split.labels, indices)))
    else:
        if split.kind == "records":
            items = examples.encoded_records(split.builder, split.split)
        else:
            items = tf.data.Dataset.range(split.size).map(lambda index: _encoded(split, index))
        batches = items.map(
            lambda encoded, label: (augment.centre_square(augment.decode(encoded, config.channels), config), label),
            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(batch_size)
    batches = batches.map(
        lambda images, labels: (augment.normalise(images, config), labels),
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    steps = -(-split.size // batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def _encoded(split: Examples, item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(encoded image, label) of an item: an index into `images` and `labels`, or such a pair already."""
    if split.kind == "records":
        return item
    image, label = tf.gather(split.images, item), tf.gather(split.labels, item)
    return (tf.io.read_file(image) if split.kind == "paths" else image), label
