"""The running variance of a normalisation: PyTorch's, unbiased, or Keras's own, on every path that computes it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks import BatchNormalization
from blocks.ops import batch_norm
from helpers.arrays import draw
from helpers.checks import check_all_close

# What is normalised -> axis. Positions of a channel: many, two, one; images of channels last take the fused kernel.
SHAPES = {
    "images": ((4, 5, 6, 8), -1),
    "images by their last axis": ((4, 5, 6, 8), 3),
    "images of few channels": ((4, 5, 6, 3), -1),
    "channels first": ((4, 8, 5, 6), 1),
    "two positions": ((2, 1, 1, 8), -1),
    "one position": ((1, 1, 1, 8), -1),
    "vectors": ((5, 8), -1),
    "one vector": ((1, 8), -1),
    "sequences": ((3, 5, 8), -1),
    "sequences by their steps": ((3, 5, 8), 1),
    "volumes": ((2, 3, 4, 2, 8), -1),
}


def pair(shape, axis, momentum=0.9, dtype="float32"):
    """Ours with Keras's running variance, and Keras's own, with the same weights."""
    layers = (
        BatchNormalization(axis, momentum, unbiased_variance=False, dtype=dtype),
        keras.layers.BatchNormalization(axis, momentum, dtype=dtype),
    )
    values = np.random.default_rng(3)
    for layer in layers:
        layer.build(shape)
    weights = [values.uniform(0.5, 2, weight.shape) for weight in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def step(layer, images, jit_compile=None, batch=None):
    """Outputs, gradients and statistics after a call in training: eagerly, or in a graph, which XLA compiles or not."""

    def compute(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            total = tf.reduce_sum(tf.sin(tf.cast(outputs, "float32")))
        return outputs, *tape.gradient(total, [inputs, *(weight.value for weight in layer.trainable_weights)])

    if jit_compile is not None:
        signature = [tf.TensorSpec((batch, *images.shape[1:]), images.dtype)]
        compute = tf.function(compute, input_signature=signature, jit_compile=jit_compile)
    results = [*compute(tf.constant(images)), layer.moving_mean.value, layer.moving_variance.value]
    return [tf.cast(each, "float64") for each in results]


@pytest.mark.parametrize("kernels", ["with our kernels", "without"])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_that_of_keras_on_every_path(name, kernels, monkeypatch):
    from blocks.ops.tensorflow import runtime

    if kernels == "without":
        monkeypatch.setattr(runtime, "library", lambda: None)
    shape, axis = SHAPES[name]
    images = 3 * draw(*shape) + 2
    for momentum in (0.0, 0.9):
        ours, theirs = pair(shape, axis, momentum)
        check_all_close(step(ours, images), step(theirs, images), 2e-4)
        check_all_close(arrays(ours)[2:], arrays(theirs)[2:], 1e-6)


def arrays(layer):
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


@pytest.mark.parametrize("dtype, tolerance", [
    ("float64", 1e-14), ("mixed_bfloat16", 1e-6), ("mixed_float16", 1e-6), ("bfloat16", 0.02),
])  # fmt: skip
@pytest.mark.parametrize("name", ["images", "channels first", "vectors"])
def test_it_is_that_of_keras_in_every_precision(name, dtype, tolerance):
    shape, axis = SHAPES[name]
    ours, theirs = pair(shape, axis, dtype=dtype)
    images = 3 * draw(*shape) + 2
    for layer in (ours, theirs):
        layer(images, training=True)
        layer(images)  # which moves nothing, and takes the statistics as they are
    check_all_close(arrays(ours)[2:], arrays(theirs)[2:], tolerance)
    outputs = [tf.cast(layer(images), "float64") for layer in (ours, theirs)]
    check_all_close(outputs[:1], outputs[1:], max(tolerance, 1e-2 if "16" in dtype else 0))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch", [None, 4])
def test_it_is_that_of_keras_in_graphs(batch, jit_compile):
    """Where the batch is dynamic, so is the number of positions."""
    images = draw(4, 5, 6, 8)
    ours, theirs = pair(images.shape, -1)
    check_all_close(step(ours, images, jit_compile, batch), step(theirs, images), 2e-4)
    check_all_close(arrays(ours)[2:], arrays(theirs)[2:], 1e-6)


@pytest.mark.parametrize("arguments", [{"renorm": True}, {"synchronized": True}, {}])
def test_it_is_that_of_keras_where_keras_computes(arguments):
    inputs = draw(4, 6, 8)
    mask = None if arguments else np.tile(np.arange(6) < 4, (4, 1))
    ours, theirs = (
        BatchNormalization(unbiased_variance=False, **arguments),
        keras.layers.BatchNormalization(**arguments),
    )
    for layer in (ours, theirs):
        layer(inputs, training=True, mask=mask)
    check_all_close(arrays(ours), arrays(theirs), 1e-6)


@pytest.mark.parametrize("running", [1e-30, 1.0, 3e38])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("channels", [8, 32])  # fewer than a vector of the kernels', and more
def test_neither_variance_is_lost_in_the_other(running, momentum, channels):
    """3e38 is near the largest number of float32, and 1e-30 far below the rounding of the batch's variance."""
    images = draw(1, 1, 2, channels)  # where the unbiased variance is twice the biased
    ours, _ = pair(images.shape, -1, momentum)
    ours.moving_variance.assign(np.full(channels, running))
    ours(images, training=True)
    expected = running * momentum + images.astype("float64").var((0, 1, 2)) * (1 - momentum)
    np.testing.assert_allclose(ours.moving_variance, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 3, 8), (0, 3, 3, 3), (0, 8)])
@pytest.mark.parametrize("frozen", [False, True])
def test_an_empty_batch_and_a_frozen_layer_leave_it(shape, frozen):
    ours, _ = pair(shape, -1)
    before = arrays(ours)
    ours.trainable = not frozen
    ours(np.ones(((2 if frozen else 0), *shape[1:]), "float32"), training=True)
    check_all_close(arrays(ours), before, 0)


def test_it_is_an_argument_that_is_saved():
    layer = BatchNormalization(unbiased_variance=False)
    assert BatchNormalization.from_config(layer.get_config()).unbiased_variance is False
    former = {key: value for key, value in BatchNormalization().get_config().items() if key != "unbiased_variance"}
    assert BatchNormalization.from_config(former).unbiased_variance is True


def test_the_function_has_it_too():
    inputs = draw(3, 8)
    zeros, ones = np.zeros(8, "float32"), np.ones(8, "float32")
    settings = {"axis": -1, "momentum": 0.0, "epsilon": 1e-3, "training": True, "activation": keras.activations.linear}
    for unbiased, ddof in ((True, 1), (False, 0)):
        *_, variance = batch_norm.batch_normalization(inputs, None, None, zeros, ones, unbiased=unbiased, **settings)
        np.testing.assert_allclose(variance, inputs.var(0, ddof=ddof), rtol=1e-5)


@pytest.mark.parametrize("axis", [1, -1])
def test_weights_of_pure_bfloat16_are_taken_on_any_axis(axis):
    """Inference and training, against the same in float32."""
    images = draw(2, 8, 5, 8)
    exact = blocks.BatchNormalization(axis)
    layer = blocks.BatchNormalization(axis, dtype="bfloat16")
    for training in (False, True):
        actual, expected = layer(images, training=training), exact(images, training=training)
        assert actual.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(actual, "float32"), expected, rtol=0.03, atol=0.03)
