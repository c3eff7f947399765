"""`zoo.fuse`: the same outputs from fewer layers, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import blocks
import zoo
from helpers.randomized import check_same, layer_types, normalizations, randomized
from zoo.folding import report

NORM, GROUPED = blocks.BatchNormalization, blocks.GroupedConv2D


def test_a_resnext_block_is_three_convolutions():
    images = keras.Input((8, 8, 16))
    model = randomized(keras.Model(images, blocks.resnext_block(images, 16, 8, 4, name="block")))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert layer_types(fused)[:4] == ["InputLayer"] + 3 * ["GroupedConv2D"]
    assert [layer.name for layer in fused.layers[1:4]] == ["block.conv1", "block.conv2", "block.conv3"]
    assert [layer.activation.__name__ for layer in fused.layers[1:4]] == ["relu"] * 3


def test_the_fold_is_computed_in_float64():
    model = randomized(keras.Sequential([keras.Input((5, 5, 4)), GROUPED(6, 3, groups=2), NORM(epsilon=1e-3)]))
    convolution, norm = model.layers
    gamma, beta, mean, variance = (weight.numpy().astype("float64") for weight in norm.weights)
    factor = gamma / np.sqrt(variance + 1e-3)
    fused = zoo.fuse(model).layers[1]
    np.testing.assert_array_equal(fused.kernel, (convolution.kernel.numpy() * factor).astype("float32"))
    bias = convolution.bias.numpy().astype("float64") * factor + (beta - mean * factor)
    np.testing.assert_array_equal(fused.bias, bias.astype("float32"))


@pytest.mark.parametrize(("layer", "shape"), [
    (lambda: layers.Conv2D(6, 3, strides=2, padding="same"), (9, 8, 4)),
    (lambda: layers.Conv2D(6, 3, dilation_rate=2, groups=2, use_bias=False), (9, 8, 4)),
    (lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), (9, 8, 4)),
    (lambda: layers.SeparableConv2D(6, 3), (9, 8, 4)),
    (lambda: layers.Conv2DTranspose(6, 3, strides=2), (5, 4, 4)),
    (lambda: layers.Conv1D(6, 3, padding="causal"), (9, 4)),
    (lambda: layers.Conv1D(6, 3, padding="causal", dilation_rate=2, groups=2), (9, 4)),
    (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4)),
    (lambda: layers.Conv1DTranspose(6, 3), (9, 4)),
    (lambda: layers.Conv3D(6, 3), (4, 5, 6, 3)),
    (lambda: layers.Conv3D(6, 2, 2, "same", groups=3), (4, 5, 6, 3)),
    (lambda: layers.Dense(6), (9,)),
    (lambda: layers.Dense(6), (5, 4, 3)),
    (lambda: GROUPED(6, (3, 1), groups=2, padding=((1, 2), (0, 3))), (9, 8, 4)),
    (lambda: GROUPED(6, 3, data_format="channels_first"), (4, 9, 10)),
    (lambda: GROUPED((3, 1, 1, 4, 4), 3, groups=(2, 1, 1, 3, 3), padding="same"), (9, 8, 10)),
    (lambda: blocks.GroupedConv1D(7, 3, groups=(2, 1)), (9, 3)),
    (lambda: blocks.GroupedConv3D(6, 2, groups=2, padding="same"), (4, 5, 3, 2)),
    (lambda: layers.Conv2D(6, 3, groups=2, data_format="channels_first"), (4, 9, 10)),
])  # fmt: skip
@pytest.mark.parametrize("norm", [layers.BatchNormalization, NORM])
def test_every_kind_of_convolution(layer, shape, norm):
    first = layer()
    axis = 1 if getattr(first, "data_format", None) == "channels_first" else -1
    parts = [keras.Input(shape), first, norm(axis, scale=axis == -1), layers.Dropout(0.5), layers.ReLU(6.0)]
    model = randomized(keras.Sequential(parts))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert [layer.name for layer in fused.layers[1:]] == [first.name, parts[-1].name]
    assert fused.layers[1].activation is keras.activations.relu6
    grouped = isinstance(first, (layers.Conv1D, layers.Conv2D, layers.Conv3D)) and first.groups > 1
    assert type(fused.layers[1]).__name__ == ("Grouped" if grouped else "") + type(first).__name__


def test_separable_layers_of_ours_become_two_convolutions():
    common = {"padding": 1, "activation": "relu6"}
    model = randomized(keras.Sequential([
        keras.Input((8, 8, 4)),
        blocks.DepthwiseSeparableConv2D(8, 3, normalize=True, depth_multiplier=2, name="first", **common),
        blocks.DepthwiseSeparableConv2D(6, 3, name="second", **common),
        NORM(name="after_an_activation"),
        blocks.DepthwiseSeparableConv2D(6, 3, name="third"),
        NORM(name="after_none"),
    ]))  # fmt: skip
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert normalizations(fused) == ["after_an_activation"]
    names = [f"{name}.{half}" for name in ("first", "second", "third") for half in ("depthwise", "pointwise")]
    assert [layer.name for layer in fused.layers if isinstance(layer, GROUPED)] == names


def test_operations_that_are_no_layers():
    images = keras.Input((None, None, 4))
    x = keras.activations.relu(NORM()(GROUPED(8, 3, padding=1)(images)))
    x = ops.silu(NORM()(GROUPED(8, 3, padding=1, groups=8)(x)) + x)
    gate = ops.hard_sigmoid(GROUPED(8, 1)(ops.mean(x, axis=(1, 2), keepdims=True)))
    x = ops.multiply(x, gate)[:, 1:]
    model = randomized(keras.Model(images, ops.relu(x)))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert layer_types(fused) == ["InputLayer"] + 3 * ["GroupedConv2D"]
    assert [layer.activation.__name__ for layer in fused.layers[1:]] == ["relu", "silu", "hard_sigmoid"]


def test_branches_that_are_summed_become_one_convolution():
    """A block of RepVGG, one of MobileOne, and strided branches whose windows begin at different places."""
    images = keras.Input((9, 8, 6))
    x = images
    for groups, copies in ((1, 1), (3, 1), (6, 3)):
        sides = [NORM()(layers.Conv2D(6, 3, padding="same", groups=groups, use_bias=False)(x)) for _ in range(copies)]
        sides += [NORM()(GROUPED(6, 1, groups=groups)(x)), NORM()(x)]
        x = layers.ReLU()(sum(sides[1:], sides[0]) if groups == 3 else layers.Add()(sides))
    x = layers.Add()([GROUPED(4, 5, 2, 2)(x), layers.Conv2D(4, (3, 1), 2, "same")(x), layers.Conv2D(4, 1, 2)(x)])
    model = randomized(keras.Model(images, x))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert layer_types(fused) == ["InputLayer", *4 * ["GroupedConv2D"], "Identity"]
    assert [layer.kernel_size for layer in fused.layers[1:5]] == [(3, 3), (3, 3), (3, 3), (5, 5)]
    assert not report(model).left


def test_branches_beside_something_else_keep_it_as_their_residual():
    images = keras.Input((8, 8, 4))
    other = layers.AveragePooling2D(1)(images)
    x = layers.Add()([GROUPED(4, 3, padding=1)(images), other, NORM()(GROUPED(4, 1, use_bias=False)(images))])
    x = layers.Add()([GROUPED(4, 3, padding=1)(x, residual=other), GROUPED(4, 1)(x)])
    model = randomized(keras.Model(images, x))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert layer_types(fused) == ["InputLayer", "AveragePooling2D", "GroupedConv2D", "GroupedConv2D", "Identity"]


def test_branches_of_open_sizes_that_may_not_fit_stay_apart():
    images = keras.Input((None, None, 6))
    same, explicit = layers.Conv2D(4, 3, 2, "same")(images), GROUPED(4, 1, 2)(images)
    model = randomized(keras.Model(images, layers.Add()([same, explicit])))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert "Conv2D" in layer_types(fused)


def test_nested_models_stay_nested_and_are_fused():
    parts = [keras.Input((8, 8, 4)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    backbone = keras.Sequential(parts, name="backbone")
    sides = [keras.Input((8, 8, 4), name=name) for name in ("left", "right")]
    both = layers.Concatenate()([backbone(side, training=False) for side in sides])
    model = randomized(keras.Model(sides, layers.Dense(3)(layers.Flatten()(both))))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert layer_types(fused.get_layer("backbone")) == ["InputLayer", "Conv2D", "Identity"]
    assert report(model).folded["backbone/" + parts[2].name] == "backbone/" + parts[1].name


def test_a_network_of_keras():
    """Zero padding before strided depthwise convolutions, ReLU6 layers, and sums of Keras's convolutions."""
    model = randomized(keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=7))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert not normalizations(fused)
    assert set(layer_types(fused)) & {"Conv2D", "GroupedConv2D", "ReLU", "Add"} == {"Conv2D", "Add"}
