"""The kernels of pooling: that they equal TensorFlow's operations, and where those are used instead."""

import numpy as np
import pytest
import tensorflow as tf

from blocks import PaddedPooling2D
from blocks.kernels import build
from blocks.ops.tensorflow import runtime
from helpers.kernels import needs_kernels
from helpers.tensors import operation_types

pytestmark = needs_kernels


def drawn(*shape, dtype="float32", seed=0):
    """Few values, so that many are equal."""
    return tf.cast(tf.constant(np.random.default_rng(seed).integers(-4, 4, shape)), dtype)


def results(layer, images):
    """Outputs, gradient, and the gradient of that gradient."""
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            outputs = layer(images)
            total = tf.reduce_sum(outputs**2 * drawn(*outputs.shape, dtype=outputs.dtype, seed=1))
        gradient = inner.gradient(total, images)
        size = tf.reduce_sum(gradient * drawn(*images.shape, dtype=images.dtype, seed=2))
    return outputs, gradient, outer.gradient(size, images)


def used(layer, shape) -> bool:
    return "BlocksPool" in operation_types(layer, tf.TensorSpec(shape))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize(
    "shape, window, strides, padding",
    [
        ((3, 12, 11, 24), 3, 2, 1),
        ((2, 7, 9, 37), (2, 3), (3, 1), ((1, 0), (2, 1))),
        ((2, 9, 8, 16), 2, 3, "valid"),
        ((2, 8, 6, 40), 2, 2, "same"),
        ((1, 5, 4, 70), (5, 4), 1, "valid"),
        ((0, 5, 4, 32), 3, 2, 1),
    ],
)
def test_pooling_equals_tensorflow(monkeypatch, shape, window, strides, padding, mode, dtype):
    layer, images = PaddedPooling2D(mode, window, strides, padding), drawn(*shape, dtype=dtype)
    assert used(layer, shape)
    actual = results(layer, images)
    monkeypatch.setattr(runtime, "library", lambda: None)
    for ours, plain in zip(actual, results(layer, tf.cast(images, "float32")), strict=True):
        scale = max(1.0, np.abs(plain).max(initial=0))
        accuracy = 1e-6 if dtype == "float32" else 2e-2
        np.testing.assert_allclose(tf.cast(ours, "float32"), plain, rtol=0, atol=accuracy * scale)


def test_maxima_in_bfloat16_are_exact_and_not_a_number_is_one():
    images = drawn(2, 6, 6, 32, dtype="bfloat16")
    layer = PaddedPooling2D("max", 3, 2, 1)
    np.testing.assert_array_equal(layer(images), tf.cast(layer(tf.cast(images, "float32")), "bfloat16"))
    for value in (np.nan, -np.inf):
        outputs = layer(tf.fill((1, 6, 6, 32), value)).numpy()
        np.testing.assert_array_equal(outputs, np.full((1, 3, 3, 32), value))
    holes = tf.tensor_scatter_nd_update(tf.ones((1, 6, 6, 32)), [[0, 2, 2, 5]], [np.nan])
    np.testing.assert_array_equal(np.isnan(layer(holes)[0, :, :, 5]), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "arguments, shape, ours",
    [
        (("max", 3, 2, 1), (1, 8, 8, 16), True),
        (("max", 3, 2, 1), (1, 8, 8, 3), False),  # too few channels
        (("max", 3, 2, "same"), (1, None, None, 32), False),  # with an unknown size the padding is unknown
        (("max", 3, 2, 1), (None, None, None, 32), True),
        (("max", 2, 2, 2), (1, 8, 8, 32), False),  # windows of padding alone
        (("max", 17, 1), (1, 20, 20, 32), False),  # more taps than a uint8 index can hold
        (("average", 3, 2, "same"), (1, 8, 8, 32), False),  # Keras leaves this padding out of the average
        (("average", 2, 2, "same"), (1, 8, 8, 32), True),
    ],
)
def test_where_the_kernels_are_used(arguments, shape, ours):
    layer = PaddedPooling2D(*arguments)
    assert used(layer, shape) == ours
    sizes = [size or 8 for size in shape]
    assert layer(drawn(*sizes)).shape == layer.compute_output_shape(sizes)


def test_wrong_gradients_are_refused():
    settings = {"average": False, "window": [3, 3], "strides": [2, 2], "explicit_padding": [1, 1, 1, 1]}
    operations = build.library()
    outputs, where = operations.blocks_pool(drawn(1, 6, 6, 32), **settings)
    with pytest.raises(tf.errors.InvalidArgumentError, match="gradients of a wrong shape"):
        operations.blocks_pool_grad(outputs, where, (1, 8, 8, 32), **settings)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the window"):
        operations.blocks_pool(drawn(1, 6, 6, 32), **settings | {"explicit_padding": [3, 0, 0, 0]})
