"""Networks quantised to int8 for LiteRT: they tell images apart, and stay near the float network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from blocks import PaddedPooling2D
from helpers.families import calibrated, smallest
from helpers.runtimes import litert, run_litert, to_int8
from zoo.registry import FAMILIES

SIZE = 64


def check_quantized(name: str, path) -> None:
    images = np.random.default_rng(0).standard_normal((16, SIZE, SIZE, 3)).astype("float32")
    model = zoo.fuse(calibrated(name, images))
    to_int8(model, path, images)
    outputs = run_litert(litert(path)[0], images[:4])
    expected = model.predict(images[:4], verbose=0)
    assert len({tuple(logits) for logits in outputs}) == 4
    assert np.abs(outputs - expected).max() < 0.5 * np.abs(expected).max()


@pytest.mark.heavy
@pytest.mark.parametrize("key", ["resnext", "shufflenet_v2"])
def test_families_with_a_pool_behind_padding(key, tmp_path):
    check_quantized(smallest(key), tmp_path / "model.tflite")


@pytest.mark.heavy
@pytest.mark.parametrize("key", sorted(FAMILIES))
def test_every_family(key, tmp_path):
    check_quantized(smallest(key), tmp_path / "model.tflite")


POOLS = [(3, 2, 1), (2, 2, 1), (5, 2, 2), (3, 1, ((0, 1), (0, 1))), (5, 3, ((4, 0), (1, 3))), (2, 1, ((1, 2), (0, 0)))]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_padding_of_max_pooling_is_never_the_maximum(pool, relu):
    """The definition, in numpy: the maximum over the part of each window that lies in the image."""
    window, strides, padding = pool
    sides = ((padding,) * 2,) * 2 if isinstance(padding, int) else padding
    for height, width in ((1, 1), (2, 5), (9, 6)):
        values = np.random.default_rng(height).standard_normal((2, height, width, 3)).astype("float32") - 3 * (not relu)
        values = np.maximum(values, 0) if relu else values
        padded = np.pad(values, ((0, 0), *sides, (0, 0)), constant_values=-np.inf)
        if min(padded.shape[1:3]) < window:
            continue
        rows, columns = ((size - window) // strides + 1 for size in padded.shape[1:3])
        expected = np.array(
            [
                [padded[:, y * strides :, x * strides :][:, :window, :window].max((1, 2)) for x in range(columns)]
                for y in range(rows)
            ]
        ).transpose(2, 0, 1, 3)
        expected = np.maximum(expected, np.finfo("float32").min)  # TensorFlow's, of a window of padding alone
        layer = PaddedPooling2D("max", window, strides, padding, "channels_last")
        for size in ((height, width), (None, None)):

            def pooled(images, layer=layer):
                return layer(tf.nn.relu(images) if relu else images)

            with blocks.exportable():
                function = tf.function(pooled).get_concrete_function(tf.TensorSpec((None, *size, 3)))
            np.testing.assert_array_equal(function(tf.constant(values)), expected)
            kinds = [op.type for op in function.graph.get_operations()]
            assert max(map(max, sides)) >= window or "PadV2" not in kinds


def test_int8_pooling_of_negative_values(tmp_path):
    images = keras.Input((9, 9, 4))
    model = keras.Model(images, PaddedPooling2D("max", 3, 2, 1, "channels_last")(images))
    values = np.random.default_rng(0).standard_normal((4, 9, 9, 4)).astype("float32") - 3
    to_int8(model, tmp_path / "model.tflite", values)
    outputs = run_litert(litert(tmp_path / "model.tflite")[0], values)
    np.testing.assert_allclose(outputs, model(values), atol=0.05)
