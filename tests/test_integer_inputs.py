"""Integers and booleans into every layer: what the same numbers give as floats."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from helpers.definition import grouped_convolution

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 120, (2, 6, 5, 8))
TYPES = ("int8", "int32", "int64", "uint8", "bool")
# How every layer of the package is made, and what it is called on; None is IMAGES.
LAYERS = {
    "AbsorbedLayer": (lambda: blocks.AbsorbedLayer(keras.saving.serialize_keras_object(keras.layers.ReLU())), None),
    "AdaptiveAveragePooling2D": (lambda: blocks.AdaptiveAveragePooling2D(2), None),
    "BatchNormalization": (lambda: blocks.BatchNormalization(activation="relu6"), None),
    "ChannelGate": (blocks.ChannelGate, (IMAGES, IMAGES[:, :1, :1])),
    "ChannelSelection": (lambda: blocks.ChannelSelection(6, 2), None),
    "ChannelShuffle": (lambda: blocks.ChannelShuffle(4), None),
    "Conv1D": (lambda: blocks.Conv1D(4, 3, groups=2), (IMAGES[0],)),
    "Conv2D": (lambda: blocks.Conv2D(8, 3, groups=4), None),
    "Conv3D": (lambda: blocks.Conv3D(4, 2, groups=2), (IMAGES.reshape(1, 2, 6, 5, 8),)),
    "Dense": (lambda: blocks.Dense(3), None),
    "DepthwiseConv1D": (lambda: blocks.DepthwiseConv1D(3), (IMAGES[0],)),
    "DepthwiseConv2D": (lambda: blocks.DepthwiseConv2D(3, depth_multiplier=2), None),
    "DepthwiseSeparableConv2D": (lambda: blocks.DepthwiseSeparableConv2D(4, 3, normalize=True), None),
    "DualPathMerge": (lambda: blocks.DualPathMerge(5), (IMAGES, IMAGES[..., :6])),
    "GroupedConv1D": (lambda: blocks.GroupedConv1D(4, 3, groups=2), (IMAGES[0],)),
    "GroupedConv2D": (lambda: blocks.GroupedConv2D(8, 3, groups=4, padding=1, activation="relu"), None),
    "GroupedConv3D": (lambda: blocks.GroupedConv3D(4, 2, groups=2), (IMAGES.reshape(1, 2, 6, 5, 8),)),
    "ImageMean": (blocks.ImageMean, None),
    "Activation": (lambda: blocks.Activation("gelu"), None),
    "LayerNormalization": (blocks.LayerNormalization, None),
    "LayerScale": (lambda: blocks.LayerScale(0.3), None),
    "LocalResponseNormalization": (blocks.LocalResponseNormalization, None),
    "PaddedPooling2D": (lambda: blocks.PaddedPooling2D("max", 3, 2, 1), None),
    "SeparableConv1D": (lambda: blocks.SeparableConv1D(4, 3), (IMAGES[0],)),
    "SeparableConv2D": (lambda: blocks.SeparableConv2D(4, 3, padding=1), None),
    "SoftmaxSum": (lambda: blocks.SoftmaxSum(2), (IMAGES, IMAGES[:, :1, :1])),
    "ResizeLike": (blocks.ResizeLike, (IMAGES, IMAGES[:, :4])),
}


def layer_and_inputs(name: str, dtype: str | None = None) -> tuple[keras.Layer, tuple]:
    """A layer, built, and the integers it is called on."""
    make, arguments = LAYERS[name]
    if dtype:
        keras.config.set_dtype_policy(dtype)
    try:
        keras.utils.set_random_seed(0)
        layer = make()
    finally:
        keras.config.set_dtype_policy("float32")
    arguments = arguments or (IMAGES,)
    layer(*(each.astype("float32") for each in arguments))
    return layer, arguments


def test_every_layer_is_tried():
    classes = {name for name in blocks.__all__ if isinstance(getattr(blocks, name), type)}
    assert {name for name in classes if issubclass(getattr(blocks, name), keras.Layer)} == set(LAYERS)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_integers_give_what_floats_give(name, policy):
    layer, arguments = layer_and_inputs(name, policy)
    for dtype in TYPES:
        numbers = [each.astype(dtype) for each in arguments]
        floats = layer(*(each.astype(layer.compute_dtype) for each in numbers))
        symbolic = layer(*(keras.KerasTensor((None, *each.shape[1:]), dtype) for each in numbers))
        for form in (np.asarray, tf.constant):
            for ours, expected, spec in zip(
                *map(keras.tree.flatten, (layer(*map(form, numbers)), floats, symbolic)), strict=True
            ):
                assert keras.backend.standardize_dtype(ours.dtype) == layer.compute_dtype == spec.dtype
                np.testing.assert_array_equal(tf.cast(ours, "float64"), tf.cast(expected, "float64"))


@pytest.mark.parametrize("name", ["GroupedConv1D", "GroupedConv2D", "GroupedConv3D"])
def test_a_convolution_of_integers_is_that_of_its_definition(name):
    layer, (numbers,) = layer_and_inputs(name)
    padding = layer.padding if isinstance(layer.padding, str) else tuple(layer.padding)
    kernel = tf.cast(layer.kernel.value, "float64")
    plain = grouped_convolution(tf.cast(numbers, "float64"), kernel, layer.strides, padding, layer.dilation_rate)
    plain = tf.nn.relu(plain) if name == "GroupedConv2D" else plain
    np.testing.assert_allclose(layer(numbers), plain, rtol=1e-4, atol=1e-3)
    function = blocks.grouped_convolution(numbers, layer.kernel, layer.strides, padding)
    function = tf.nn.relu(function) if name == "GroupedConv2D" else function
    np.testing.assert_allclose(function, plain, rtol=1e-4, atol=1e-3)


def test_a_convolution_of_integers_equals_keras():
    """The case of one group, which `keras.layers.Conv2D` has; it takes the same images as floats only."""
    theirs = keras.layers.Conv2D(8, 3)
    expected = theirs(np.full((1, 6, 6, 8), 100, "float32"))
    ours = blocks.GroupedConv2D(8, 3)
    ours.build((1, 6, 6, 8))
    ours.set_weights(theirs.get_weights())
    for dtype in ("int32", "uint8"):
        np.testing.assert_allclose(ours(np.full((1, 6, 6, 8), 100, dtype)), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("function", [False, True])
def test_a_residual_may_be_of_another_type(function):
    layer, (numbers,) = layer_and_inputs("GroupedConv2D")
    call = tf.function(layer) if function else layer
    images = numbers.astype("float32")
    expected = layer(images, residual=images)
    for dtype in ("int32", "uint8", "float16", "float64"):
        np.testing.assert_array_equal(call(images, residual=numbers.astype(dtype)), expected)
        np.testing.assert_array_equal(call(numbers, residual=numbers.astype(dtype)), expected)
    normal, _ = layer_and_inputs("BatchNormalization")
    np.testing.assert_array_equal(normal(numbers, residual=numbers), normal(images, residual=images))


def test_parts_of_a_shuffle_may_be_of_other_types():
    layer, (numbers,) = layer_and_inputs("ChannelShuffle")
    images = numbers.astype("float32")
    parts = [numbers.astype("uint8"), images]
    np.testing.assert_array_equal(layer(parts), layer([images, images]))


@pytest.mark.parametrize("sequential", [False, True])
def test_a_model_takes_uint8_images(sequential):
    inputs = keras.Input((6, 5, 8), dtype="uint8")
    stack = [layer_and_inputs(name)[0] for name in ("GroupedConv2D", "ChannelShuffle", "DepthwiseSeparableConv2D")]
    if sequential:
        model = keras.Sequential([inputs, *stack])
    else:
        outputs = inputs
        for layer in stack:
            outputs = layer(outputs)
        model = keras.Model(inputs, outputs)
    expected = IMAGES.astype("float32")
    for layer in stack:
        expected = layer(expected)
    np.testing.assert_allclose(model(IMAGES.astype("uint8")), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(model.predict(IMAGES.astype("uint8"), verbose=0), expected, rtol=1e-4, atol=1e-3)
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("name", LAYERS)
def test_complex_numbers_are_refused(name):
    layer, arguments = layer_and_inputs(name)
    with pytest.raises(ValueError, match="Inputs of type complex64 are not allowed"):
        layer(*(each.astype("complex64") for each in arguments))


def test_a_mask_stays_boolean():
    """Keras's own normalisation of the positions that the mask lets through."""
    numbers, mask = IMAGES[0], np.arange(30).reshape(6, 5) % 3 > 0
    ours, theirs = blocks.BatchNormalization(), keras.layers.BatchNormalization()
    images = numbers.astype("float32")
    np.testing.assert_allclose(
        ours(numbers, training=True, mask=mask), theirs(images, training=True, mask=mask), atol=1e-5
    )
