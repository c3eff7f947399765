"""DPN: the block against its definition, groups, refusals."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
import zoo
from zoo.models.dpn import VARIANTS

RESIDUAL, GROWTH = 8, 4


def block(separate: bool, project: bool) -> keras.Model:
    images = keras.Input((6, 6, 20))
    outputs = blocks.dual_path_block(
        images, 8, RESIDUAL, GROWTH, 2, 2 if project else 1, project=project, separate=separate, name="block"
    )
    return keras.Model(images, outputs)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("project", [False, True])
def test_one_path_is_added_to_and_the_other_grows(separate, project):
    """With the last convolutions at zero, the block is its input or its projection, and zeros at the end."""
    model = block(separate, project)
    for layer in model.layers:
        if layer.name in ("block.c1x1_c.conv", "block.c1x1_c1", "block.c1x1_c2"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    values = np.random.default_rng(0).standard_normal((2, 6, 6, 20)).astype("float32")
    expected = values
    if project:
        layer = model.get_layer("block.c1x1_w_s2.conv")
        assert layer.filters == RESIDUAL + 2 * GROWTH
        activated = np.maximum(values[:, ::2, ::2] / np.sqrt(1 + 1e-3), 0)
        expected = activated @ layer.get_weights()[0][0, 0]
    actual = model(values, training=False).numpy()
    np.testing.assert_allclose(actual[..., :-GROWTH], expected, atol=1e-5)
    np.testing.assert_array_equal(actual[..., -GROWTH:], 0)


def test_both_forms_of_the_last_convolution_compute_the_same():
    one, two = block(False, False), block(True, False)
    values = np.random.default_rng(0).standard_normal((2, 6, 6, 20)).astype("float32")
    for layer in two.layers:
        if layer.weights and layer.name.endswith(("_a.bn", "_a.conv", "_b.bn", "_b.conv")):
            layer.set_weights(one.get_layer(layer.name).get_weights())
    kernel = one.get_layer("block.c1x1_c.conv").get_weights()[0]
    two.get_layer("block.c1x1_c1").kernel.assign(kernel[..., :RESIDUAL])
    two.get_layer("block.c1x1_c2").kernel.assign(kernel[..., RESIDUAL:])
    np.testing.assert_allclose(one(values), two(values), atol=1e-5)


def test_layers_are_in_the_order_of_saved_weights():
    """Keras's files of weights know layers by their class and their order within it."""
    layers = block(separate=True, project=True).layers
    for kind, expected in (
        (blocks.BatchNormalization, ["c1x1_a.bn", "c3x3_b.bn", "c1x1_w_s2.bn", "c1x1_c.bn"]),
        (blocks.GroupedConv2D, ["c1x1_a.conv", "c3x3_b.conv", "c1x1_w_s2.conv", "c1x1_c1", "c1x1_c2"]),
    ):
        assert [layer.name for layer in layers if isinstance(layer, kind)] == [f"block.{name}" for name in expected]


def test_stride_needs_a_projection():
    with pytest.raises(ValueError, match="strides=2 needs project=True"):
        blocks.dual_path_block(keras.Input((6, 6, 20)), 8, 8, 4, 2, strides=2)


def test_groups_are_those_of_the_3x3_convolutions():
    config = VARIANTS["dpn68"].with_groups(4)
    assert config.name == "dpn68_g4"
    model = zoo.create(replace(config, depths=(1, 1, 1, 1)), 2, (32, 32, 3))
    spatial = [x for x in model.layers if isinstance(x, blocks.GroupedConv2D) and x.kernel_size == (3, 3)]
    assert [layer.groups for layer in spatial] == [1, 4, 4, 4, 4]


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"groups": 7}, "does not divide the channels of every 3x3 convolution of a DPN of width 128: use 1, 2, 4"),
    ({"groups": 100}, "the nearest is 128"),
    ({"groups": 0}, "groups=0 does not divide the channels of every 3x3"),
    ({"depths": (1, 2, 3)}, "depths=(1, 2, 3) is not allowed for DPN: give four numbers"),
    ({"growth": (1, 2, 0, 4)}, "growth=(1, 2, 0, 4) is not allowed for DPN"),
])  # fmt: skip
def test_refusals(changes, sentence):
    with pytest.raises(ValueError) as caught:
        replace(VARIANTS["dpn68"], **changes)
    assert sentence in str(caught.value)
