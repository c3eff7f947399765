"""The kernels of ConvNeXt's block: layer normalisation, GELU, scales of channels, gradients of biases."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks.ops.activations import ELEMENTWISE, OWN_KERNELS
from blocks.ops.tensorflow import runtime
from helpers.kernels import needs_kernels
from helpers.tensors import drawn, exact, operation_types, values_and_gradients

pytestmark = needs_kernels

SHAPES = [(2, 5, 3, 40), (3, 7), (2, 9, 33), (300, 64), (2, 1000), (5, 16), (70, 1)]


def plain_layer_norm(x, gamma, beta):
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    return centred / tf.sqrt(tf.reduce_mean(centred**2, -1, keepdims=True) + 1e-3) * gamma + beta


def plain_gelu(x):
    return 0.5 * x * tf.math.erfc(-x / np.sqrt(2.0))


PLAIN = {"gelu": plain_gelu, "silu": lambda x: x * tf.sigmoid(x), "hard_silu": lambda x: x * tf.nn.relu6(x + 3) / 6}


def assert_close(actual, definition):
    """Each tensor within a few roundings of its largest entry; float32 parameters of bfloat16 images too."""
    for ours, plain in zip(actual, definition, strict=True):
        tolerance = 2e-6 if ours.dtype == tf.float32 else 2**-8
        np.testing.assert_allclose(tf.cast(ours, tf.float64), plain, atol=tolerance * np.abs(plain).max(), rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_layer_normalisation_equals_its_definition(shape, dtype):
    x, weights = exact(shape, dtype) * 2 + 3, exact(shape, dtype, seed=1)
    x = tf.cast(tf.cast(x, dtype), tf.float64)
    gamma, beta = exact(shape[-1:], "float32", seed=2), exact(shape[-1:], "float32", seed=3)

    def by_kernel(x, gamma, beta):
        return runtime.kernels().blocks_layer_norm(x, gamma, beta, epsilon=1e-3).y

    narrow = tf.cast(x, dtype), tf.cast(gamma, tf.float32), tf.cast(beta, tf.float32)
    actual = values_and_gradients(by_kernel, *narrow, weights=tf.cast(weights, dtype))
    assert_close(actual, values_and_gradients(plain_layer_norm, x, gamma, beta, weights=weights))


def test_layer_normalisation_of_one_channel_is_its_offset():
    y = runtime.kernels().blocks_layer_norm(drawn(70, 1), tf.ones(1), tf.fill([1], 5.0), epsilon=1e-3).y
    np.testing.assert_array_equal(y, np.full((70, 1), 5.0))


def test_layer_normalisation_keeps_its_digits_far_from_zero():
    """A mean of ten thousand standard deviations: a difference of mean squares would leave none."""
    x = tf.cast(drawn(64, 48), tf.float32) + 10000.0
    y = runtime.kernels().blocks_layer_norm(x, tf.ones(48), tf.zeros(48), epsilon=0.0).y
    wide = x.numpy().astype("float64")
    expected = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=2e-3)


def test_not_a_number_stays_in_its_row():
    x = drawn(5, 40).numpy()
    x[2, 39] = np.nan
    y = runtime.kernels().blocks_layer_norm(x, tf.ones(40), tf.zeros(40), epsilon=1e-3).y
    np.testing.assert_array_equal(np.isnan(y).any(1), [False, False, True, False, False])
    assert np.isnan(y[2]).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OWN_KERNELS)
def test_activations_equal_their_definition(name, dtype):
    x = tf.cast(tf.linspace(-10.0, 10.0, 20011), dtype)  # no multiple of a vector's length
    x = tf.where(tf.abs(x) == 3.0, tf.zeros_like(x), x)  # where hard SiLU has no derivative
    weights = exact((20011,), dtype)
    actual = values_and_gradients(
        lambda x: runtime.kernels().blocks_activation(x, activation=name), x, weights=tf.cast(weights, dtype)
    )
    x = tf.cast(x, tf.float64)
    assert_close(actual, values_and_gradients(PLAIN[name], x, weights=weights))


def test_gelu_keeps_its_digits_in_the_tail():
    """0.5 x (1 + erf) has none left at -6, where GELU is -6e-9."""
    x = tf.linspace(-9.0, 3.0, 1201)
    y = runtime.kernels().blocks_activation(x, activation="gelu")
    np.testing.assert_allclose(y, plain_gelu(tf.cast(x, tf.float64)), rtol=5e-6)


def test_activations_of_what_is_not_finite():
    x = tf.constant([np.nan, np.inf, 0.0, -200.0] * 5)
    for name in OWN_KERNELS:
        y = runtime.kernels().blocks_activation(x, activation=name).numpy().reshape(5, 4)
        np.testing.assert_allclose(y, np.tile([np.nan, np.inf, 0.0, 0.0], (5, 1)), atol=1e-30)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_bias_is_a_sum(shape, dtype):
    gradient = exact(shape, dtype)
    sums = runtime.kernels().blocks_bias_grad(tf.cast(gradient, dtype))
    expected = gradient.numpy().reshape(-1, shape[-1]).sum(0)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=2e-6 * np.abs(gradient).max() * gradient.shape[0])


@pytest.mark.parametrize("activation", [None, "relu6", "hard_silu", "silu", "gelu"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_frozen_normalisation_differentiates_as_without_kernels(monkeypatch, activation, residual):
    layer = blocks.BatchNormalization(activation=activation)
    layer.build((None, 5, 6, 37))
    for seed, weight in enumerate(layer.weights):
        weight.assign(np.abs(drawn(37, seed=seed)) + 0.5)
    x, added, weights = drawn(4, 5, 6, 37), drawn(4, 5, 6, 37, seed=8), drawn(4, 5, 6, 37, seed=9)

    def results():
        watched = [x, added, layer.gamma.value, layer.beta.value]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            more = {"residual": added} if residual else {}
            total = tf.reduce_sum(layer(x, training=False, **more) * weights)
        return tape.gradient(total, watched if residual else [x, *watched[2:]])

    ours = results()
    monkeypatch.setattr(runtime, "library", lambda: None)
    for actual, plain in zip(ours, results(), strict=True):
        np.testing.assert_allclose(actual, plain, atol=3e-6 * np.abs(plain).max(), rtol=0)


LAYERS = {
    "BlocksLayerNorm": lambda dtype: blocks.LayerNormalization(dtype=dtype),
    "BlocksAffine": lambda dtype: blocks.LayerScale(0.5, dtype=dtype),
    "BlocksActivation": lambda dtype: blocks.Activation("gelu", dtype=dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float16", "float64"])
@pytest.mark.parametrize("operation", LAYERS)
def test_layers_compute_by_the_kernels_where_these_have_the_type(operation, dtype):
    layer = LAYERS[operation](dtype)
    compute = layer.compute_dtype
    x = drawn(2, 3, 4, 40, dtype=compute)
    y = layer(x)
    assert y.dtype.name == compute
    assert all(weight.dtype == layer.variable_dtype for weight in layer.weights)
    known = compute in ("float32", "bfloat16")
    assert (operation in operation_types(layer, x)) == known
    wide = LAYERS[operation]("float64")
    wide(tf.cast(x, "float64"))
    wide.set_weights([tf.cast(weight, "float64") for weight in layer.weights])
    tolerance = {"float32": 1e-6, "bfloat16": 2**-8, "float16": 2**-10, "float64": 1e-12}[compute]
    np.testing.assert_allclose(tf.cast(y, "float64"), wide(tf.cast(x, "float64")), rtol=tolerance, atol=tolerance)


def test_the_scale_of_a_bfloat16_layer_is_not_rounded():
    """Nor is its gradient: Keras would cast both, under its mixed policy."""
    layer, x = blocks.LayerScale(dtype="mixed_bfloat16"), drawn(1, 2, 2, 32, dtype="bfloat16")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(layer(x), tf.float32))
    gradient = tape.gradient(total, layer.gamma.value)
    assert np.any(gradient.numpy() != tf.cast(tf.cast(gradient, tf.bfloat16), tf.float32).numpy())


def test_a_float32_normalisation_of_bfloat16_inputs_rounds_nothing():
    x = drawn(2, 3, 40, dtype="bfloat16")
    y = blocks.LayerNormalization(dtype="float32")(x)
    wide = blocks.LayerNormalization(dtype="float64")(tf.cast(x, tf.float64))
    assert y.dtype == tf.float32
    np.testing.assert_allclose(y, wide, atol=1e-6)


def test_a_normalisation_without_weights_takes_channels_of_any_number():
    images = keras.Input((4, None))
    model = keras.Model(images, blocks.LayerNormalization(center=False, scale=False)(images))
    np.testing.assert_allclose(np.mean(model(drawn(2, 4, 24)), -1), np.zeros((2, 4)), atol=1e-6)


def test_a_dense_layer_takes_images_whose_channels_are_not_yet_known():
    layer, x = blocks.Dense(5), drawn(2, 3, 3, 24)
    expected = layer(x)
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, 3, 3, None))])
    np.testing.assert_allclose(call(x), expected, atol=1e-5)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_of_every_rank_are_those_of_keras(name, dtype, rank):
    x = drawn(*(2, 3, 20)[:rank], dtype=dtype)
    ours, stock = blocks.Activation(name, dtype=dtype)(x), keras.layers.Activation(name, dtype=dtype)(x)
    assert ours.shape == stock.shape
    np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_wrong_shapes_are_errors():
    operations, x = runtime.kernels(), tf.ones((2, 3, 32))
    vector, rows = tf.ones(32), tf.ones((2, 3))
    with pytest.raises(tf.errors.InvalidArgumentError, match="one for each row"):
        operations.blocks_layer_norm_grad(x, x, vector, rows, rows[0], epsilon=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in shape"):
        operations.blocks_layer_norm_grad(x[0], x, vector, rows, rows, epsilon=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="31 entries for 32"):
        operations.blocks_layer_norm(x, vector, vector[:31], epsilon=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in shape"):
        operations.blocks_affine_grad(x[0], x, vector, vector, [], residual=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="31 entries for 32"):
        operations.blocks_affine_grad(x, x, vector, vector[:31], [], residual=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="residual"):
        operations.blocks_affine_grad(x, x, vector, vector, [x], residual=True, activation="gelu")
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in shape"):
        operations.blocks_activation_grad(x[0], x, activation="gelu")
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        operations.blocks_bias_grad(tf.ones(()))


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
def test_the_gradient_of_an_affine_sum_is_that_of_its_activation(activation):
    x, added, vector = drawn(3, 4, 32), drawn(3, 4, 32, seed=1), drawn(32, seed=2)

    def by_kernel(x, added, scale):
        return runtime.kernels().blocks_affine(x, scale, vector, [added], activation=activation)

    def plain(x, added, scale):
        return keras.activations.get(activation)(x * scale + vector + added)

    expected = values_and_gradients(plain, x, added, vector)
    for actual, right in zip(values_and_gradients(by_kernel, x, added, vector), expected, strict=True):
        np.testing.assert_allclose(actual, right, atol=3e-6 * np.abs(right).max(), rtol=0)


def learnt(layer, x):
    """What it computes of `x`, and the gradients of `x` and its weights."""
    weights = drawn(*layer(x).shape, seed=7)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        total = tf.reduce_sum(y * weights)
    return [y, *tape.gradient(total, [x, *(weight.value for weight in layer.trainable_weights)])]


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "softmax"])
def test_a_dense_layer_of_images_is_a_pointwise_convolution(activation):
    layer, x = blocks.Dense(24, activation=activation), drawn(2, 5, 3, 40)
    layer(x)
    layer.bias.assign(drawn(24, seed=1))
    assert ("BlocksPointwise" in operation_types(layer, x)) and "BlocksPointwise" not in operation_types(layer, x[0, 0])
    stock = keras.layers.Dense(24, activation=activation)
    stock(x)
    stock.set_weights(layer.get_weights())

    for actual, plain in zip(learnt(layer, x), learnt(stock, x), strict=True):
        np.testing.assert_allclose(actual, plain, atol=1e-5 * np.abs(plain).max(), rtol=0)


@pytest.mark.parametrize("dense", [True, False])
def test_a_block_of_convnext_is_the_same_without_kernels(monkeypatch, dense):
    images = keras.Input((8, 8, 32))
    model = keras.Model(images, blocks.convnext_block(images, layer_scale=0.5, dense=dense, name="block"))
    x = drawn(2, 8, 8, 32)

    ours = learnt(model, x)
    monkeypatch.setattr(runtime, "library", lambda: None)
    for actual, plain in zip(ours, learnt(model, x), strict=True):
        np.testing.assert_allclose(actual, plain, atol=1e-5 * np.abs(plain).max(), rtol=0)
