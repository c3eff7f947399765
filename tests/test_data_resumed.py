"""The batches of an epoch from any step on are those of the whole epoch, and what lies before is not decoded."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from helpers.pictures import folder_config, write_folder
from zoo.datasets import augment
from zoo.datasets.pipeline import load


def batches(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder, {"train": {"a": 13, "b": 10}, "validation": {"a": 1, "b": 1}})
    return folder


@pytest.mark.parametrize("kind", ["pixels", "records", "encoded", "paths"])
@pytest.mark.parametrize("step", [1, 3])
def test_the_stream_goes_on_within_an_epoch(kind, step, digits, pictures):
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
