"""Inputs that TensorFlow's operations answer wrongly or not at all: images smaller than a window, empty batches."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from blocks.ops.geometry import Padding
from blocks.ops.tensorflow.runtime import device_kind, exporting, in_xla, kernels


def checked_sizes(images: tf.Tensor, extents: Sequence[int], padding: Padding, first: int = 1) -> tf.Tensor:
    """`images`, those of dynamic size once they turn out as large as a window: TensorFlow makes none of smaller ones.

    `extents` are those of the window, dilation included, over the axes from number `first` on. The graph raises
    InvalidArgumentError.
    """
    sizes = images.shape[first : first + len(extents)]
    if padding == "same" or None not in sizes or in_xla() or exporting():
        return images
    checks = []
    sides = ((0, 0),) * len(extents) if isinstance(padding, str) else padding
    for axis, (size, extent, axis_padding) in enumerate(zip(sizes, extents, sides, strict=True), start=first):
        min_size = extent - sum(axis_padding)
        if size is None and min_size > 1:
            message = f"The inputs are smaller than the window of {' x '.join(map(str, extents))}: axis {axis} has"
            message += f" to be {min_size} or more"
            checks.append(tf.debugging.assert_greater_equal(tf.shape(images)[axis], min_size, message))
    with tf.control_dependencies(checks):
        return tf.identity(images) if checks else images


def never_empty(compute: Callable[..., tf.Tensor], *images: tf.Tensor) -> tf.Tensor:
    """`compute(*images)`, images (B, ..., C), which never sees a batch of none: it gets an image of zeros then.

    TensorFlow's convolutions on oneDNN return their inputs for an empty batch, and for the gradient of the weights what
    the memory holds. With our kernels this costs nothing; a program that is exported has TensorFlow's operations alone.
    """
    batch = images[0].shape[0]
    if batch or (batch is None and (device_kind() != "CPU" or in_xla() or exporting())):
        return compute(*images)
    operations = kernels()
    if batch is None and operations:
        batches, counts = zip(*map(operations.blocks_at_least_one, images), strict=True)
        return operations.blocks_first(compute(*batches), counts[0])
    count = tf.shape(images[0])[0] if batch is None else batch
    rest = [(0, 0)] * (len(images[0].shape) - 1)
    filled = [tf.pad(each, ((0, tf.cast(tf.equal(count, 0), tf.int32)), *rest)) for each in images]
    for each, own in zip(filled, images, strict=True):
        each.set_shape((None if batch is None else 1, *own.shape[1:]))
    computed = compute(*filled)
    outputs = tf.slice(computed, (0,) * len(computed.shape), (count, *[-1] * len(rest)))
    outputs.set_shape((batch, *computed.shape[1:]))
    return outputs
