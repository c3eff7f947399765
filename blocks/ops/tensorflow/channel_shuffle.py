"""Channel shuffle under TensorFlow: by our kernels where they can be used, else by its own operations."""

from collections.abc import Sequence

import tensorflow as tf

from blocks.ops.tensorflow.runtime import kernels


def shuffle(parts: Sequence[tf.Tensor], groups: int, num_outputs: int = 1) -> list[tf.Tensor]:
    """Channel shuffle of the concatenation of `parts`, (B, H, W, C_i) each, in `num_outputs` of equal size."""
    operations = kernels()
    if operations and parts[0].dtype in (tf.float32, tf.bfloat16):
        return operations.blocks_shuffle(parts, M=num_outputs, groups=groups)
    images = tf.concat(parts, axis=-1) if len(parts) > 1 else parts[0]
    channels = images.shape[-1]
    mixed = tf.transpose(tf.reshape(images, (-1, groups, channels // groups)), (0, 2, 1))
    mixed = tf.reshape(mixed, _known_shape(images))
    return tf.split(mixed, num_outputs, axis=-1) if num_outputs > 1 else [mixed]


def _known_shape(images: tf.Tensor) -> list[int] | tf.Tensor:
    """The shape of `images` for tf.reshape: as numbers, one of which may be -1, or else as a tensor."""
    sizes = [-1 if size is None else size for size in images.shape]
    return sizes if sizes.count(-1) < 2 else tf.shape(images)
