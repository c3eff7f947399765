"""EfficientNet, MnasNet, MixNet, FBNet, LCNet, MobileNet v4, and the blocks and tables that they are made of."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

import blocks
import zoo
from helpers.arrays import draw
from zoo import registry
from zoo.models.efficientnet import EfficientNet
from zoo.models.fbnet import FBNet
from zoo.models.inverted_residual_table import Row, trunk, unroll
from zoo.models.mixnet import MEDIUM, MixNet, deepened
from zoo.models.mnasnet import MnasNet
from zoo.models.mobilenet_v4 import MobileNetV4


def randomize(model) -> None:
    """Weights unlike those a normalisation starts with."""
    for weight in model.weights:
        noise = draw(*weight.shape)
        weight.assign(0.5 + 0.1 * np.abs(noise) if "moving_variance" in weight.path else 0.3 * noise)


@pytest.mark.parametrize(("channels", "kernels", "strides", "groups"), [
    (12, (3, 5, 7), 1, None),
    (14, (3, 5, 7), 2, None),  # shares of 6, 4 and 4
    (16, (3, 5), 2, 2),
    (9, (1, 1), 1, 1),
])  # fmt: skip
def test_mixed_convolution_is_a_convolution_of_each_share(channels, kernels, strides, groups):
    images = keras.Input((9, 8, channels))
    model = keras.Model(images, blocks.mixed_convolution(images, channels, kernels, strides, groups, name="mixed"))
    x = draw(2, 9, 8, channels)
    sizes = blocks.split_channels(channels, len(kernels), "first")
    start, expected = 0, []
    for index, (size, kernel) in enumerate(zip(sizes, kernels, strict=True)):
        part, start = x[..., start : start + size], start + size
        padded = np.pad(part, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2, (0, 0)))
        weight = ops.convert_to_numpy(model.get_layer(f"mixed.{index}").kernel)
        per_group = size // (size if groups is None else groups)
        each = [
            ops.conv(
                padded[..., g * per_group : (g + 1) * per_group],
                weight[..., g * per_group : (g + 1) * per_group],
                strides,
                data_format="channels_last",
            )
            for g in range(size // per_group)
        ]
        expected.append(np.concatenate([ops.convert_to_numpy(one) for one in each], -1))
    np.testing.assert_allclose(model.predict_on_batch(x), np.concatenate(expected, -1), atol=1e-5)


def test_one_kernel_is_a_plain_convolution():
    images = keras.Input((8, 8, 6))
    model = keras.Model(images, blocks.mixed_convolution(images, 6, 3, groups=None, name="conv"))
    assert [layer.name for layer in model.layers[1:]] == ["conv"]
    assert model.get_layer("conv").groups == 6


def test_more_shares_than_channels_are_refused():
    with pytest.raises(ValueError, match="groups=3 is more than 2 channels"):
        blocks.mixed_convolution(keras.Input((8, 8, 2)), 2, (3, 5, 7), groups=None)


def test_the_universal_bottleneck_without_its_first_convolution_is_that_of_mobilenet_v2():
    images, x = keras.Input((8, 8, 8)), draw(2, 8, 8, 8)
    universal = keras.Model(images, blocks.universal_inverted_bottleneck(images, 8, 24, act="relu6"))
    inverted = keras.Model(images, blocks.mobilenet_v2_block(images, 8, 24))
    randomize(universal)
    inverted.set_weights(universal.get_weights())
    np.testing.assert_allclose(universal(x), inverted(x), atol=1e-5)


@pytest.mark.parametrize(("start", "middle", "strided"), [(3, 0, "dw_start"), (5, 3, "dw_mid"), (0, 5, "dw_mid")])
def test_the_last_spatial_convolution_has_the_strides(start, middle, strided):
    images = keras.Input((8, 8, 4))
    for antialias in (False, True):
        outputs = blocks.universal_inverted_bottleneck(
            images, 6, 16, 2, start_kernel=start, middle_kernel=middle, antialias=antialias, name="b"
        )
        assert outputs.shape == (None, 4, 4, 6)
        model = keras.Model(images, outputs)
        convolutions = [layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D)]
        expected = [] if antialias else [f"b.{strided}.conv"]
        assert [layer.name for layer in convolutions if layer.strides != (1, 1)] == expected


def test_strides_need_a_spatial_convolution():
    with pytest.raises(ValueError, match="strides=2 needs a spatial convolution"):
        blocks.universal_inverted_bottleneck(keras.Input((8, 8, 4)), 6, 16, 2, middle_kernel=0)


def test_a_table_unrolls_to_blocks():
    table = ((Row(2, 3, 2, 0, 20),), (Row(1, 5, 2, 6, 30, 0.25), Row(2, 3, 1, 3, 30)))
    unrolled = [
        (block.name, block.strides, block.expanded, block.channels, block.squeeze) for block in unroll(table, 8)
    ]
    assert unrolled == [
        ("blocks.0.0", 2, 8, 24, 0),  # 20 and 30 rounded to multiples of 8
        ("blocks.0.1", 1, 24, 24, 0),
        ("blocks.1.0", 2, 144, 32, 6),  # a quarter of the block's input
        ("blocks.1.1", 1, 96, 32, 0),
        ("blocks.1.2", 1, 96, 32, 0),
    ]


def test_stochastic_depth_grows_linearly_and_features_are_the_last_of_their_resolution():
    rates = []

    def make(x, block, drop_path):
        rates.append(drop_path)
        return x + block.strides

    assert trunk(0, unroll(((Row(2, 3, 2, 0, 8),), (Row(2, 3, 2, 0, 8),)), 8), 0.2, make) == [0, 3, 6]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15])


def test_depth_is_shared_out_among_the_rows_of_a_stage():
    assert [[row.blocks for row in deepened(rows, 1.0)] for rows in MEDIUM] == [[r.blocks for r in m] for m in MEDIUM]
    assert [row.blocks for row in deepened(MEDIUM[2], 1.3)] == [1, 4]
    assert [row.blocks for row in deepened(MEDIUM[2], 2)] == [2, 6]


def test_compound_scaling_rounds_depth_up():
    assert [len(EfficientNet("any", depth=depth).blocks) for depth in (1.0, 1.1, 3.1)] == [16, 23, 55]


CHANNELS = {  # of the five feature maps, as timm's feature_info has them
    "efficientnet_b0": [16, 24, 40, 112, 320],
    "mnasnet_small": [8, 16, 16, 32, 144],
    "mixnet_s": [16, 24, 40, 120, 200],
    "fbnetc_100": [16, 24, 32, 112, 352],
    "lcnet_035": [16, 24, 48, 88, 176],
    "mobilenetv4_conv_small_035": [32, 16, 24, 32, 336],
}


@pytest.mark.parametrize("name", CHANNELS)
def test_features(name):
    config = registry.variant(name)
    features = registry.family_of(config).build(config, keras.Input((64, 64, 3)))
    assert [64 // feature.shape[1] for feature in features] == [2, 4, 8, 16, 32]
    assert [feature.shape[-1] for feature in features] == CHANNELS[name]


@pytest.mark.parametrize("name", ["mnasnet_050", "mobilenetv4_conv_small_035"])
def test_stochastic_depth_acts_in_training_alone(name):
    plain = zoo.create(name, 3, (32, 32, 3))
    dropping = zoo.create(replace(registry.variant(name), drop_path=0.9), 3, (32, 32, 3))
    dropping.set_weights(plain.get_weights())
    x = draw(4, 32, 32, 3)
    np.testing.assert_allclose(dropping(x, training=False), plain(x, training=False), atol=1e-5)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in dropping.layers) > 3
    assert not np.allclose(dropping(x, training=True), dropping(x, training=True))


def test_the_small_stem_keeps_the_resolution():
    config = registry.variant("lcnet_035")
    features = registry.family_of(config).build(config, keras.Input((None, 64, 1)), True)
    assert [64 // feature.shape[2] for feature in features] == [1, 2, 4, 8, 16]


def test_the_block_of_mixnet_drops_its_branch_in_training_alone():
    keras.utils.set_random_seed(0)
    images, x = keras.Input((8, 8, 10)), draw(4, 8, 8, 10)
    parts = {"expand_parts": 2, "project_parts": 2, "squeeze": 3}
    outputs = [blocks.mixnet_block(images, 10, 31, (3, 5), drop_path=rate, **parts) for rate in (0.0, 0.9)]
    plain, dropping = (keras.Model(images, output) for output in outputs)
    randomize(plain)
    dropping.set_weights(plain.get_weights())
    np.testing.assert_allclose(dropping(x, training=False), plain(x, training=False), atol=1e-5)
    unchanged = [np.allclose(image, original) for image, original in zip(dropping(x, training=True), x, strict=True)]
    assert any(unchanged), "at a rate of 0.9 some image passes unchanged"


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small_035", "lcnet_035"])
def test_groups_reach_the_spatial_convolutions(name):
    model = zoo.create(name, 2, (32, 32, 3), groups=2)
    spatial = [
        layer
        for layer in model.layers
        if isinstance(layer, blocks.GroupedConv2D) and layer.kernel_size != (1, 1) and ".conv" in f".{layer.name}"
    ]
    grouped = [layer for layer in spatial if "dw" in layer.name]
    assert grouped and {layer.groups for layer in grouped} == {2}
    assert {layer.groups for layer in spatial if layer not in grouped} == {1}


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: EfficientNet("wide", width=0), "width=0 is not allowed for EfficientNet: it must be above 0"),
    (lambda: MnasNet("mnasnet_smal"), "network='mnasnet_smal' is not allowed for MnasNet: did you mean mnasnet_small"),
    (lambda: MixNet("mine", "smal"), "network='smal' is not allowed for MixNet: did you mean small"),
    (lambda: FBNet("fbnet"), "network='fbnet' is not allowed for FBNet: did you mean fbnetc"),
    (lambda: MobileNetV4("hybrid"), "size='hybrid' is not allowed for MobileNet v4: known are small, medium, large."),
    (lambda: registry.variant("lcnet_100").with_groups(5), "groups=5 does not divide the channels of every spatial"),
    (lambda: registry.variant("efficientnet_b0").with_groups(3), "nearest is"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)


def test_other_groups_are_in_the_name():
    assert registry.variant("efficientnet_b0").with_groups(4).name == "efficientnet_b0_g4"
