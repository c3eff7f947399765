"""The blocks of GhostNet against their definitions, and what the family refuses."""

import keras
import numpy as np
import pytest

import zoo
from blocks import ResizeLike, dfc_attention, ghost_bottleneck, ghost_module
from helpers.arrays import draw
from zoo.models.ghostnet import GhostNet
from zoo.registry import variant


def model_of(block, shape, *arguments, **settings) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, *arguments, **settings, name="block"))


@pytest.mark.parametrize(("small", "large"), [(3, 7), (1, 2), (4, 8), (5, 5), (2, 5)])
def test_resizing_takes_the_pixel_above_and_to_the_left(small, large):
    x, like = draw(2, small, small + 1, 3), draw(2, large, large + 2, 5)
    rows = np.arange(large) * small // large
    columns = np.arange(large + 2) * (small + 1) // (large + 2)
    actual = ResizeLike()(x, like)
    np.testing.assert_array_equal(actual, x[:, rows][:, :, columns])


def test_resizing_keeps_types_gradients_and_unknown_sizes():
    inputs, like = keras.Input((None, None, 3), dtype="bfloat16"), keras.Input((None, None, 5))
    outputs = ResizeLike(dtype="bfloat16")(inputs, like)
    assert outputs.shape == (None, None, None, 3)
    model = keras.Model([inputs, like], outputs)
    actual = model([draw(1, 3, 3, 3), draw(1, 7, 7, 5)])
    assert actual.shape == (1, 7, 7, 3) and keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(draw(1, 3, 3, 2))
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(ResizeLike()(x, tf.zeros((1, 7, 7, 1))))
        times = np.array([3, 2, 2])  # how often 7 rows show each of 3
        np.testing.assert_array_equal(tape.gradient(total, x)[0, :, :, 0], np.outer(times, times))


def test_half_of_a_ghost_module_is_derived_from_the_other_half():
    model = model_of(ghost_module, (6, 6, 4), 8)
    x = draw(2, 6, 6, 4)
    actual = np.array(model(x))
    primary = keras.ops.convert_to_numpy(model.get_layer("block.primary_conv.0").kernel)[0, 0]
    cheap = keras.ops.convert_to_numpy(model.get_layer("block.cheap_operation.0").kernel)[:, :, 0]
    scale = 1 / np.sqrt(1 + 1e-5)
    intrinsic = np.maximum(x @ primary * scale, 0)
    padded = np.pad(intrinsic, ((0, 0), (1, 1), (1, 1), (0, 0)))
    ghosts = sum(padded[:, i : i + 6, j : j + 6] * cheap[i, j] for i in range(3) for j in range(3))
    expected = np.concatenate([intrinsic, np.maximum(ghosts * scale, 0)], axis=-1)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_attention_multiplies_the_ghost_module():
    plain, attentive = (model_of(ghost_module, (7, 7, 4), 8, attention=flag) for flag in (False, True))
    for layer in plain.layers:
        if layer.weights:
            attentive.get_layer(layer.name).set_weights(layer.get_weights())
    gate = keras.Model(attentive.input, attentive.get_layer("block.short_conv.5").output)
    x = draw(2, 7, 7, 4)
    assert gate(x).shape == (2, 3, 3, 8) and np.all((np.array(gate(x)) > 0) & (np.array(gate(x)) < 1))
    resized = np.array(ResizeLike()(gate(x), x))
    np.testing.assert_allclose(attentive(x), np.array(plain(x)) * resized, rtol=1e-5, atol=1e-6)


def test_attention_looks_along_rows_and_columns():
    model = model_of(dfc_attention, (8, 8, 4), 6)
    kernels = [tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")]
    assert kernels == [(1, 1, 4, 6), (1, 5, 1, 6), (5, 1, 1, 6)]


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("groups", [None, 2])
def test_groups_reach_every_spatial_convolution_of_a_bottleneck(strides, groups):
    model = model_of(ghost_bottleneck, (8, 8, 8), 12, 16, 5, strides, groups, squeeze=4, attention=True)
    spatial = [layer for layer in model.layers if max(getattr(layer, "kernel_size", (1,))) > 1]
    assert len(spatial) == 5 + (strides == 2)
    assert all(layer.groups == (layer.filters if groups is None else groups) for layer in spatial)
    assert model.output_shape == (None, 8 // strides, 8 // strides, 12)


def test_the_widths_of_the_family_are_those_of_its_layers():
    for config in (GhostNet(0.5), GhostNet(1.3, version=2)):
        model = zoo.create(config, 2, (64, 64, 3))
        spatial = [layer for layer in model.layers if max(getattr(layer, "kernel_size", (1,))) > 1]
        assert {layer.filters for layer in spatial[1:]} == config.spatial_widths


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: GhostNet(version=3), "version=3 is not allowed for GhostNet: use 1, 2; the nearest is 2"),
    (lambda: GhostNet(width=-1), "width=-1 is not allowed for GhostNet"),
    (lambda: variant("ghostnet_100").with_groups(3), "use 1, 2, 4, or null for depthwise; the nearest is 2"),
    (lambda: model_of(ghost_module, (4, 4, 3), 5), "filters=5 is not allowed for a ghost module: it must be even"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
