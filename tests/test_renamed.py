"""Former names of arguments: a call that uses one is warned, a saved file is read as it is."""

import json
import warnings
import zipfile

import keras
import numpy as np
import pytest

from blocks import ChannelShuffle, shufflenet_v2_unit
from helpers.saved_networks import unpacked

IMAGES = np.arange(2 * 3 * 3 * 8, dtype="float32").reshape(2, 3, 3, 8)


def deprecated(former: str, name: str):
    return pytest.warns(DeprecationWarning, match=f"argument {former} is called {name}: ")


def test_a_shuffle_takes_the_former_name_of_num_outputs():
    with deprecated("pieces", "num_outputs") as caught:
        layer = ChannelShuffle(4, pieces=2)
    assert [warning.filename for warning in caught] == [__file__]
    assert layer.num_outputs == layer.pieces == len(layer(IMAGES)) == 2
    for value in (0, 1.5, True):
        with deprecated("pieces", "num_outputs"), pytest.raises(ValueError, match="num_outputs=.* is not allowed"):
            ChannelShuffle(4, pieces=value)
    with pytest.raises(TypeError, match="pieces is the former name of num_outputs"):
        ChannelShuffle(4, num_outputs=2, pieces=2)
    with deprecated("pieces", "num_outputs"), pytest.raises(TypeError, match="num_outputs"):
        ChannelShuffle(4, None, 2, pieces=2)


def test_a_shufflenet_unit_takes_the_former_name_of_return_halves():
    inputs = keras.Input((3, 3, 8))
    with deprecated("halves", "return_halves"):
        halves = shufflenet_v2_unit(inputs, 8, halves=True)
    assert [tuple(half.shape) for half in halves] == [(None, 3, 3, 4)] * 2
    with pytest.raises(TypeError, match="halves is the former name of return_halves"):
        shufflenet_v2_unit(inputs, 8, halves=True, return_halves=True)


@pytest.mark.parametrize("arguments", [(4,), (4, "channels_first"), (4, "channels_last", 2)])
def test_present_names_and_positions_do_not_warn(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        layer = ChannelShuffle(*arguments)
        copy = ChannelShuffle.from_config(layer.get_config())
    assert "pieces" not in layer.get_config() and copy.get_config() == layer.get_config()
    assert copy.num_outputs == (arguments[2] if len(arguments) == 3 else 1)


def test_a_file_with_former_names_is_read_without_a_warning(tmp_path):
    path = unpacked("layers.keras", tmp_path)
    with zipfile.ZipFile(path) as archive:
        saved = json.loads(archive.read("config.json"))["config"]["layers"]
    pieces = {each["config"]["name"]: each["config"]["pieces"] for each in saved if "pieces" in each["config"]}
    assert pieces == {"pieces": 2, "shuffle": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        model = keras.models.load_model(path)
    assert not [warning for warning in caught if "called" in str(warning.message)]
    assert {name: model.get_layer(name).num_outputs for name in pieces} == pieces
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert {name: again.get_layer(name).num_outputs for name in pieces} == pieces
