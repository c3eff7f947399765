"""Batches: determinism, epochs, splits, colours, caching."""

from __future__ import annotations

import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from helpers.pictures import arrays, assert_same, rows, same
from zoo.datasets import augment
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import load


def test_digits_are_described(digits):
    data = load(digits, batch_size=64, seed=0)
    assert (data.train_size, data.validation_size, data.test_size, data.test) == (1437, 360, 0, None)
    assert (data.num_classes, data.input_shape, data.steps_per_epoch) == (10, (8, 8, 1), 22)
    assert data.class_names == tuple("0123456789")
    assert data.train.cardinality() == 22
    images, labels = next(iter(data.train))
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == (
        (64, 8, 8, 1),
        tf.float32,
        (64,),
        tf.int32,
    )
    assert data.train.element_spec[0].shape[1:] == (8, 8, 1)


@pytest.mark.parametrize("cache", ["auto", pytest.param(False, marks=pytest.mark.heavy)])
def test_two_epochs_are_the_same_for_the_same_seed(digits, cache):
    config = dataclasses.replace(digits, cache=cache)
    first, again, other = (load(config, batch_size=100, seed=seed) for seed in (7, 7, 8))
    for _ in range(2):
        one, two, three = arrays(first.train), arrays(again.train), arrays(other.train)
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert not np.array_equal(one[1], three[1])


@pytest.mark.parametrize("cache", ["auto", False])
def test_epochs_differ_in_order_and_augmentation(digits, cache):
    plain = load(dataclasses.replace(digits, cache=cache, crop_padding=0), batch_size=1437, seed=0)
    (one, one_labels), (two, two_labels) = arrays(plain.train), arrays(plain.train)
    assert not np.array_equal(one_labels, two_labels)
    assert sorted(rows(one)) == sorted(rows(two))  # only the order differs
    moved = load(dataclasses.replace(digits, cache=cache), batch_size=1437, seed=0)
    one, two = arrays(moved.train)[0], arrays(moved.train)[0]
    assert len(set(rows(one)) & set(rows(two))) < 1437 / 2  # augmented anew, hence behind the cache


@pytest.mark.parametrize("cache", ["auto", pytest.param(False, marks=pytest.mark.heavy)])
def test_an_epoch_can_be_had_by_number(digits, cache):
    config = dataclasses.replace(digits, cache=cache)
    data = load(config, batch_size=200, seed=3)
    first, second, steps = data.epoch(1), data.epoch(2), data.steps_per_epoch
    assert_same(data.epoch(0), data.train)
    assert_same(first, data.train)
    assert_same(first, first)
    assert not same(first, second)
    assert_same(load(config, batch_size=200, seed=3, first_epoch=2).train, second)
    both = data.stream(1).take(2 * steps)
    assert_same(both, first.concatenate(second))


def test_fit_on_the_stream_resumes_with_the_epoch_it_stopped_before(digits):
    data = load(digits, batch_size=400, seed=0)
    weights = {}

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return network

    def fit(network: keras.Model, first: int, last: int) -> None:
        network.fit(
            data.stream(first),
            steps_per_epoch=data.steps_per_epoch,
            initial_epoch=first,
            epochs=last,
            verbose=0,
        )

    whole = model()
    fit(whole, 0, 3)
    interrupted = model()
    fit(interrupted, 0, 1)
    weights = interrupted.get_weights()
    resumed = model()
    resumed.set_weights(weights)
    fit(resumed, 1, 3)
    np.testing.assert_allclose(whole.get_weights()[0], resumed.get_weights()[0], rtol=1e-6, atol=1e-7)
    wrong = model()
    wrong.set_weights(weights)
    fit(wrong, 2, 4)
    assert not np.allclose(whole.get_weights()[0], wrong.get_weights()[0], rtol=1e-6, atol=1e-7)


