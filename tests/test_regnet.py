"""RegNet: the widths of the paper's tables, groups in place of a group width, stochastic depth, refusals."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
import zoo
from zoo.models.regnet import STEM, VARIANTS, RegNet

SMALLEST = VARIANTS["regnety_002"]


@pytest.mark.parametrize(("name", "depths", "widths"), [
    ("regnetx_002", (1, 1, 4, 7), (24, 56, 152, 368)),
    ("regnetx_016", (2, 4, 10, 2), (72, 168, 408, 912)),
    ("regnetx_080", (2, 5, 15, 1), (80, 240, 720, 1920)),
    ("regnetx_320", (2, 7, 13, 1), (336, 672, 1344, 2520)),
    ("regnety_004", (1, 3, 6, 6), (48, 104, 208, 440)),
    ("regnety_008", (1, 3, 8, 2), (64, 128, 320, 768)),
    ("regnety_032", (2, 5, 13, 1), (72, 216, 576, 1512)),
    ("regnety_320", (2, 5, 12, 1), (232, 696, 1392, 3712)),
])  # fmt: skip
def test_stages_are_those_of_the_papers_tables(name, depths, widths):
    stages = VARIANTS[name].stages
    assert tuple(blocks for _, _, blocks in stages) == depths
    assert tuple(width for width, _, _ in stages) == widths


@pytest.mark.parametrize("name", VARIANTS)
def test_a_group_is_g_channels_wide_or_the_whole_stage(name):
    config = VARIANTS[name]
    assert sum(blocks for _, _, blocks in config.stages) == config.d
    for width, groups, _ in config.stages:
        assert groups * min(config.g, width) == width


@pytest.mark.parametrize("groups", [1, 2, 5, 8, 16, 48, 64])
def test_groups_divide_widths_that_stay_within_a_third_of_the_published_ones(groups):
    published = VARIANTS["regnety_008"]
    config = published.with_groups(groups)
    assert config.name == f"regnety_008_g{groups}"
    for (width, count, blocks_), (before, _, blocks_before) in zip(config.stages, published.stages, strict=True):
        assert count == groups and width % groups == 0 and blocks_ == blocks_before
        assert abs(width - before) <= before / 3
        assert width == before or before % groups


def test_groups_reach_every_spatial_convolution():
    model = zoo.create("regnetx_002", 2, (32, 32, 3), groups=3)
    spatial = [x for x in model.layers if isinstance(x, blocks.GroupedConv2D) and x.kernel_size == (3, 3)]
    assert [layer.groups for layer in spatial] == [1] + [3] * SMALLEST.d


def test_the_last_blocks_are_dropped_most():
    config = replace(SMALLEST, drop_path=0.24)
    model = zoo.create(config, 2, (32, 32, 3))
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    np.testing.assert_allclose(rates, np.linspace(0, 0.24, 13)[1:])
    plain = zoo.create(SMALLEST, 2, (32, 32, 3))
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model(images, training=False), plain(images, training=False), atol=1e-5)


def test_a_block_starts_as_its_shortcut():
    """Its last normalisation starts at zero."""
    images = keras.Input((8, 8, 16))
    model = keras.Model(images, blocks.regnet_block(images, 16, groups=4, squeeze=4, name="s1.b2"))
    values = np.random.default_rng(0).standard_normal((2, 8, 8, 16)).astype("float32")
    np.testing.assert_allclose(model(values), np.maximum(values, 0), atol=1e-6)


def test_the_squeeze_is_a_share_of_the_channels_that_enter_the_block():
    model = zoo.create("regnety_002", 2, (32, 32, 3))
    assert model.get_layer("s1.b1.se.fc1").filters == STEM // 4
    assert model.get_layer("s4.b1.se.fc1").filters == 152 // 4
    assert model.get_layer("s4.b2.se.fc1").filters == 368 // 4


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"groups": 0}, "use 1 to 24; the nearest is 1"),
    ({"groups": 25}, "narrowest stage has 24 channels: use 1 to 24; the nearest is 24"),
    ({"w_0": 25}, "w_0=25 is not allowed for RegNet: it must be a multiple of 8; the nearest is 24"),
    ({"w_m": 1.0}, "w_m=1 is not allowed for RegNet: it must be above 1"),
    ({"w_m": 9.0}, "make 2 stages, of widths 24, 216: a RegNet has 4"),
    ({"d": 0}, "d=0 is not allowed for RegNet: it must be above 0"),
    ({"squeeze_ratio": 2.0}, "squeeze_ratio=2 is not allowed"),
    ({"drop_path": 1.0}, "drop_path=1.0 is not allowed for RegNet"),
])  # fmt: skip
def test_refusals(changes, sentence):
    with pytest.raises(ValueError) as caught:
        replace(SMALLEST, **changes)
    assert sentence in str(caught.value)


def test_a_network_of_ones_own():
    config = RegNet("mine", d=8, w_0=16, w_a=12.0, w_m=2.0, g=8)
    assert zoo.create(config, 3, (32, 32, 1)).name == "mine"
