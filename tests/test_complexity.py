"""What `zoo.profile` counts, on models small enough to count by hand."""

import keras
import pytest
from keras import layers

import zoo
from blocks import BatchNormalization, DepthwiseSeparableConv2D, GroupedConv2D
from zoo.complexity import Profile


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
