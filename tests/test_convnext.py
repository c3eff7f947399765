"""ConvNeXt: the block against its definition, the two forms of its dense layers, stems, heads and refusals."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
import zoo
from helpers.definition import grouped_convolution
from helpers.randomized import check_same, inputs_of, numpy, randomized
from zoo.models.convnext import ConvNeXt, build
from zoo.weights.layout import slots

TINY = ConvNeXt("tiny", depths=(1, 1, 1, 1), width=8)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("groups", [None, 2])
def test_the_block_is_its_definition(groups):
    images = keras.Input((9, 8, 8))
    model = randomized(keras.Model(images, blocks.convnext_block(images, groups, name="block")))
    weights = {name: keras.ops.convert_to_numpy(slot.variable) for name, slot in slots(model).items()}
    x = inputs_of(model)
    y = grouped_convolution(x, weights["block.conv_dw.weight"], (1, 1), ((3, 3), (3, 3)), (1, 1)).numpy()
    y += weights["block.conv_dw.bias"]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    y = y * weights["block.norm.weight"] + weights["block.norm.bias"]
    y = gelu(y @ weights["block.mlp.fc1.weight"] + weights["block.mlp.fc1.bias"])
    y = y @ weights["block.mlp.fc2.weight"] + weights["block.mlp.fc2.bias"]
    np.testing.assert_allclose(model(x), x + weights["block.gamma"] * y, atol=1e-4)


def test_dense_layers_and_convolutions_compute_the_same():
    images = keras.Input((8, 8, 8))
    one, other = (keras.Model(images, blocks.convnext_block(images, dense=dense)) for dense in (True, False))
    randomized(one)
    other.set_weights(
        [value.reshape(weight.shape) for value, weight in zip(one.get_weights(), other.weights, strict=True)]
    )
    x = inputs_of(one)
    np.testing.assert_allclose(one(x), other(x), atol=1e-5)


def test_a_new_block_is_nearly_the_identity():
    images = keras.Input((8, 8, 8))
    model = keras.Model(images, blocks.convnext_block(images, drop_path=0.5))
    x = inputs_of(model)
    np.testing.assert_allclose(model(x, training=True), x, atol=1e-4)


@pytest.mark.parametrize("stem", ["patch", "overlap", "overlap_tiered"])
@pytest.mark.parametrize("small_stem", [False, True])
def test_strides(stem, small_stem):
    config = replace(TINY, stem=stem)
    features = build(config, keras.Input((64, 96, 1)), small_stem)
    assert [64 // feature.shape[1] for feature in features] == ([1, 2, 4, 8] if small_stem else [4, 8, 16, 32])
    assert [feature.shape[3] for feature in features] == [8, 16, 32, 64]
    assert zoo.create(config, 2, (None, None, 1), small_stem=small_stem)(np.zeros((1, 45, 52, 1))).shape == (1, 2)


def test_the_head_can_have_a_hidden_layer():
    assert zoo.create(replace(TINY, head_width=24), 0, (32, 32, 3)).output_shape == (None, 24)


def test_groups_reach_every_spatial_convolution():
    model = zoo.create(TINY, 2, (32, 32, 3), groups=8)
    assert model.name == "tiny_g8"
    spatial_groups = {layer.groups for layer in model.layers if layer.name.endswith(".conv_dw")}
    assert spatial_groups == {8}


@pytest.mark.parametrize("dense", [True, False])
def test_a_fused_network_computes_the_same_and_is_saved(dense, tmp_path):
    config = replace(TINY, dense=dense, drop_path=0.2)
    model = randomized(zoo.create(config, 4, (32, 32, 3)))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert len(fused.layers) < len(model.layers)
    fused.save(tmp_path / "fused.keras")
    images = inputs_of(model)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "fused.keras")(images), fused(images))


def test_mixed_precision():
    exact = randomized(zoo.create(TINY, 4, (32, 32, 3)))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.create(TINY, 4, (32, 32, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(exact.get_weights())
    images = inputs_of(model)
    (expected,), (actual,) = numpy(exact(images)), numpy(model(images))
    assert np.abs(actual - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: ConvNeXt(stem="patches"), "stem='patches' is not allowed for ConvNeXt: did you mean patch"),
    (lambda: ConvNeXt(width=0), "width=0 is not allowed for ConvNeXt: it must be above 0"),
    (lambda: ConvNeXt(head_norm="never"), "head_norm='never' is not allowed for ConvNeXt"),
    (lambda: ConvNeXt(depths=(3, 3, 9)), "the number of depths=3 is not allowed for ConvNeXt: use 4"),
    (lambda: zoo.create("convnext_atto", groups=16), "the nearest is 20"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
