"""The scope from which a block takes its layers' names."""

import dataclasses

import keras
import pytest

from blocks import ghost_bottleneck, regnet_block
from blocks.layers.dotted_names import Scope


def test_without_a_name_nothing_below_has_one():
    scope = Scope(None)
    assert scope("conv1") is None
    assert scope / "branch1" == scope
    assert (scope / "branch1").names("0", "1") == {"name": None, "norm_name": None}


def test_numbers_and_dots():
    assert (Scope("stages.0") / 3)("mlp.fc1") == "stages.0.3.mlp.fc1"


def test_it_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scope("stem").name = "head"


def test_a_scope_is_not_a_name():
    with pytest.raises(TypeError, match="not Scope.*: give 'stem.conv'"):
        ghost_bottleneck(keras.Input((8, 8, 4)), 4, 8, name=Scope("stem") / "conv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s1.b1", ["s1.b1.conv1.conv", "s1.b1.conv1.bn", "s1.b1.conv2.conv", "s1.b1.conv2.bn"]),
        (None, ["grouped_conv2d", "batch_normalization", "grouped_conv2d_1", "batch_normalization_1"]),
    ],
)
def test_a_block_with_and_without_a_name(name, expected):
    keras.backend.clear_session()
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, regnet_block(images, 4, 2, name=name))
    assert [layer.name for layer in model.layers if layer.weights][:4] == expected
