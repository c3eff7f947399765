"""Layer normalisation under TensorFlow by our kernels."""

from collections.abc import Collection

import tensorflow as tf

from blocks.ops.tensorflow.runtime import fits, kernels


def has_kernel(inputs: tf.Tensor, axes: Collection[int]) -> bool:
    """Whether our kernels are there and normalise `inputs` (B, ...) over `axes`."""
    return set(axes) == {len(inputs.shape) - 1} and inputs.shape[-1] is not None and fits(kernels(), inputs)


def normalize(inputs: tf.Tensor, gamma: tf.Tensor | None, beta: tf.Tensor | None, epsilon: float) -> tf.Tensor:
    """Over the last axis, with gamma and beta (C,) in float32, whatever the type of the inputs."""
    channels = inputs.shape[-1]
    gamma = tf.ones((channels,)) if gamma is None else tf.cast(gamma, tf.float32)
    beta = tf.zeros((channels,)) if beta is None else tf.cast(beta, tf.float32)
    return kernels().blocks_layer_norm(inputs, gamma, beta, epsilon=epsilon)[0]
