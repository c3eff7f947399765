"""Pooling under TensorFlow: by our kernels, and padded for other runtimes."""

from collections.abc import Sequence

import tensorflow as tf

from blocks.ops.geometry import Padding, sides_of
from blocks.ops.tensorflow.graph import from_relu
from blocks.ops.tensorflow.runtime import exporting, fits_vectors, kernels


def pool_by_kernel(
    mode: str, inputs: tf.Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> tf.Tensor | None:
    """What `PaddedPooling2D` computes of `inputs` (B, H, W, C), by our kernels; None where they do not support it."""
    operations = kernels()
    if not fits_vectors(operations, inputs):
        return None
    sides = sides_of(padding, inputs.shape[1:3], window, strides)
    if sides is None or window[0] * window[1] > 256:
        return None  # an unknown size, or more taps than the uint8 index of the maximum can hold
    if max(sides[0]) >= window[0] or max(sides[1]) >= window[1]:
        return None  # a window may hold padding alone
    average, explicit_padding = mode == "average", (*sides[0], *sides[1])
    if average and padding == "same" and any(explicit_padding):
        return None  # which leaves padding out of the average
    return operations.blocks_pool(
        inputs, average=average, window=window, strides=strides, explicit_padding=explicit_padding
    ).y


def pad_for_max(inputs: tf.Tensor, paddings: Sequence[Sequence[int]], window: Sequence[int]) -> tf.Tensor:
    """`inputs` padded so that no maximum over `window` changes: by -inf, in exported graphs by values in their range.

    The scale of int8 is taken from all values, and -inf as padding would leave one level for all others. Behind a ReLU
    that is zeros, else rows and columns of the image that are within the window as well. A window that may hold
    padding alone has no such form: -inf.

    Args:
        paddings, window: two numbers, and one, for each axis of `inputs`.
    """
    if not exporting():
        return tf.pad(inputs, paddings, constant_values=float("-inf"))
    axes = list(zip(paddings, window, inputs.shape, strict=True))
    if any(max(sides) >= taps for sides, taps, _ in axes if any(sides)):
        return tf.pad(inputs, paddings, constant_values=float("-inf"))
    if from_relu(inputs):
        return tf.pad(inputs, paddings)
    if all(2 * max(sides) < taps and (size or 0) > max(sides) for sides, taps, size in axes if any(sides)):
        return tf.pad(inputs, paddings, "REFLECT")  # what ONNX has as well
    while any(map(any, paddings)):
        edge = [[min(pixels, 1) for pixels in sides] for sides in paddings]
        inputs = tf.pad(inputs, edge, "SYMMETRIC")  # of one pixel, which repeats the edge
        paddings = [[max(pixels - 1, 0) for pixels in sides] for sides in paddings]
    return inputs
