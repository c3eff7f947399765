"""The batches of an epoch from any step on are those of the whole epoch, and what lies before is not decoded."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from helpers.pictures import folder_config, write_folder
from zoo.datasets import augment
from zoo.datasets.augmentation_config import ColorJitterConfig, MixingConfig, RandomErasingConfig
from zoo.datasets.pipeline import load


def batches(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder, {"train": {"a": 13, "b": 10}, "validation": {"a": 1, "b": 1}})
    return folder


@pytest.mark.parametrize("step, kind", [
    pytest.param(1, "pixels", marks=pytest.mark.heavy),
    (3, "records"),
    pytest.param(1, "encoded", marks=pytest.mark.heavy),
    (3, "paths"),
])  # fmt: skip
def test_the_stream_goes_on_within_an_epoch(step, kind, digits, pictures):
    if kind in ("pixels", "records"):
        config, batch_size = dataclasses.replace(digits, cache=kind == "pixels", shuffle_buffer=150), 200
    else:
        config = folder_config(pictures, random_resized_crop=True, flip=True, cache=kind == "encoded")
        batch_size = 5
    data = load(config, batch_size, seed=3)
    steps = data.steps_per_epoch
    assert steps > 3 and load(config, batch_size, seed=3).stream(1).element_spec == data.stream(1, step).element_spec
    whole = batches(data.stream(1), 2 * steps)
    rest = batches(data.stream(1, step), 2 * steps - step)
    for one, other in zip(whole[step:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(whole[0][0], rest[0][0])


ALL = {
    "flip": True,
    "policy": "trivialaugment",
    "color_jitter": ColorJitterConfig(brightness=0.4, probability=0.5),
    "random_erasing": RandomErasingConfig(probability=0.5, count=2),
    "mixing": MixingConfig(mixup_alpha=0.2, cutmix_alpha=1.0, probability=0.9),
    "repeats": 3,
}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["records", "pixels", "paths"])
def test_all_augmentation_goes_on_within_an_epoch(kind, digits, pictures):
    """Each batch follows from seed, epoch and step, bit for bit: whatever was made before it, in whatever process."""
    if kind == "paths":
        config = folder_config(pictures, random_resized_crop=True, cache=False, **ALL)
        batch_size = 5
    else:
        options = {**ALL, "cache": kind == "pixels", "shuffle_buffer": 150, "crop_padding": 1}
        config, batch_size = dataclasses.replace(digits, **options), 200
    data = load(config, batch_size, seed=3, label_smoothing=0.1)
    steps = data.steps_per_epoch
    whole = batches(data.stream(1), steps + 1)
    rest = batches(load(config, batch_size, seed=3, label_smoothing=0.1).stream(1, 2), steps - 1)
    for one, other in zip(whole[2:], rest, strict=True):
        assert one[1].shape == (batch_size, data.num_classes) and one[1].dtype == np.float32
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    again = batches(data.epoch(0), 1)[0]
    assert not np.array_equal(whole[0][0], again[0])
    (_, labels), *_ = batches(data.validation, 1)
    assert labels.dtype == np.int32 and labels.ndim == 1


@pytest.mark.parametrize("first_step, kind", [
    (0, "pixels"),
    pytest.param(1, "records", marks=pytest.mark.heavy),
    pytest.param(1, "encoded", marks=pytest.mark.heavy),
])  # fmt: skip
def test_repeated_augmentation_has_each_image_several_times_in_a_row(first_step, kind, digits, pictures):
    """Augmented anew each time; an epoch keeps its steps, and shows so many times fewer images."""
    if kind == "encoded":
        config, batch_size = folder_config(pictures, random_resized_crop=True, cache=True, flip=False, repeats=3), 5
    else:
        config = dataclasses.replace(digits, cache=kind == "pixels", shuffle_buffer=100, crop_padding=0, repeats=3)
        batch_size = 100
    data, plain = load(config, batch_size, seed=3), load(dataclasses.replace(config, repeats=1), batch_size, seed=3)
    assert data.steps_per_epoch == plain.steps_per_epoch
    images, labels = (np.concatenate(each) for each in zip(*batches(data.epoch(0), data.steps_per_epoch), strict=True))
    _, once = (np.concatenate(each) for each in zip(*batches(plain.epoch(0), data.steps_per_epoch), strict=True))
    np.testing.assert_array_equal(labels, np.repeat(once, 3)[: len(labels)])
    assert np.array_equal(images[0], images[1]) == (kind != "encoded")  # another box each time
    only = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64))
    rest = batches(data._epochs(only, first_step), data.steps_per_epoch)
    np.testing.assert_array_equal(np.concatenate([each[0] for each in rest]), images[first_step * batch_size :])


@pytest.mark.parametrize("kind", ["records", "paths"])
def test_what_is_passed_over_is_not_decoded(kind, digits, pictures, monkeypatch):
    decoded = tf.Variable(0)
    decode = augment.decode

    def counting(*arguments):
        with tf.control_dependencies([decoded.assign_add(1)]):
            return tf.identity(decode(*arguments))

    monkeypatch.setattr(augment, "decode", counting)
    if kind == "records":
        config, batch_size = dataclasses.replace(digits, cache=False, shuffle_buffer=150), 100
    else:
        config, batch_size = folder_config(pictures, cache=False), 2
    data = load(config, batch_size, seed=0)
    steps = data.steps_per_epoch
    decoded.assign(0)
    only = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64))  # the stream would read ahead in the next epoch
    (last,) = batches(data._epochs(only, steps - 1), steps)
    assert len(last[1]) == batch_size == int(decoded)
