"""Random inputs as tensors, gradients, and what a traced function consists of."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def drawn(*shape: int, dtype: str = "float32", scale: float = 1.0, seed: int = 0) -> tf.Tensor:
    return tf.cast(tf.constant(np.random.default_rng(seed).standard_normal(shape) * scale), dtype)


def exact(shape: tuple[int, ...], dtype: str, seed: int = 0) -> tf.Tensor:
    """Random numbers that `dtype` holds exactly, as float64."""
    values = np.random.default_rng(seed + sum(shape)).standard_normal(shape)
    return tf.cast(tf.cast(values, dtype), "float64")


def gradients(function: Callable, tensors: list, weights: tf.Tensor | None = None) -> list:
    """Outputs of `function()`, and the gradients of their sum with `weights`.

    Without `weights` the outputs count from -3 to 3 in turn, so that no symmetry hides an error.
    """
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function()
        if weights is None:
            weights = tf.reshape(tf.cast(tf.range(tf.size(outputs)) % 7 - 3, outputs.dtype), tf.shape(outputs))
        total = tf.reduce_sum(tf.cast(outputs, weights.dtype) * weights)
    return [outputs, *tape.gradient(total, tensors)]


def values_and_gradients(function: Callable, *tensors, weights: tf.Tensor | None = None) -> list:
    """The same of `function(*tensors)`."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    return gradients(lambda: function(*tensors), tensors, weights)


def operation_types(function: Callable, *arguments) -> set[str]:
    """The types of the operations in the traced function."""
    traced = tf.function(function, jit_compile=False)
    return {operation.type for operation in traced.get_concrete_function(*arguments).graph.get_operations()}


def with_second_derivatives(function, watched):
    """What `function()` returns, a tensor, the gradients of its squares, and of the squares of those gradients."""
    with tf.GradientTape() as outer:
        outer.watch(watched)
        with tf.GradientTape() as inner:
            inner.watch(watched)
            outputs = function()
            total = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
        gradients = inner.gradient(total, watched)
        size = sum(tf.reduce_sum(tf.cast(gradient, "float32") ** 2) for gradient in gradients)
    return [outputs, *gradients, *outer.gradient(size, watched)]
