"""Normalisation, max pooling and convolution on Keras's JAX backend: values and gradients against the definitions.

Run as a program, this file is the other side: `KERAS_BACKEND=jax python tests/test_jax.py`.
"""

import importlib.util
import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from blocks.ops import batch_norm
from blocks.ops.activations import ELEMENTWISE
from helpers.paths import ROOT
from helpers.processes import process_environment

DRAW = np.random.default_rng(0)
LAST, FIRST, VECTORS = ((4, 3, 5, 6), -1), ((4, 6, 3, 5), 1), ((40, 6), -1)
TOLERANCE = {"float32": 3e-5, "bfloat16": 1e-2, "float16": 2e-3}  # of the largest value
# Activation, whether there is a residual, whether it is training, type, shape and axis.
CASES = [
    *itertools.product(ELEMENTWISE, (False, True), (True,), ("float32",), (LAST,)),
    *itertools.product(("relu", "silu"), (False, True), (False,), ("float32", "bfloat16"), (LAST,)),
    *itertools.product(("relu", "relu6", "silu"), (False, True), (True,), ("bfloat16",), (LAST,)),
    *itertools.product(("relu6",), (False, True), (True,), ("float16",), (LAST,)),
    *itertools.product(("softmax",), (False, True), (True,), ("float32",), (LAST,)),
    *itertools.product(("relu6",), (False, True), (True, False), ("bfloat16",), (FIRST, VECTORS)),
]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_it_is_the_definition():
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    quick = "--xla_backend_optimization_level=0"  # to compile, not to run
    own = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "XLA_FLAGS": quick}
    environment = process_environment(PYTHONPATH=path, **own)
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["all is the definition"], done.stdout + done.stderr


def arguments(shape, axis, dtype):
    """Inputs, scale, offset, running mean and variance, residual, and a gradient of the outputs.

    The images' mean is ten times their deviation.
    """
    inputs, residual, gradient = (DRAW.standard_normal(shape) for _ in range(3))
    others = [index for index in range(len(shape)) if index != axis % len(shape)]
    inputs = 2 * inputs + np.expand_dims(20 * DRAW.standard_normal(6), others)
    vectors = [DRAW.standard_normal(6).astype("float32") for _ in range(3)]
    inputs, residual, gradient = (keras.ops.cast(each, dtype) for each in (inputs, residual, gradient))
    return inputs, *vectors, DRAW.uniform(0.5, 2, 6).astype("float32"), residual, gradient


def check(activation, with_residual, training, dtype, layout):
    """Outputs, moved statistics, and the gradients of all arguments."""
    import jax

    shape, axis = layout
    *values, gradient = arguments(shape, axis, dtype)
    values[-1] = values[-1] if with_residual else None

    def compute(normalize):
        def call(inputs, gamma, beta, mean, variance, residual):
            function = keras.activations.get(activation)
            settings = axis, 0.9, 1e-3, training, function, residual, True
            outputs, mean, variance = normalize(inputs, gamma, beta, mean, variance, *settings)
            return outputs, mean * 1, variance * 1

        return call

    wide = jax.tree.map(lambda value: value.astype("float64"), values)
    results = []
    for normalize, given in ((batch_norm._by_jax, values), (batch_norm._plain, wide)):
        outputs, backward = jax.vjp(compute(normalize), *given)
        # Gradients of the statistics too, which those who average them over batches may ask for.
        seeds = [seed.astype(output.dtype) for seed, output in zip((gradient, *values[1:3]), outputs, strict=True)]
        results.append([*outputs, *(each for each in backward(tuple(seeds)) if each is not None)])
    names = ["outputs", "mean", "variance", "d_inputs", "d_gamma", "d_beta", "d_mean", "d_variance", "d_residual"]
    for name, actual, expected in zip(names, *results, strict=False):
        what = f"{name} of {activation}, {'' if with_residual else 'no '}residual, {training=}, {dtype}, {layout}"
        assert actual.dtype == (dtype if name in ("outputs", "d_inputs", "d_residual") else "float32"), what
        close(actual, expected, TOLERANCE[dtype], what)


def close(actual, expected, tolerance, what):
    actual, expected = (np.asarray(each).astype("float64") for each in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1), err_msg=what)


