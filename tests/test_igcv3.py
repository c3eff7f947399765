"""IGCV3: its groups, and what the family refuses."""

import keras
import pytest

import zoo
from blocks import GroupedConv2D, igcv3_unit
from zoo.models.igcv3 import IGCV3
from zoo.registry import variant


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_both_pointwise_convolutions_of_a_unit_are_in_groups(groups):
    inputs = keras.Input((8, 8, 16))
    model = keras.Model(inputs, igcv3_unit(inputs, 8, 96, groups, 2, name="unit"))
    layer_groups = {layer.name: layer.groups for layer in model.layers if isinstance(layer, GroupedConv2D)}
    assert layer_groups == {"unit.conv1.conv": groups, "unit.conv2.conv": 96, "unit.conv3.conv": groups}
    assert model.output_shape == (None, 4, 4, 8)


@pytest.mark.parametrize(
    ("width", "groups"),
    [
        (0.25, 3),
        *(pytest.param(width, groups, marks=pytest.mark.heavy) for width, groups in ((0.75, 4), (1.0, 5), (1.0, 16))),
    ],
)
def test_channels_go_up_to_a_multiple_of_any_groups(width, groups):
    config = IGCV3(width=width).with_groups(groups)
    model = zoo.create(config, 2, (32, 32, 3))
    pointwise = [layer for layer in model.layers if isinstance(layer, GroupedConv2D) and layer.kernel_size == (1, 1)]
    assert {layer.groups for layer in pointwise[:-1]} == {groups} and pointwise[-1].groups == 1
    assert model.name == f"{IGCV3(width=width).name}_g{groups}"


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: variant("igcv3_w1").with_groups(17), "groups=17 is not allowed for IGCV3 of width 1: use 1 to 16"),
    (lambda: IGCV3(groups=0), "the nearest is 1."),
    (lambda: IGCV3(width=0), "width=0 is not allowed for IGCV3"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
