"""The CPU kernels of spatial convolutions, in groups and of one: values and gradients are those of the definition."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from blocks import GroupedConv2D, grouped_convolution
from blocks.kernels import build
from blocks.ops.implementation import choose
from blocks.ops.tensorflow import conv2d
from helpers import definition
from helpers.checks import check_all_close
from helpers.conv_specs import PLAIN
from helpers.kernels import needs_kernels
from helpers.tensors import exact, operation_types, values_and_gradients

pytestmark = needs_kernels

# (batch, height, width, channels, filters, kernel, strides, groups, padding)
CASES = {
    "2 channels a group": (2, 7, 9, 36, 36, (3, 3), (1, 1), 18, ((1, 1), (1, 1))),
    "4 channels": (3, 9, 11, 32, 32, (3, 3), (1, 1), 8, ((1, 1), (1, 1))),
    "4 channels, uneven": (5, 9, 12, 40, 40, (3, 3), (2, 2), 10, ((0, 1), (1, 0))),
    "8 channels, a large row": (1, 3, 70, 24, 24, (3, 3), (2, 1), 3, ((1, 1), (1, 1))),
    "8 channels, 5 x 5": (2, 8, 8, 32, 32, (5, 5), (2, 2), 4, ((2, 2), (2, 2))),
    "12 to 18": (4, 7, 7, 24, 36, (3, 3), (2, 2), 2, ((1, 1), (1, 1))),
    "16 channels": (3, 8, 8, 32, 32, (3, 3), (1, 1), 2, ((1, 1), (1, 1))),
    "20 to 40, 5 x 5": (2, 6, 6, 40, 80, (5, 5), (1, 1), 2, ((2, 2), (2, 2))),
    "16 to 32, an odd row": (3, 9, 14, 48, 96, (3, 3), (2, 2), 3, ((1, 1), (1, 0))),
    "32 to 16, steps beyond the kernel": (2, 9, 10, 64, 32, (2, 3), (3, 4), 2, ((0, 0), (0, 0))),
    "33 to 17": (1, 5, 4, 66, 34, (3, 3), (1, 1), 2, ((1, 1), (1, 1))),
    "one pixel": (2, 1, 1, 32, 32, (3, 3), (1, 1), 8, ((1, 1), (1, 1))),
    "many images of a few pixels": (7, 2, 2, 64, 64, (3, 3), (1, 1), 16, ((1, 1), (1, 1))),
    "steps beyond the kernel": (2, 9, 10, 32, 32, (2, 3), (3, 4), 8, ((0, 0), (0, 0))),
    "far padding": (2, 4, 5, 32, 32, (3, 3), (2, 2), 2, ((3, 4), (4, 3))),
    "11 x 2": (2, 12, 6, 32, 32, (11, 2), (1, 1), 8, ((5, 5), (0, 1))),
    "7 x 7": (1, 9, 9, 36, 24, (7, 7), (2, 2), 2, ((3, 3), (3, 3))),
    "few channels in all": (2, 5, 5, 8, 8, (3, 3), (1, 1), 2, ((1, 1), (1, 1))),
    "one group, 3 channels": (3, 19, 33, 3, 32, (3, 3), (2, 2), 1, ((0, 1), (0, 1))),
    "one group, 7 x 7": (2, 15, 14, 3, 40, (7, 7), (2, 2), 1, ((2, 3), (3, 2))),
    "one group, side by side": (2, 8, 12, 3, 5, (4, 4), (4, 4), 1, ((0, 0), (0, 0))),
    "one group, with gaps": (2, 9, 10, 5, 17, (2, 3), (3, 4), 1, ((0, 0), (0, 0))),
    "one group, 16 to 19": (1, 6, 7, 16, 19, (3, 3), (1, 1), 1, ((1, 1), (1, 1))),
    "one group, 34 to 70, an odd row": (2, 9, 11, 34, 70, (3, 3), (2, 2), 1, ((1, 1), (1, 1))),
    "one group, one column": (4, 6, 1, 16, 16, (3, 1), (2, 1), 1, ((1, 1), (0, 0))),
    "one group, 512 values a patch": (2, 5, 5, 128, 33, (2, 2), (1, 1), 1, ((0, 0), (0, 0))),
    "one group, more weights than outputs": (3, 5, 4, 176, 208, (3, 3), (2, 2), 1, ((1, 1), (1, 0))),
    "8 groups, more weights than outputs": (2, 4, 4, 512, 512, (3, 3), (1, 1), 8, ((1, 1), (1, 1))),
    "one group, one channel": (5, 4, 3, 1, 1, (3, 3), (1, 1), 1, ((1, 1), (1, 1))),
    "one group, far padding": (2, 4, 5, 4, 32, (3, 3), (2, 2), 1, ((3, 4), (4, 3))),
    "one group, narrower than the kernel": (2, 3, 2, 6, 8, (3, 5), (1, 1), 1, ((1, 1), (2, 2))),
}


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_the_definition(case, dtype, tolerance):
    batch, height, width, channels, filters, kernel_size, strides, groups, padding = case
    images = exact((batch, height, width, channels), dtype)
    kernel = exact((*kernel_size, channels // groups, filters), dtype)

    def by_definition(x, w):
        return definition.grouped_convolution(x, w, strides, padding, (1, 1))

    def ours(x, w):
        return grouped_convolution(x, w, strides, padding, implementation="custom_op")

    weights = exact(by_definition(images, kernel).shape, dtype, seed=1)
    expected = values_and_gradients(by_definition, images, kernel, weights=weights)
    actual = values_and_gradients(ours, tf.cast(images, dtype), tf.cast(kernel, dtype), weights=weights)
    check_all_close(actual, expected, tolerance)


@pytest.mark.parametrize(
    "channels, filters, groups, width",
    [(16, 16, 1, 7), (3, 3, 1, 7), (3, 32, 1, 7), (64, 64, 4, 6), (64, 64, 2, 9), (34, 34, 2, 6)],
)
def test_nan_reaches_what_reads_it_and_nothing_else(channels, filters, groups, width):
    # Products of bfloat16 are summed up in pairs: none may pair a value with one that is not its own.
    dtype = "bfloat16"
    images = exact((2, 5, width, channels), dtype).numpy()
    images[0, 1, -1, 0] = images[1, 4, 2, 1] = np.nan
    kernel, padding = exact((3, 3, channels // groups, filters), dtype), ((1, 1), (1, 1))

    def reached(function, x):
        outputs, _, d_kernel = values_and_gradients(function, x, tf.cast(kernel, x.dtype))
        return np.isnan(tf.cast(outputs, "float32")), np.isnan(tf.cast(d_kernel, "float32"))

    for strides in ((1, 1), (2, 2)):
        expected = reached(
            lambda x, w, s=strides: definition.grouped_convolution(x, w, s, padding, (1, 1)), tf.constant(images)
        )
        actual = reached(
            lambda x, w, s=strides: grouped_convolution(x, w, s, padding, implementation="custom_op"),
            tf.cast(images, dtype),
        )
        np.testing.assert_array_equal(actual[0], expected[0])
        # A filter may have it at taps beside those that read it: vectors of positions reach beyond a row.
        assert not np.any(expected[1] & ~actual[1])
        np.testing.assert_array_equal(actual[1].any(axis=(0, 1)), expected[1].any(axis=(0, 1)))


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "hard_silu", "silu", "sigmoid"])
@pytest.mark.parametrize("more", ["", "bias", "residual", "bias and residual"])
@pytest.mark.parametrize("channels, groups", [(32, 8), (36, 3), (20, 1)])
def test_bias_activation_and_residual(channels, groups, more, activation):
    images, kernel = exact((3, 6, 5, channels), "float32"), exact((3, 3, channels // groups, channels), "float32") / 5
    added = {"bias": exact((channels,), "float32"), "residual": exact((3, 6, 5, channels), "float32", seed=1)}
    added = {name: value for name, value in added.items() if name in more}
    weights = exact((3, 6, 5, channels), "float32", seed=2)
    padding = ((1, 1), (1, 1))

    def by_definition(x, w, *more):
        outputs = definition.grouped_convolution(x, w, (1, 1), padding, (1, 1))
        for value in more:
            outputs += value
        return outputs if activation is None else tf.keras.activations.get(activation)(outputs)

    def ours(x, w, *more):
        more = dict(zip(added, more, strict=True))
        return conv2d.convolve(x, w, (1, 1), padding, (1, 1), activation=activation, implementation="custom_op", **more)

    arguments = (images, kernel, *added.values())
    expected = values_and_gradients(by_definition, *arguments, weights=weights)
    actual = values_and_gradients(ours, *(tf.cast(each, "float32") for each in arguments), weights=weights)
    check_all_close(actual, expected, 5e-6)


@pytest.mark.parametrize("channels, groups", [(32, 8), (24, 2), (3, 1)])
def test_second_derivatives(channels, groups):
    images, kernel = exact((2, 5, 6, channels), "float32"), exact((3, 3, channels // groups, channels), "float32") / 5
    padding = ((1, 1), (1, 1))

    def penalty(function, *arguments):
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                total = tf.reduce_sum(function(*arguments) ** 3)
            size = sum(tf.reduce_sum(gradient**2) for gradient in inner.gradient(total, arguments))
        return outer.gradient(size, arguments)

    expected = penalty(lambda x, w: definition.grouped_convolution(x, w, (2, 2), padding, (1, 1)), images, kernel)
    actual = penalty(
        lambda x, w: grouped_convolution(x, w, 2, padding, implementation="custom_op"),
        tf.cast(images, "float32"),
        tf.cast(kernel, "float32"),
    )
    check_all_close(actual, expected, 1e-5)


def test_it_is_chosen_and_traced():
    layer = GroupedConv2D(32, 3, 2, "same", groups=8)

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(layer(images))
        return tape.gradient(total, [images, *layer.trainable_variables])

    images = tf.ones((2, 9, 9, 32))
    layer(images)
    kinds = operation_types(step, images)
    assert {"BlocksSpatial", "BlocksSpatialInputGrad", "BlocksSpatialFilterGrad"} <= kinds
    assert not {kind for kind in kinds if "Conv2D" in kind}


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, "custom_op"),
        ({"in_channels_per_group": 16, "out_channels_per_group": 16}, "custom_op"),
        ({"in_channels_per_group": 16, "out_channels_per_group": 48}, "custom_op"),
        ({"in_channels_per_group": 16, "out_channels_per_group": 49}, "native"),
        ({"in_channels_per_group": 32, "out_channels_per_group": 64, "strides": (2, 2)}, "custom_op"),
        ({"in_channels_per_group": 32, "out_channels_per_group": 64, "onednn": False}, "custom_op"),
        ({"kernel_size": (5, 5)}, "native"),
        ({"in_channels_per_group": 4, "out_channels_per_group": 8}, "native"),
        ({"in_channels_per_group": 3, "out_channels_per_group": 3}, "native"),
        ({"dilation": (2, 2)}, "native"),
        ({"kernel_size": (13, 13), "onednn": False}, "split"),
        ({"groups": 1, "in_channels_per_group": 64, "out_channels_per_group": 64}, "native"),
        ({"groups": 1, "in_channels_per_group": 3, "out_channels_per_group": 64, "kernel_size": (7, 7)}, "custom_op"),
        ({"groups": 1, "in_channels_per_group": 64, "out_channels_per_group": 128, "strides": (2, 2)}, "custom_op"),
        ({"groups": 1, "in_channels_per_group": 64, "out_channels_per_group": 129, "strides": (2, 2)}, "native"),
        ({"groups": 1, "in_channels_per_group": 64, "out_channels_per_group": 64, "dtype": "bfloat16"}, "custom_op"),
        ({"groups": 1, "in_channels_per_group": 256, "out_channels_per_group": 256, "onednn": False}, "custom_op"),
        ({"groups": 1, "in_channels_per_group": 3, "out_channels_per_group": 64, "dilation": (2, 2)}, "native"),
        ({"dtype": "bfloat16"}, "custom_op"),
        ({"dtype": "bfloat16", "matrix_units": True}, "custom_op"),
        (
            {"dtype": "bfloat16", "matrix_units": True, "in_channels_per_group": 16, "out_channels_per_group": 16},
            "native",
        ),
    ],
)
def test_where_it_is_chosen(change, expected):
    assert choose(dataclasses.replace(PLAIN, **change)) == expected


def test_an_empty_batch_and_images_of_an_open_size():
    layer = GroupedConv2D(32, 3, 1, "same", groups=8)
    assert layer(tf.ones((0, 4, 4, 32))).shape == (0, 4, 4, 32)
    shape = tf.TensorSpec((None, None, None, 32))
    open_size = tf.function(layer, jit_compile=False).get_concrete_function(shape)
    images = tf.cast(exact((2, 5, 7, 32), "float32"), "float32")
    np.testing.assert_allclose(open_size(images), layer(images), atol=1e-6)


def test_wrong_tensors_are_errors_and_not_crashes():
    operations = build.library()
    geometry = {"strides": [1, 1], "explicit_padding": [1, 1, 1, 1]}
    images, kernel = tf.ones((1, 4, 4, 32)), tf.ones((3, 3, 4, 32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not fit"):
        operations.blocks_spatial(images, tf.ones((3, 3, 5, 32)), [], [], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not fit"):
        operations.blocks_spatial(images, tf.ones((12, 3, 4, 32)), [], [], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="entries for 32 channels"):
        operations.blocks_spatial(images, kernel, [tf.ones(31)], [], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the residual's shape"):
        operations.blocks_spatial(images, kernel, [], [tf.ones((1, 4, 5, 32))], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the kernel"):
        operations.blocks_spatial(tf.ones((1, 0, 4, 32)), kernel, [], [], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="wrong shape"):
        operations.blocks_spatial_input_grad(images, kernel, [1, 5, 4, 32], **geometry)
    with pytest.raises(tf.errors.InvalidArgumentError, match="wrong shape"):
        operations.blocks_spatial_filter_grad(images, tf.ones((1, 3, 4, 32)), [3, 3, 4, 32], **geometry)
