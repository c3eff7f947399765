"""Operations on whole images under TensorFlow: by our kernels where they can be used, else by its own operations."""

import tensorflow as tf

from blocks.ops.tensorflow.activations import FUSED, finish
from blocks.ops.tensorflow.graph import behind_convolution
from blocks.ops.tensorflow.runtime import exporting, fits, kernels


def known_shape(images):
    """The shape of `images` for tf.reshape: as numbers, one of which may be -1, or else as a tensor."""
    sizes = [-1 if size is None else size for size in images.shape]
    return sizes if sizes.count(-1) < 2 else tf.shape(images)


def shuffle(parts: list, groups: int, pieces: int = 1) -> list:
    """Channel shuffle of the concatenation of `parts`, (B, H, W, C_i) each, in `pieces` of equal size."""
    operations = kernels()
    if operations and parts[0].dtype in (tf.float32, tf.bfloat16):
        return operations.blocks_shuffle(parts, M=pieces, groups=groups)
    images = tf.concat(parts, axis=-1) if len(parts) > 1 else parts[0]
    channels = images.shape[-1]
    mixed = tf.transpose(tf.reshape(images, (-1, groups, channels // groups)), (0, 2, 1))
    mixed = tf.reshape(mixed, known_shape(images))
    return tf.split(mixed, pieces, axis=-1) if pieces > 1 else [mixed]


def image_mean(inputs) -> tuple:
    """Mean of `inputs` (B, H, W, C) over the image, (B, 1, 1, C), and the inputs, to be used from here on."""
    operations = kernels()
    if fits(operations, inputs):
        return tuple(operations.blocks_image_means(inputs))
    return tf.reduce_mean(inputs, axis=(1, 2), keepdims=True), inputs


def gate(inputs, gates):
    """`inputs` (B, H, W, C) times `gates` (B, 1, 1, C)."""
    operations = kernels()
    return operations.blocks_gate(inputs, gates) if fits(operations, inputs) else inputs * gates


def fused_normalize(inputs, scale, offset, mean, variance, *, epsilon, rate, training, activation=None, residual=None):
    """activation(batch normalisation of `inputs` + residual), inputs (B, H, W, C), the statistics (C,) in float32.

    Returns the outputs and, when training, mean and (unbiased) variance moved towards the batch's by `rate`; None
    for both otherwise.
    """
    operations = kernels()
    if fits(operations, inputs):
        residuals = [] if residual is None else [residual]
        derivable = residual is None or activation in (None, "linear", "relu", "relu6")
        fused = activation if activation in FUSED and derivable else ""
        rest = None if fused else activation
        if training:
            y, moved_mean, moved_variance, _, _ = operations.blocks_norm_train(
                inputs, scale, offset, mean, variance, residuals, epsilon=epsilon, rate=rate, activation=fused
            )
            return finish(y, None, rest, None), moved_mean, moved_variance
        slope = scale * tf.math.rsqrt(variance + epsilon)
        y = operations.blocks_affine(inputs, slope, offset - mean * slope, residuals, activation=fused)
        return finish(y, None, rest, None), None, None
    if not training and exporting() and not behind_convolution(inputs):
        # One operator, with a scale for each channel: LiteRT takes a normalisation apart, into a product and a sum that
        # are each rounded to int8.
        slope = scale * tf.math.rsqrt(variance + epsilon)
        kernel = tf.cast(tf.reshape(slope, (1, 1, inputs.shape[-1], 1)), inputs.dtype)
        y = tf.nn.depthwise_conv2d(inputs, kernel, (1, 1, 1, 1), "VALID")
        return finish(y, offset - mean * slope, activation, residual), None, None
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        exponential_avg_factor=rate if training else 1.0,
        is_training=training,
    )
    y = finish(outputs.y, None, activation, residual)
    if not training:
        return y, None, None
    empty = tf.equal(tf.size(inputs), 0)  # of which TensorFlow's statistics are NaN
    return y, tf.where(empty, mean, outputs.batch_mean), tf.where(empty, variance, outputs.batch_variance)
