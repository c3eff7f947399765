"""CondenseNet's selection of channels against its definition, and what the family refuses."""

import keras
import numpy as np
import pytest

import zoo
from blocks import ChannelSelection, GroupedConv2D, condensenet_unit
from helpers.arrays import draw
from zoo.models.condensenet import CondenseNet
from zoo.registry import variant


@pytest.mark.parametrize("shape", [(2, 5, 4, 12), (3, 12)])
def test_selection_takes_the_channels_of_its_index(shape):
    layer = ChannelSelection(7)
    x = draw(*shape)
    layer(x)
    layer.index.assign([3, 3, 0, 11, 5, 3, 1])
    np.testing.assert_array_equal(layer(x), x[..., [3, 3, 0, 11, 5, 3, 1]])


def test_gradients_of_a_channel_selected_twice_add_up():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a tape of TensorFlow")
    layer, x, scale = ChannelSelection(4), tf.constant(draw(2, 3, 3, 5)), tf.constant(draw(2, 3, 3, 4))
    layer(x)
    layer.index.assign([2, 0, 2, 4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x) * scale)
    expected = np.zeros((2, 3, 3, 5), "float32")
    for output, channel in enumerate([2, 0, 2, 4]):
        expected[..., channel] += np.array(scale)[..., output]
    np.testing.assert_allclose(tape.gradient(total, x), expected, rtol=1e-6)


@pytest.mark.parametrize(("inputs", "channels", "groups", "expected"), [
    (8, None, 1, range(8)),
    (8, None, 4, (0, 4, 1, 5, 2, 6, 3, 7)),
    (12, 6, 1, (0, 2, 4, 6, 8, 10)),
    (6, 4, 2, (0, 3, 1, 4)),
])  # fmt: skip
def test_a_new_selection_is_even_and_interleaved(inputs, channels, groups, expected):
    layer = ChannelSelection(channels, groups)
    layer.build((None, 4, 4, inputs))
    assert keras.ops.convert_to_numpy(layer.index).tolist() == list(expected)
    assert not layer.trainable_weights and layer.compute_output_shape((None, inputs)) == (None, len(expected))


def test_an_index_that_was_loaded_is_saved(tmp_path):
    inputs = keras.Input((None, None, 8))
    model = keras.Model(inputs, condensenet_unit(inputs, 4, 2, name="stage1.unit1"))
    model.get_layer("stage1.unit1.conv1").index.assign([7, 7, 6, 5, 4, 3, 2, 1])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert keras.ops.convert_to_numpy(again.get_layer("stage1.unit1.conv1").index).tolist() == [7, 7, 6, 5, 4, 3, 2, 1]
    x = draw(2, 6, 5, 8)
    assert model(x).shape == (2, 6, 5, 12)
    np.testing.assert_array_equal(again(x), model(x))
    np.testing.assert_array_equal(np.array(model(x))[..., :8], x)


def test_mixed_precision_leaves_the_index_alone():
    layer = ChannelSelection(300, dtype="mixed_bfloat16")
    outputs = layer(draw(1, 2, 2, 600))
    assert "int" in layer.index.dtype and keras.ops.convert_to_numpy(layer.index)[-1] == 598
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_groups_are_those_of_every_convolution_but_the_first(groups):
    config = CondenseNet(depths=(1, 1, 2, 1, 1)).with_groups(groups)
    model = zoo.create(config, 3, (32, 32, 3))
    stem, *others = (layer for layer in model.layers if isinstance(layer, GroupedConv2D))
    assert stem.groups == 1 and {layer.groups for layer in others} == {groups}
    assert model.name == f"condensenet14_c{groups}_g{groups}"


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: variant("condensenet74_c4_g4").with_groups(3), "but the first of CondenseNet of growth 8: use 1, 2, 4"),
    (lambda: CondenseNet(depths=(1, 2)), "depths=(1, 2) is not allowed for CondenseNet: give 5 numbers"),
    (lambda: CondenseNet(growth=0), "growth=0 is not allowed for CondenseNet"),
    (lambda: ChannelSelection(groups=3).build((None, 8)), "groups=3 does not divide 8 selected channels"),
    (lambda: ChannelSelection(0), "channels=0"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
