"""The CPU kernels: where they are used, and that they equal TensorFlow's operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks import GroupedConv2D
from blocks.kernels import build
from blocks.ops.channel_selection import select_channels
from blocks.ops.tensorflow import batch_norm, channel_shuffle, conv2d, runtime
from helpers.kernels import needs_kernels
from helpers.tensors import drawn, operation_types

pytestmark = needs_kernels


def without_kernels(monkeypatch):
    """From here on TensorFlow's own operations compute."""
    monkeypatch.setattr(runtime, "library", lambda: None)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "hard_silu", "silu", "gelu", "sigmoid"])
@pytest.mark.parametrize("channels", [37, 7])  # more than a vector's, and fewer
def test_normalisation_equals_tensorflow(monkeypatch, channels, activation, residual, training):
    images, added = drawn(4, 5, 6, channels, scale=2) + 3, drawn(4, 5, 6, channels, seed=1)
    vectors = [drawn(channels, seed=seed) for seed in range(2, 6)]
    vectors[0], vectors[3] = vectors[0] + 2, vectors[3] ** 2 + 0.5
    weights = drawn(4, 5, 6, channels, seed=6)

    def results():
        watched = [images, *vectors[:2], *([added] if residual else [])]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs, mean, variance = batch_norm.fused_normalize(
                images,
                *vectors,
                epsilon=1e-3,
                rate=0.1,
                training=training,
                activation=activation,
                residual=added if residual else None,
            )
            total = tf.reduce_sum(outputs * weights)
        return [outputs, *([mean, variance] if training else []), *tape.gradient(total, watched)]

    actual = results()
    without_kernels(monkeypatch)
    for ours, plain in zip(actual, results(), strict=True):
        np.testing.assert_allclose(ours, plain, atol=3e-5 * np.abs(plain).max(), rtol=0)


def test_normalisation_keeps_its_digits_far_from_zero():
    """A mean of a thousand standard deviations: sums of squares alone would leave none."""
    images = drawn(8, 16, 16, 32) + 1000.0
    outputs, _, variance = batch_norm.fused_normalize(
        images, tf.ones(32), tf.zeros(32), tf.zeros(32), tf.zeros(32), epsilon=0.0, rate=1.0, training=True
    )
    exact = images.numpy().astype("float64")
    np.testing.assert_allclose(variance, exact.var((0, 1, 2), ddof=1), rtol=1e-4)
    np.testing.assert_allclose(outputs, (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2)), atol=2e-3)


def test_normalisation_in_bfloat16_is_that_of_float32_rounded():
    images = drawn(4, 5, 6, 40, dtype="bfloat16", scale=2)
    arguments = (tf.ones(40), tf.zeros(40), tf.zeros(40), tf.ones(40))
    settings = {"epsilon": 1e-3, "rate": 0.1, "training": True, "activation": "relu"}
    ours = batch_norm.fused_normalize(images, *arguments, **settings)
    wide = batch_norm.fused_normalize(tf.cast(images, tf.float32), *arguments, **settings)
    assert ours[0].dtype == tf.bfloat16
    np.testing.assert_array_equal(ours[0], tf.cast(wide[0], tf.bfloat16))
    np.testing.assert_array_equal(ours[2], wide[2])


def test_not_a_number_and_infinity_pass_through():
    images = tf.tensor_scatter_nd_update(drawn(1, 4, 4, 32), [[0, 0, 0, 0], [0, 1, 1, 1]], [np.nan, np.inf])
    for dtype in ("float32", "bfloat16"):
        kernel = tf.cast(tf.eye(32)[None, None], dtype)
        outputs = conv2d.convolve(
            tf.cast(images, dtype), kernel, (1, 1), "valid", (1, 1), activation="relu", implementation="custom_op"
        )
        outputs = tf.cast(outputs, "float32").numpy()
        assert np.isnan(outputs[0, 0, 0]).all() and not np.isfinite(outputs[0, 1, 1]).any()
        assert np.isfinite(outputs[0, 2:]).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("num_outputs", [1, 2, 3])
@pytest.mark.parametrize("sizes, groups", [((60, 60), 2), ((60,), 3), ((10, 14), 4), ((7, 5, 18), 5), ((6, 6, 6), 3)])
def test_shuffle_equals_tensorflow(monkeypatch, sizes, groups, num_outputs, dtype):
    parts = [drawn(3, 5, 7, size, dtype=dtype, seed=size) for size in sizes]
    weights = [drawn(3, 5, 7, sum(sizes) // num_outputs, dtype=dtype, seed=seed) for seed in range(num_outputs)]

    def results():
        with tf.GradientTape() as tape:
            tape.watch(parts)
            outputs = channel_shuffle.shuffle(parts, groups, num_outputs)
        return [*outputs, *tape.gradient(outputs, parts, weights)]

    actual = results()
    without_kernels(monkeypatch)
    for ours, plain in zip(actual, results(), strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 5, 7, 40), (2, 3, 3), (6, 16), (9,)], ids=str)
def test_selected_channels_and_their_gradients_are_those_of_numpy(shape, dtype):
    images = drawn(*shape, dtype=dtype)
    index = np.random.default_rng(0).integers(0, shape[-1], shape[-1] + 5)  # some left out, some several times
    weights = drawn(*shape[:-1], len(index), dtype=dtype, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(images)
        selected = select_channels(images, tf.constant(index))
    np.testing.assert_array_equal(selected, np.asarray(images)[..., index])
    expected = np.zeros(shape, "float32")
    for output, channel in enumerate(index):
        expected[..., channel] += np.asarray(weights)[..., output].astype("float32")
    actual = tape.gradient(selected, images, weights)
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, tf.cast(expected, dtype))  # sums in float32, in the index's order


