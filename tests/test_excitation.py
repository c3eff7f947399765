"""The kernels of squeeze and excitation: that they equal TensorFlow's operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks.kernels import build
from blocks.layers.squeeze_excite import ChannelGate, ImageMean
from blocks.ops.tensorflow import runtime
from helpers.kernels import needs_kernels
from helpers.tensors import drawn, operation_types

pytestmark = needs_kernels


def results(images, weights):
    """Outputs, gradients, and second derivatives of a gated image that is used twice."""
    watched, dtype = [images, weights], images.dtype.name
    with tf.GradientTape() as outer:
        outer.watch(watched)
        with tf.GradientTape() as inner:
            inner.watch(watched)
            mean, same = ImageMean(dtype=dtype)(images)
            outputs = ChannelGate(dtype=dtype)(same, tf.sigmoid(mean * weights)) + same
            total = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
        gradients = inner.gradient(total, watched)
        size = sum(tf.reduce_sum(tf.cast(gradient, "float32") ** 2) for gradient in gradients)
    return [mean, outputs, *gradients, *outer.gradient(size, watched)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 24), (2, 1, 3, 16), (1, 12, 13, 331), (5, 7, 7, 129)])
def test_squeeze_and_excitation_equal_tensorflow(monkeypatch, shape, dtype):
    images, weights = drawn(*shape, dtype=dtype) + 1, drawn(shape[-1], dtype=dtype, seed=1)
    traced = tf.function(results, jit_compile=False)
    expected = {"BlocksImageMeans", "BlocksImageMeansGrad", "BlocksGate", "BlocksGateGrad"}
    assert expected <= operation_types(results, images, weights)
    eager_and_traced = [results(images, weights), traced(images, weights)]
    monkeypatch.setattr(runtime, "library", lambda: None)
    plain = results(tf.cast(images, "float32"), tf.cast(weights, "float32"))
    for ours in eager_and_traced:
        for one, other in zip(ours, plain, strict=True):
            accuracy = 2e-5 if dtype == "float32" else 6e-2
            np.testing.assert_allclose(
                tf.cast(one, "float32"), other, rtol=0, atol=accuracy * float(tf.reduce_max(abs(other)))
            )


def test_one_of_the_two_outputs_is_enough():
    images = drawn(2, 4, 4, 32)
    for output, expected in ((0, np.full((2, 4, 4, 32), 1 / 16)), (1, np.ones((2, 4, 4, 32)))):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(ImageMean()(images)[output])
        np.testing.assert_allclose(tape.gradient(total, images), expected, rtol=1e-6)


def test_the_gradient_that_comes_in_stays_as_it_was():
    """The sum is written in its place only where nobody else holds it."""
    images, weights = drawn(2, 4, 4, 32), drawn(2, 4, 4, 32, seed=1)

    @tf.function(jit_compile=False)
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(images)
            mean, same = ImageMean()(images)
            total = tf.reduce_sum(mean) + tf.reduce_sum(same * weights)
        return tape.gradient(total, images), weights

    gradient, after = gradients()
    np.testing.assert_array_equal(after, weights)
    np.testing.assert_allclose(gradient, weights + 1 / 16, rtol=1e-5, atol=1e-6)


def test_few_channels_and_a_mean_of_many_pixels():
    images = drawn(2, 200, 200, 32) + 100
    mean, _ = ImageMean()(images)
    np.testing.assert_allclose(mean, images.numpy().astype("float64").mean((1, 2), keepdims=True), rtol=1e-6)
    few = drawn(2, 3, 3, 5)
    np.testing.assert_allclose(ImageMean()(few)[0], tf.reduce_mean(few, (1, 2), keepdims=True), rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="what belongs to each of them"):
        build.library().blocks_gate(images, tf.ones((2, 32)))


def test_a_network_of_it_saves_and_loads(tmp_path):
    images = keras.Input((6, 6, 32))
    model = keras.Model(images, blocks.squeeze_excite(images, 8, "hard_sigmoid", name="se"))
    assert model.output.shape == (None, 6, 6, 32)
    model.save(tmp_path / "se.keras")
    again = keras.saving.load_model(tmp_path / "se.keras")
    pictures = drawn(2, 6, 6, 32)
    np.testing.assert_array_equal(again(pictures), model(pictures))