# Height, width, window, strides, padding.
POOLS = [
    (8, 8, (3, 3), (2, 2), ((1, 1), (1, 1))),
    (7, 9, (2, 3), (3, 2), ((0, 0), (1, 0))),
    (9, 9, (3, 3), (1, 1), "same"),
    (9, 10, (2, 2), (3, 4), "valid"),
]


def check_pooling(height, width, *arguments):
    """Many maxima are equal here: the gradient goes to the first."""
    import jax

    from blocks.ops.pooling import pool

    window, strides, padding = arguments
    images = np.maximum(DRAW.integers(-3, 4, (2, height, width, 3)), 0).astype("float32")
    sides = padding.upper() if isinstance(padding, str) else ((0, 0), *padding, (0, 0))

    def definition(images):
        return jax.lax.reduce_window(images, -np.inf, jax.lax.max, (1, *window, 1), (1, *strides, 1), sides)

    results = []
    for function in (lambda images: pool("max", images, *arguments), definition):
        outputs, backward = jax.vjp(function, images)
        results.append((outputs, backward(np.cos(np.arange(outputs.size, dtype="float32")).reshape(outputs.shape))[0]))
    for actual, expected in zip(*results, strict=True):
        close(actual, expected, 1e-6, f"pooling {arguments}")


def check_padding(size, strides, groups, data_format):
    """Zeros that the convolution adds by itself, against zeros that are written."""
    import jax

    from blocks.ops.grouped_conv import grouped_convolution

    first = data_format == "channels_first"
    images = DRAW.standard_normal((2, 8, size, 9) if first else (2, size, 9, 8)).astype("float32")
    kernel, sides = DRAW.standard_normal((3, 2, 8 // groups, 8)).astype("float32"), ((0, 1), (2, 1))

    def padded(images, kernel):
        around = ((0, 0), (0, 0), *sides) if first else ((0, 0), *sides, (0, 0))
        return grouped_convolution(jax.numpy.pad(images, around), kernel, strides, "valid", data_format=data_format)

    def own(images, kernel):
        return grouped_convolution(images, kernel, strides, sides, data_format=data_format)

    results = []
    for function in (own, padded):
        outputs, backward = jax.vjp(function, images, kernel)
        results.append((outputs, *backward(jax.numpy.cos(outputs))))
    for actual, expected in zip(*results, strict=True):
        close(actual, expected, 1e-5, f"padding of {(size, strides, groups, data_format)}")


def check_layer():
    """A mask is Keras's business; gradients can be differentiated again; frozen statistics stay."""
    import jax

    import blocks

    inputs, mask = DRAW.standard_normal((4, 6, 7)).astype("float32"), np.tile(np.arange(6) < 4, (4, 1))
    ours, theirs = blocks.BatchNormalization(), keras.layers.BatchNormalization()
    close(ours(inputs, training=True, mask=mask), theirs(inputs, training=True, mask=mask), 1e-5, "masked")
    layer = blocks.BatchNormalization(activation="silu", scale=False)
    layer.build((None, 5, 6))
    images, before = DRAW.standard_normal((4, 5, 6)).astype("float32"), layer.get_weights()
    layer.statistics_frozen = True
    layer(images, training=True)
    layer.statistics_frozen = False
    layer(images[:0], training=True)
    for actual, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)

    def slope(images):
        call = lambda images: layer.stateless_call(*values, images, training=True)[0].sum() ** 2  # noqa: E731
        return (jax.grad(call)(images) ** 2).sum()

    results = []
    for is_for_jax in (batch_norm._is_for_jax, lambda inputs: False):
        batch_norm._is_for_jax = is_for_jax
        values = (
            [each.value for each in layer.trainable_variables],
            [each.value for each in layer.non_trainable_variables],
        )
        results.append(jax.grad(slope)(images))
    close(*results, 1e-3, "second derivative")


if __name__ == "__main__":
    for case in CASES:
        check(*case)
    for case in POOLS:
        check_pooling(*case)
    for case in itertools.product((9, 20), (1, 2), (1, 2, 8), ("channels_last",)):
        check_padding(*case)
    check_padding(9, 2, 1, "channels_first")
    check_layer()
    print("all is the definition")
