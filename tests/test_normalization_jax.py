"""Batch normalisation on Keras's JAX backend: its gradient against that of the plain definition in float64.

Run as a program, this file is the other side: `KERAS_BACKEND=jax python tests/test_normalization_jax.py`.
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


if __name__ == "__main__":
    for case in CASES:
        check(*case)
    print("all is the definition")