def test_train_and_validation_share_no_image_and_hold_all_classes(digits):
    data = load(dataclasses.replace(digits, crop_padding=0), batch_size=1437, seed=0)
    train, train_labels = arrays(data.train)
    validation, validation_labels = arrays(data.validation)
    assert not set(rows(train)) & set(rows(validation))
    train_share = np.bincount(train_labels, minlength=10) / 1437
    np.testing.assert_allclose(np.bincount(validation_labels, minlength=10) / 360, train_share, atol=0.005)


@pytest.mark.parametrize("cache", ["auto", False])
def test_every_validation_example_comes_once(digits, cache):
    data = load(dataclasses.replace(digits, cache=cache), batch_size=100, seed=0)
    images, labels = arrays(data.validation)
    assert data.validation.cardinality() == 4
    expected = list(tfds.as_numpy(tfds.load("digits", split="validation", data_dir=digits.data_dir)))
    normalised = [((example["image"] / 255 - 0.3) / 0.4).astype(np.float32) for example in expected]
    assert len(images) == 360
    key = [np.round(image, 4).tobytes() for image in images]
    assert sorted(key) == sorted(np.round(image, 4).tobytes() for image in normalised)
    np.testing.assert_allclose(images, normalised, atol=1e-5)
    assert labels.tolist() == [example["label"] for example in expected]
    assert_same(data.validation, data.validation)


def test_digits_are_the_ones_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    data = load(dataclasses.replace(digits, crop_padding=0, mean=[0.0]), batch_size=1437, seed=0)
    ours = [
        (np.rint(image * 0.4 * 16).astype(int).tobytes(), int(label))
        for split in (data.train, data.validation)
        for image, label in zip(*arrays(split), strict=True)
    ]
    theirs = load_digits()
    assert sorted(ours) == sorted(
        (image.astype(int).tobytes(), int(label)) for image, label in zip(theirs.images, theirs.target, strict=True)
    )


