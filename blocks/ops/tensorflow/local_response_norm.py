"""TensorFlow's own local response normalisation: one operation in place of 14 in a graph for other runtimes."""

import tensorflow as tf

from blocks.ops.tensorflow.runtime import exporting


def has_operation(inputs: tf.Tensor, size: int) -> bool:
    """Whether it is to be used: it takes float32 images (B, H, W, C) and windows of odd size."""
    return exporting() and inputs.dtype == tf.float32 and len(inputs.shape) == 4 and size % 2 == 1


def normalize(inputs: tf.Tensor, size: int, k: float, alpha: float, beta: float) -> tf.Tensor:
    """`blocks.ops.local_response_norm.local_response_normalization` of `inputs` (B, H, W, C)."""
    return tf.nn.lrn(inputs, size // 2, k, alpha / size, beta)
