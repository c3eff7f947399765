"""Batch normalisation under TensorFlow: by our kernels, in the form that exports need, or by its own operation."""

import tensorflow as tf

from blocks.ops.tensorflow.epilogue import FUSED, epilogue
from blocks.ops.tensorflow.graph import behind_convolution
from blocks.ops.tensorflow.runtime import exporting, fits, kernels


def fused_normalize(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    epsilon: float,
    rate: float,
    training: bool | None,
    activation: str | None = None,
    residual: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
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
            return epilogue(y, None, rest, None), moved_mean, moved_variance
        slope = scale * tf.math.rsqrt(variance + epsilon)
        y = operations.blocks_affine(inputs, slope, offset - mean * slope, residuals, activation=fused)
        return epilogue(y, None, rest, None), None, None
    if not training and exporting() and not behind_convolution(inputs):
        # One operator, with a scale for each channel: LiteRT takes a normalisation apart, into a product and a sum that
        # are each rounded to int8.
        slope = scale * tf.math.rsqrt(variance + epsilon)
        kernel = tf.cast(tf.reshape(slope, (1, 1, inputs.shape[-1], 1)), inputs.dtype)
        y = tf.nn.depthwise_conv2d(inputs, kernel, (1, 1, 1, 1), "VALID")
        return epilogue(y, offset - mean * slope, activation, residual), None, None
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
    y = epilogue(outputs.y, None, activation, residual)
    if not training:
        return y, None, None
    empty = tf.equal(tf.size(inputs), 0)  # of which TensorFlow's statistics are NaN
    return y, tf.where(empty, mean, outputs.batch_mean), tf.where(empty, variance, outputs.batch_variance)