def test_records_of_several_files_are_mixed(digits, tmp_path):
    sharded = tfds.builder("digits", data_dir=tmp_path)
    sharded.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
    assert sharded.info.splits["train"].num_shards == 4
    config = dataclasses.replace(digits, data_dir=str(tmp_path), cache=False, crop_padding=0, shuffle_buffer=64)
    data = load(config, batch_size=1437, seed=0)
    turned = dataclasses.replace(config, train_split="validation", validation_split="train")
    in_order = rows(arrays(load(turned, 1, seed=0).validation)[0])
    one, two = rows(arrays(data.epoch(0))[0]), rows(arrays(data.epoch(1))[0])
    assert sorted(one) == sorted(two) == sorted(in_order)
    starts = [sorted(in_order.index(image) // 360 for image in epoch[:64]) for epoch in (one, two)]
    assert all(len(set(files)) > 2 for files in starts)  # the first block draws on several files
    assert one[:64] != two[:64]


@pytest.mark.parametrize("cache", ["auto", pytest.param(False, marks=pytest.mark.heavy)])
def test_the_global_seed_changes_nothing(digits, cache):
    config = dataclasses.replace(digits, cache=cache, shuffle_buffer=500)
    keras.utils.set_random_seed(0)
    zero = load(config, batch_size=200, seed=3)
    batches = arrays(zero.epoch(1))
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(arrays(load(config, batch_size=200, seed=3).epoch(1))[0], batches[0])


def test_what_does_not_fit_is_read_from_disk_and_said(digits, caplog):
    with caplog.at_level(logging.WARNING):
        load(digits, batch_size=10, seed=0)
    assert "not cached" not in caplog.text
    with caplog.at_level(logging.WARNING):
        data = load(dataclasses.replace(digits, cache_limit_gb=1e-6, crop_padding=0), batch_size=1437, seed=0)
    assert "digits, split train: not cached" in caplog.text
    cached = load(dataclasses.replace(digits, cache=True, cache_limit_gb=1e-6, crop_padding=0), 1437, seed=0)
    assert sorted(rows(arrays(data.train)[0])) == sorted(rows(arrays(cached.train)[0]))


def test_a_batch_larger_than_the_training_set_is_refused(digits):
    with pytest.raises(ValueError, match="batch_size=1438 exceeds the 1437 training images"):
        load(digits, batch_size=1438, seed=0)
    with pytest.raises(ValueError, match="batch_size=0"):
        load(digits, batch_size=0, seed=0)


@pytest.mark.parametrize("cache", [True, False])
def test_no_autotuner_keeps_an_iterator_from_ending(digits, cache):
    """Its thread would be waited for, for up to a minute, where an iterator is destroyed."""
    data = load(dataclasses.replace(digits, cache=cache), batch_size=16, seed=0)
    for part in (data.train, data.epoch(0), data.stream(), data.validation):
        assert part.options().autotune.enabled is False


def test_parts_of_a_split(digits):
    config = dataclasses.replace(
        digits,
        train_split="train[:1000]",
        validation_split="train[1000:1200]",
        test_split="validation",
        crop_padding=0,
    )
    data = load(config, batch_size=1000, seed=0)
    assert (data.train_size, data.validation_size, data.test_size) == (1000, 200, 360)
    parts = [set(rows(arrays(split)[0])) for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [1000, 200, 360]
    assert not parts[0] & parts[1] and not parts[0] & parts[2]
    with pytest.raises(ValueError, match="share 137 examples"):  # train[80%:] starts at 1,150
        load(
            dataclasses.replace(config, train_split="train[:1287]", validation_split="train[80%:]"),
            10,
            seed=0,
        )
    with pytest.raises(ValueError, match="has no split 'dev'; it has train, validation"):
        load(dataclasses.replace(config, validation_split="dev"), 10, seed=0)
    with pytest.raises(ValueError, match="empty"):
        load(dataclasses.replace(config, validation_split="train[1437:]"), 10, seed=0)
    with pytest.raises(ValueError, match="num_classes=7, but digits/1.0.0 has 10"):
        load(dataclasses.replace(config, num_classes=7), 10, seed=0)


def test_grey_images_are_repeated_for_three_channels_and_enlarged(digits):
    config = dataclasses.replace(digits, channels=3, image_size=20, mean=[0.0, 0.0, 0.5], std=[1.0, 1.0, 0.5])
    images, _ = arrays(load(config, batch_size=100, seed=0).validation)
    assert images.shape == (360, 20, 20, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 1])
    np.testing.assert_allclose(images[..., 0], images[..., 2] * 0.5 + 0.5, atol=1e-6)


def test_another_file_format_is_refused(digits, tmp_path):
    tfds.builder("digits", data_dir=tmp_path, file_format="array_record").download_and_prepare()
    with pytest.raises(ValueError, match="is prepared as array_record, but only tfrecord is read"):
        load(dataclasses.replace(digits, data_dir=str(tmp_path)), batch_size=1, seed=0)


def test_shift_and_flip_moves_whole_pixels_and_fills_with_zeros():
    config = DatasetConfig(image_size=6, crop_padding=2, flip=True)
    images = np.arange(1, 37, dtype=np.uint8).reshape(1, 6, 6, 1).repeat(400, axis=0)
    moved = augment.shift_and_flip(tf.constant(images), tf.constant([1, 2], tf.int64), config).numpy()
    possible = {}
    for mirrored in (False, True):
        for down in range(5):
            for right in range(5):
                padded = np.pad(images[0, :, :, 0], 2)
                crop = padded[down : down + 6, right : right + 6]
                possible[(crop[:, ::-1] if mirrored else crop).tobytes()] = (mirrored, down, right)
    shifts = {possible[image.tobytes()] for image in moved}
    assert len(shifts) > 40  # of 50
    assert augment.shift_and_flip(images, None, DatasetConfig(image_size=6)) is images


def test_centre_square_scales_the_short_side_and_cuts_the_centre():
    ramp = np.tile(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 1, 3))
    config = DatasetConfig(image_size=16, channels=3, crop_fraction=0.8)
    square = augment.centre_square(tf.constant(ramp), config).numpy()  # 40x60 -> 20x30 -> 16x16, columns 7..22
    assert square.shape == (16, 16, 3)
    np.testing.assert_allclose(square[8, :, 0], (np.arange(7, 23) * 2 + 0.5) * 4, atol=1)
