"""`zoo.fuse` through concatenations and shuffles of channels, and the scale of a branch."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import blocks
from blocks.layers.layer_scale import LayerScale
from helpers.randomized import check_same, layer_types, normalizations, randomized
from zoo import fuse
from zoo.folding import report

GROUPED, NORM = blocks.GroupedConv2D, blocks.BatchNormalization


def activations(model: keras.Model) -> list[str]:
    return [layer.activation.__name__ for layer in model.layers if isinstance(layer, GROUPED)]


@pytest.mark.parametrize("act", ["silu", "softmax"])
@pytest.mark.parametrize("added", [False, True])
def test_a_normalization_behind_mixed_convolutions(act, added):
    """Each part takes its share, and the activation too where that is of each entry by itself and nothing is added."""
    images = keras.Input((9, 8, 11))
    x = blocks.mixed_convolution(images, 11, (3, 5, 7), name="mixed")
    x = NORM(activation=act, name="norm")(x, residual=images if added else None)
    model = randomized(keras.Model(images, x))
    fused = fuse(model)
    check_same(model, fused)
    assert not normalizations(fused)
    assert activations(fused) == (["silu"] * 3 if act == "silu" and not added else ["linear"] * 3)
    assert report(model).folded == {"norm": "mixed.0, mixed.1, mixed.2"}
    assert layer_types(fused).count("Activation") == (act == "softmax" or added)
    assert layer_types(fused).count("Add") == added


def test_parts_of_parts_that_are_shuffled():
    images = keras.Input((6, 5, 4))
    first, second, third = (
        GROUPED(filters, 3, padding=1, name=name)(images) for filters, name in ((6, "a"), (2, "b"), (4, "c"))
    )
    x = blocks.ChannelShuffle(4, "channels_last")([first, second])
    x = blocks.ChannelShuffle(3, "channels_last")(ops.concatenate([third, x], axis=-1))
    x = layers.Activation("gelu", name="act")(layers.BatchNormalization(name="norm")(x))
    model = randomized(keras.Model(images, x))
    fused = fuse(model)
    check_same(model, fused)
    assert not normalizations(fused) and activations(fused) == ["gelu"] * 3
    assert set(layer_types(fused)) == {"InputLayer", "GroupedConv2D", "ChannelShuffle", "Identity"}
    assert report(model).folded["act"] == "c, a, b"


def test_channels_first():
    images = keras.Input((4, 9, 8))
    parts = [GROUPED(filters, 3, data_format="channels_first", groups=2)(images) for filters in (2, 6)]
    x = blocks.ChannelShuffle(2, "channels_first")(layers.Concatenate(1)(parts))
    model = randomized(keras.Model(images, NORM(1, activation="relu")(x)))
    fused = fuse(model)
    check_same(model, fused)
    assert not normalizations(fused) and activations(fused) == ["relu", "relu"]


def test_rows_that_are_joined_have_one_activation_but_no_normalization():
    images = keras.Input((6, 5, 4))
    rows = layers.Concatenate(1)([GROUPED(3, 1, name="top")(images), GROUPED(3, 1, name="bottom")(images)])
    active = keras.Model(images, layers.ReLU()(rows))
    check_same(randomized(active), fuse(active))
    assert activations(fuse(active)) == ["relu", "relu"] and "ReLU" not in layer_types(fuse(active))
    normal = keras.Model(images, NORM(name="norm")(rows))
    check_same(randomized(normal), fuse(normal))
    assert report(normal).left == {"norm": "its axis -1 is not the channels of 'top', 'bottom'"}


def other(images, x):
    return layers.MaxPooling2D(1, name="other")(images)


STAYS = {  # the second part -> the reason, or a part of it
    "'other' (MaxPooling2D), is no convolution": other,
    "'active' ends in an activation": lambda images, x: GROUPED(4, 1, activation="relu", name="active")(images),
    "'sum' ends in an activation or a sum": lambda images, x: GROUPED(4, 1, name="sum")(images, residual=images),
    "the output of 'first' is used elsewhere": lambda images, x: x,
    "the output of 'both' is used elsewhere": lambda images, x: GROUPED(4, 1)(images),
    "it computes in float32 and 'a' in float64": lambda images, x: GROUPED(4, 1, name="a", dtype="float64")(images),
    "'both' (Concatenate), is no convolution": lambda images, x: np.ones((3, 6, 5, 4), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("reason", STAYS)
def test_one_part_that_cannot_take_it_keeps_the_normalization(reason):
    images = keras.Input((6, 5, 4))
    x = GROUPED(4, 3, padding=1, name="first")(images)
    x = layers.Concatenate(name="both")([x, STAYS[reason](images, x)])
    outputs = [NORM(name="norm", activation="relu")(x)] + [x] * ("'both' is used" in reason)
    model = randomized(keras.Model(images, outputs))
    fused = fuse(model)
    check_same(model, fused)
    assert normalizations(fused) == ["norm"] and reason in report(model).left["norm"]


@pytest.mark.parametrize("layer", [
    lambda: GROUPED(6, 3, groups=2, use_bias=False, name="first"),
    lambda: blocks.Dense(6, use_bias=False, name="first.fc"),
    lambda: layers.Dense(6, name="first"),
])  # fmt: skip
def test_the_scale_of_a_branch_is_part_of_the_layer_before(layer):
    images = keras.Input((6, 5, 4))
    first = layer()
    x = LayerScale(name="scale")(first(images))
    model = randomized(keras.Model(images, layers.Activation("gelu", name="act")(x)))
    fused = fuse(model)
    check_same(model, fused)
    assert layer_types(fused) == ["InputLayer", type(first).__name__, "Identity"]
    assert report(model).folded == {"scale": first.name, "act": first.name}


def test_a_scale_behind_something_else_is_copied():
    images = keras.Input((6, 5, 4))
    x = LayerScale(name="scale")(layers.MaxPooling2D()(images))
    model = randomized(keras.Model(images, GROUPED(3, 1)(x)))
    fused = fuse(model)
    check_same(model, fused)
    np.testing.assert_array_equal(fused.get_layer("scale").gamma, model.get_layer("scale").gamma)