def small_network():
    images = keras.Input((8, 8, 16))
    x = blocks.conv_norm(images, 32, act="hard_silu")
    x = blocks.conv_norm(x, 32, 3, 2, 32, "silu")
    x = blocks.ChannelShuffle(2)(x)
    x = blocks.conv_norm(x, 32, 1, 2, 4, "relu", residual=blocks.convolution(x, 32, 1, 2))
    return keras.Model(images, x)


@pytest.mark.parametrize("requested", ["both", "inputs", "kernel"])
@pytest.mark.parametrize("groups, size", [(1, 1), (4, 3), (32, 3)])
def test_a_convolution_waits_for_both_gradients_and_computes_no_other(groups, size, requested):
    """Else TensorFlow leaves the kernels' gradients, and all that they need, for the end."""
    images, kernel = drawn(2, 8, 8, 32), drawn(size, size, 32 // groups, 32)
    watched = {"both": [images, kernel], "inputs": [images], "kernel": [kernel]}[requested]

    def gradients():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            outputs = conv2d.convolve(images, kernel, (1, 1), "same", (1, 1), implementation="custom_op")
        return tape.gradient(outputs, watched)

    operations = operation_types(gradients)
    assert any(kind.endswith("InputGrad") for kind in operations) == (requested != "kernel")
    assert any(kind.endswith("FilterGrad") for kind in operations) == (requested != "inputs")
    assert ("BlocksTogether" in operations) == (requested == "both")
    for eager, traced in zip(gradients(), tf.function(gradients, jit_compile=False)(), strict=True):
        np.testing.assert_allclose(eager, traced, rtol=1e-4, atol=1e-4)


def test_second_derivatives_equal_tensorflow(monkeypatch):
    keras.utils.set_random_seed(1)
    model, images = small_network(), drawn(4, 8, 8, 16)

    def penalty():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(images)
                total = tf.reduce_sum(model(images, training=True) ** 2)
            size = tf.reduce_sum(inner.gradient(total, images) ** 2)
        return outer.gradient(size, model.trainable_variables)

    actual = penalty()
    without_kernels(monkeypatch)
    for ours, plain in zip(actual, penalty(), strict=True):
        if plain is not None:  # a shift before a normalisation has no effect
            assert np.abs(ours - plain).max() <= 2e-3 * np.abs(plain).max() + 1e-3


def test_a_traced_step_consists_of_kernels():
    model = small_network()

    def step(images):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(images, training=True))
        return tape.gradient(total, model.trainable_variables)

    operations = operation_types(step, drawn(2, 8, 8, 16))
    assert {"BlocksNormTrain", "BlocksNormTrainGrad", "BlocksShuffle", "BlocksUnshuffle"} <= operations
    assert "BlocksSubsample" in operations
    assert {"BlocksPointwise", "BlocksPointwiseInputGrad", "BlocksPointwiseFilterGrad"} <= operations
    assert {"BlocksDepthwise", "BlocksDepthwiseInputGrad", "BlocksDepthwiseFilterGrad"} <= operations
    assert not {kind for kind in operations if "FusedBatchNorm" in kind or "Conv2D" in kind or kind == "Transpose"}


def test_exports_hold_tensorflow_operations_only(tmp_path):
    model = small_network()
    images = drawn(2, 8, 8, 16)
    expected = model(images, training=False)
    model.export(tmp_path / "saved", verbose=False)
    text = (tmp_path / "saved" / "saved_model.pb").read_bytes()
    assert b"Blocks" not in text
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(images), expected, atol=1e-4 * np.abs(expected).max())


def test_wrong_tensors_are_errors_and_not_crashes():
    operations = build.library()
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not fit"):
        operations.blocks_pointwise(tf.ones((1, 2, 2, 30)), tf.ones((1, 1, 7, 14)), [], [])
    with pytest.raises(tf.errors.InvalidArgumentError, match="entries for 32 channels"):
        operations.blocks_affine(tf.ones((1, 2, 2, 32)), tf.ones(31), tf.ones(32), [])
    with pytest.raises(tf.errors.InvalidArgumentError, match="wrong shape"):
        operations.blocks_depthwise_input_grad(
            tf.ones((1, 9, 9, 32)), tf.ones((3, 3, 1, 32)), [1, 4, 4, 32], strides=[1, 1], explicit_padding=[1, 1, 1, 1]
        )
    vectors = [tf.ones(0) for _ in range(4)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels or more, got 0"):
        operations.blocks_norm_train(tf.ones((1, 2, 2, 0)), *vectors, [], epsilon=1e-3, rate=0.1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels or more, got 0"):
        nothing = tf.ones((1, 2, 2, 0))
        operations.blocks_norm_train_grad(nothing, nothing, *vectors, [], residual=False, epsilon=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels or more, got 0"):
        operations.blocks_affine(tf.ones((1, 2, 2, 0)), *vectors[:2], [])
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the kernel"):
        operations.blocks_depthwise(
            tf.ones((1, 2, 9, 32)), tf.ones((3, 3, 1, 32)), [], strides=[2, 2], explicit_padding=[0, 0, 0, 0]
        )


def test_an_empty_batch_has_empty_outputs():
    layer = GroupedConv2D(32, 1)
    assert layer(tf.ones((0, 4, 4, 16))).shape == (0, 4, 4, 32)
