"""What `zoo.profile` counts, on models small enough to count by hand."""

import keras
import pytest
from keras import layers

import zoo
from blocks import BatchNormalization, DepthwiseSeparableConv2D, GroupedConv2D
from zoo.complexity import Profile, profile_layers


def test_convolutions_and_dense_layers_by_hand():
    model = keras.Sequential([
        keras.Input((8, 8, 4)),
        GroupedConv2D(6, 3, strides=2, padding="same", groups=2),  # 4 x 4 positions, 3 * 3 * 2 * 6 weights
        BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ])  # fmt: skip
    weights = 3 * 3 * 2 * 6
    parameters = weights + 6 + 2 * 6 + 6 * 10 + 10
    assert zoo.profile(model) == Profile(parameters, 16 * weights + 60, 16 * 6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_separable_convolutions_are_two(data_format):
    shape = (8, 8, 4) if data_format == "channels_last" else (4, 8, 8)
    common = {"padding": "same", "data_format": data_format, "depth_multiplier": 2}
    expected = Profile(9 * 8 + 8 * 6 + 8 + 6, 64 * (9 * 8 + 8 * 6), 64 * (8 + 6))
    ours = keras.Sequential([keras.Input(shape), DepthwiseSeparableConv2D(6, 3, **common)])
    assert zoo.profile(ours) == expected
    theirs = keras.Sequential([keras.Input(shape), layers.SeparableConv2D(6, 3, **common)])
    assert zoo.profile(theirs) == Profile(expected.parameters - 8, expected.macs, expected.activations)
    depthwise = keras.Sequential([keras.Input(shape), layers.DepthwiseConv2D(3, use_bias=False, **common)])
    assert zoo.profile(depthwise) == Profile(72, 64 * 72, 64 * 8)


def test_a_layer_called_twice_costs_twice_and_nested_models_count():
    shared = GroupedConv2D(4, 1, use_bias=False)
    images = keras.Input((8, 8, 4))
    inner = keras.Sequential([keras.Input((8, 8, 4)), GroupedConv2D(4, 1, use_bias=False)])
    model = keras.Model(images, inner(shared(shared(images))))
    assert zoo.profile(model) == Profile(32, 3 * 64 * 16, 3 * 64 * 4)


def test_the_rows_are_what_the_profile_adds_up():
    """A row a call, in the order of the graph; a shared layer has its parameters in the first."""
    shared = GroupedConv2D(4, 3, padding="same", groups=2, use_bias=False, name="shared")
    images = keras.Input((8, 8, 4))
    halves = keras.ops.split(shared(images), 2, axis=-1)
    x = shared(layers.Concatenate(name="joined")(halves[::-1]))
    x = DepthwiseSeparableConv2D(6, 3, padding="same", name="separable")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    model = keras.Model(images, layers.Dense(3, name="dense")(layers.Flatten(name="flat")(x)))
    rows = profile_layers(model)
    assert [(row.layer.name, row.groups, row.cost.parameters) for row in rows if row.kind != "Split"] == [
        ("shared", 2, 72), ("joined", None, 0), ("shared", 2, 0), ("separable", 4, (36 + 4) + (24 + 6)),
        ("depthwise", 6, 54), ("flat", None, 0), ("dense", None, 384 * 3 + 3),
    ]  # fmt: skip
    split = next(row for row in rows if row.kind == "Split")
    assert (split.inputs, split.outputs) == (((None, 8, 8, 4),), (None, 8, 8, 2))
    assert sum((row.cost for row in rows), Profile(0, 0, 0)) == zoo.profile(model)
    assert zoo.profile(model).macs == 2 * 64 * 72 + 64 * (36 + 24) + 64 * 54 + 384 * 3


def test_a_model_within_that_leaves_its_size_open_is_refused():
    inner = keras.Sequential([keras.Input((None, None, 4)), GroupedConv2D(4, 1)], name="inner")
    images = keras.Input((8, 8, 4))
    with pytest.raises(ValueError, match=r"inner, a model within outer, .* that it sees there, \(8, 8, 4\)"):
        zoo.profile(keras.Model(images, inner(images), name="outer"))


def test_frozen_weights_are_no_parameters():
    model = keras.Sequential([keras.Input((8, 8, 4)), GroupedConv2D(4, 1), GroupedConv2D(4, 1)])
    model.layers[0].trainable = False
    assert zoo.profile(model).parameters == 20


def test_open_sizes_need_one():
    model = zoo.create("mobilenetv1_025", 10, (None, None, 3))
    assert zoo.profile(model, 96) == zoo.profile(zoo.create("mobilenetv1_025", 10, (96, 96, 3)))
    assert zoo.profile(model, (96, 64)).macs < zoo.profile(model, 96).macs
    with pytest.raises(ValueError, match="takes images of any size"):
        zoo.profile(model)


def test_published_activations():
    """ResNet-50 has 11.1 million, as the paper on RegNet counts them (Radosavovic et al. 2020, table 4)."""
    assert zoo.profile(zoo.create("resnet50")).activations == pytest.approx(11.1e6, rel=0.005)


class Unknown(layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(2, input_shape[-1]))

    def call(self, inputs):
        return inputs @ keras.ops.transpose(self.kernel)


def test_what_it_cannot_count_it_says():
    with pytest.raises(ValueError, match="profile cannot count layer 'mystery': Unknown is not known to it"):
        zoo.profile(keras.Sequential([keras.Input((8, 8, 4)), Unknown(name="mystery")]))

    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    mine = Mine(name="mine")
    mine.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="mine"):
        zoo.profile(mine)
