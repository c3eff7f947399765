"""The grouped convolution against its definition: values and gradients."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import grouped_convolution
from blocks.ops.tensorflow.runtime import native_gradients
from helpers import definition
from helpers.checks import check_close
from helpers.tensors import values_and_gradients

CHANNELS, FILTERS = 8, 16
STRIDES = ((1, 1), (2, 2), (2, 1))
DILATIONS = ((1, 1), (2, 2), (1, 3))
PADDINGS = ("same", "valid", ((0, 2), (3, 1)))
KERNELS = ((1, 1), (3, 3), (2, 5))
GROUPS = (1, 4, CHANNELS)


@functools.cache
def defined(strides, dilation, padding, kernel_size, groups):
    """Images and kernel that float32 can hold, and what the definition makes of them in float64, with gradients."""
    draw = np.random.default_rng(0)
    images = draw.standard_normal((2, 11, 14, CHANNELS), "float32")
    kernel = draw.standard_normal((*kernel_size, CHANNELS // groups, FILTERS), "float32")
    expected = values_and_gradients(
        lambda x, w: definition.grouped_convolution(x, w, strides, padding, dilation),
        images.astype("float64"),
        kernel.astype("float64"),
    )
    return images, kernel, expected


def compare(strides, dilation, padding, kernel_size, groups, dtype, tolerance):
    images, kernel, expected = defined(strides, dilation, padding, kernel_size, groups)
    actual = values_and_gradients(
        lambda x, w: grouped_convolution(x, w, strides, padding, dilation), images.astype(dtype), kernel.astype(dtype)
    )
    for ours, plain in zip(actual, expected, strict=True):
        assert ours.dtype == dtype
        check_close(ours, plain, tolerance)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("kernel_size", KERNELS)
@pytest.mark.parametrize("padding", [PADDINGS[0], pytest.param(PADDINGS[1], marks=pytest.mark.heavy), PADDINGS[2]])
def test_equals_the_definition_in_float64(padding, kernel_size, groups):
    for strides, dilation in itertools.product(STRIDES, DILATIONS):
        compare(strides, dilation, padding, kernel_size, groups, "float64", 1e-13)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_the_fast_path_equals_the_definition(kernel_size, groups):
    """float32 takes oneDNN's kernels, or the matrix product, where float64 takes the fall-back."""
    for strides, dilation, padding in itertools.product(STRIDES, DILATIONS, PADDINGS):
        compare(strides, dilation, padding, kernel_size, groups, "float32", 1e-5)


def test_the_two_paths_differ():
    """Or the tests above would hold one path against the definition twice."""
    assert not native_gradients("float64")
    assert native_gradients("float32"), "this build of TensorFlow has no oneDNN: the fast path is not tested"


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("size", [4, 8, 12, 24])
def test_pointwise_convolutions(size, strides):
    """Up to 8 x 8 outputs they are matrix products, beyond they are not; strided, TensorFlow's own crash at 12."""
    draw = np.random.default_rng(1)
    images = draw.standard_normal((3, size, size, 6)).astype("float32")
    kernel = draw.standard_normal((1, 1, 6, 5)).astype("float32")
    actual = values_and_gradients(lambda x, w: grouped_convolution(x, w, strides), images, kernel)
    expected = values_and_gradients(
        lambda x, w: definition.grouped_convolution(x, w, strides, "valid", (1, 1)), images, kernel
    )
    for ours, plain in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


def test_images_of_unknown_size():
    """The size is not known when the graph is built; explicit padding must not be mistaken for "same"."""
    draw = np.random.default_rng(2)
    kernel = tf.constant(draw.standard_normal((3, 3, 2, 8)))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 4), tf.float64)])
    def convolve(images):
        return grouped_convolution(images, kernel, (2, 2), ((1, 1), (1, 1)))

    for height, width in ((6, 6), (7, 6), (9, 5)):
        images = draw.standard_normal((2, height, width, 4))
        expected = definition.grouped_convolution(tf.constant(images), kernel, (2, 2), ((1, 1), (1, 1)), (1, 1))
        np.testing.assert_allclose(convolve(images), expected, atol=1e-12)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_many_groups_as_channels_is_depthwise(dtype, multiplier):
    draw = np.random.default_rng(3)
    images = draw.standard_normal((2, 9, 9, 6)).astype(dtype)
    kernel = draw.standard_normal((3, 3, 1, 6 * multiplier)).astype(dtype)
    actual = values_and_gradients(lambda x, w: grouped_convolution(x, w, (2, 2), "same"), images, kernel)
    expected = values_and_gradients(
        lambda x, w: tf.nn.depthwise_conv2d(x, tf.reshape(w, (3, 3, 6, multiplier)), (1, 2, 2, 1), "SAME"),
        images,
        kernel,
    )
    for ours, plain in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("arguments", [
    {"padding": "same"},
    {"padding": "valid", "strides": 2},
    {"padding": "same", "dilation_rate": 2},
])  # fmt: skip
def test_equals_keras_with_the_same_weights(groups, arguments):
    from blocks import GroupedConv2D

    draw = np.random.default_rng(4)
    images = tf.constant(draw.standard_normal((2, 8, 8, 8)).astype("float32"))
    theirs = keras.layers.Conv2D(16, 3, groups=groups, activation="relu", **arguments)
    ours = GroupedConv2D(16, 3, groups=groups, activation="relu", **arguments)
    theirs.build(images.shape)
    ours.build(images.shape)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(tf.square(layer(images)))
        results.append([layer(images), *tape.gradient(total, [images, *[w.value for w in layer.weights]])])
    for mine, reference in zip(*results, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)
