"""Batch normalisation: the fused kernel and the plain computation against the definition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import BatchNormalization
from blocks.ops import batch_norm

DRAW = np.random.default_rng(0)
IMAGES = (3 * DRAW.standard_normal((4, 5, 6, 7)) + 2).astype("float32")
SCALE, OFFSET, MEAN = (DRAW.standard_normal(7).astype("float32") for _ in range(3))
VARIANCE = DRAW.uniform(0.5, 2, 7).astype("float32")


def layer(fused: bool, monkeypatch, **more) -> BatchNormalization:
    norm = BatchNormalization(momentum=0.9, epsilon=1e-5, **more)
    norm.build(IMAGES.shape)
    norm.set_weights([SCALE, OFFSET, MEAN, VARIANCE])
    assert batch_norm._has_kernel(IMAGES, norm.moving_mean, -1), "4-D, channels last, on TensorFlow: it must be taken"
    if not fused:
        monkeypatch.setattr(batch_norm, "_has_kernel", lambda *arguments: False)
    return norm


@pytest.mark.parametrize("fused", [True, False])
def test_training_equals_the_definition(fused, monkeypatch):
    """Outputs use the biased variance of the batch, the running variance moves to the unbiased one."""
    norm = layer(fused, monkeypatch)
    outputs = norm(IMAGES, training=True)
    wide = IMAGES.astype("float64")
    mean, variance = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    expected = (wide - mean) / np.sqrt(variance + 1e-5) * SCALE + OFFSET
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    count = 4 * 5 * 6
    np.testing.assert_allclose(norm.moving_mean, 0.9 * MEAN + 0.1 * mean, rtol=1e-5)
    unbiased = variance * count / (count - 1)
    np.testing.assert_allclose(norm.moving_variance, 0.9 * VARIANCE + 0.1 * unbiased, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_inference_uses_the_running_statistics_and_leaves_them(fused, frozen, monkeypatch):
    norm = layer(fused, monkeypatch)
    norm.trainable = not frozen
    outputs = norm(IMAGES, training=frozen)  # a frozen layer does not normalise by the batch even in training
    expected = (IMAGES - MEAN) / np.sqrt(VARIANCE + 1e-5) * SCALE + OFFSET
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(norm.moving_mean, MEAN)
    np.testing.assert_array_equal(norm.moving_variance, VARIANCE)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_both_paths_agree(training, monkeypatch):
    results = []
    for fused in (True, False):
        norm, images = layer(fused, monkeypatch), tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(tf.sin(norm(images, training=training)))
        results.append(tape.gradient(total, [images, norm.gamma.value, norm.beta.value]))
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True), (False, False)])
def test_without_scale_or_offset(center, scale):
    norm = BatchNormalization(center=center, scale=scale)
    expected = keras.layers.BatchNormalization(center=center, scale=scale)(IMAGES, training=True)
    np.testing.assert_allclose(norm(IMAGES, training=True), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 7), (3, 5, 7)])
def test_other_ranks_and_axes_take_the_plain_path(shape):
    inputs = np.random.default_rng(1).standard_normal(shape).astype("float32")
    norm, theirs = BatchNormalization(), keras.layers.BatchNormalization()
    np.testing.assert_allclose(norm(inputs, training=True), theirs(inputs, training=True), rtol=1e-4, atol=1e-5)
    first = BatchNormalization(axis=1)
    flipped = IMAGES.transpose(0, 3, 1, 2)
    expected = BatchNormalization()(IMAGES, training=True)
    np.testing.assert_allclose(np.transpose(first(flipped, training=True), (0, 2, 3, 1)), expected, atol=1e-4)


def test_float64_stays_float64():
    outputs = BatchNormalization(dtype="float64")(IMAGES.astype("float64"), training=True)
    assert outputs.dtype == tf.float64
    np.testing.assert_allclose(np.mean(outputs, (0, 1, 2)), np.zeros(7), atol=1e-12)


def test_bfloat16_keeps_float32_statistics():
    norm = BatchNormalization(momentum=0.9, dtype="mixed_bfloat16")
    assert norm(IMAGES, training=True).dtype == tf.bfloat16
    assert norm.moving_mean.dtype == "float32"
    np.testing.assert_allclose(norm.moving_mean, 0.1 * IMAGES.mean((0, 1, 2)), rtol=0.02, atol=0.01)


def test_a_mask_is_kerass_own_business():
    inputs = np.random.default_rng(2).standard_normal((4, 6, 7)).astype("float32")
    mask = np.arange(6) < 4
    ours, theirs = BatchNormalization(), keras.layers.BatchNormalization()
    outputs = ours(inputs, training=True, mask=np.tile(mask, (4, 1)))
    np.testing.assert_allclose(outputs, theirs(inputs, training=True, mask=np.tile(mask, (4, 1))), rtol=1e-5)
