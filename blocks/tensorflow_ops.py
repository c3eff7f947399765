"""The operations that TensorFlow does faster, or differently, than Keras asks it to."""

import functools

import tensorflow as tf

from blocks.arguments import Padding

# oneDNN's convolution rearranges its filters at every call: 10 ms for 2048 x 1024 of them, against 2 ms for the whole
# product with 64 rows (float32, 2 cores). From 8 x 8 positions on the two take equally long, and what optimises
# graphs for inference knows convolutions better.
FEW_POSITIONS = 64


@functools.cache
def native_gradients(dtype: str) -> bool:
    """Whether the default device differentiates grouped and dilated convolutions of `dtype`.

    On a CPU only oneDNN has those kernels, in float32, bfloat16 and float16; TF_ENABLE_ONEDNN_OPTS=0 and some
    builds switch it off. Tried on a tiny convolution, once a process and type: no public setting tells.
    """
    with tf.init_scope():  # out of any graph being built; tapes do not record here, so the gradient's own operation
        try:
            tf.raw_ops.Conv2DBackpropFilter(
                input=tf.ones((1, 5, 5, 4), dtype),
                filter_sizes=(3, 3, 2, 4),
                out_backprop=tf.ones((1, 5, 5, 4), dtype),
                strides=(1, 1, 1, 1),
                padding="SAME",
                dilations=(1, 2, 2, 1),
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def convolve(inputs, kernel, strides, padding: Padding, dilation):
    """Grouped 2-D convolution of `inputs` (B, H, W, C) with `kernel` (kh, kw, C / groups, filters).

    `tf.nn.conv2d` itself: Keras would compile the operation with XLA, whose grouped gradient is hundreds of times
    slower on a CPU. Explicit padding is applied first, because it keeps oneDNN from taking the gradient.
    """
    inputs, padding = apply_padding(inputs, kernel.shape[:2], strides, padding, dilation)
    groups = inputs.shape[-1] // kernel.shape[2]
    if tuple(kernel.shape[:2]) == (1, 1):
        if max(strides) > 1:
            # Of a strided pointwise convolution oneDNN computes the filter gradient beyond the end of its memory:
            # TensorFlow 2.21 crashes at 12 x 12 pixels, among other sizes.
            inputs, strides = inputs[:, :: strides[0], :: strides[1]], (1, 1)
        if groups == 1 and _few_positions(inputs.shape):
            return _pointwise(inputs, kernel)
    if (groups == 1 and tuple(dilation) == (1, 1)) or native_gradients(inputs.dtype.name):
        return tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilation)
    return _split_convolve(inputs, _spread(kernel, dilation), strides, padding, groups)


def _few_positions(shape) -> bool:
    """Whether images have so few positions that a pointwise convolution is faster as a matrix product."""
    height, width = shape[1:3]
    return None not in (height, width) and height * width <= FEW_POSITIONS


def _pointwise(inputs, kernel):
    """A dense 1x1 convolution as a matrix product over all positions."""
    batch, (height, width, channels) = tf.shape(inputs)[0], inputs.shape[1:]
    outputs = tf.matmul(tf.reshape(inputs, (-1, channels)), tf.reshape(kernel, (channels, -1)))
    return tf.reshape(outputs, (batch, height, width, kernel.shape[-1]))


def apply_padding(inputs, kernel_size, strides, padding: Padding, dilation=(1, 1)):
    """`inputs` padded as far as needed, and the name of TensorFlow's padding that does the rest."""
    if isinstance(padding, str):
        return inputs, padding.upper()
    if not any(padding[0]) and not any(padding[1]):
        return inputs, "VALID"
    axes = zip(inputs.shape[1:3], kernel_size, strides, dilation, strict=True)
    if padding == tuple(_same(*axis) for axis in axes):
        return inputs, "SAME"  # the same zeros, without a copy of the tensor
    return tf.pad(inputs, ((0, 0), *padding, (0, 0))), "VALID"


def _same(size, kernel: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """What "SAME" pads before and after an axis of `size`; None where it depends on an unknown size."""
    extent = (kernel - 1) * dilation + 1
    if stride == 1:
        total = extent - 1
    elif size is None:
        return None
    else:
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def _split_convolve(inputs, kernel, strides, padding: str, groups: int):
    """The fall-back: one convolution a group, concatenated; depthwise ones have a kernel of their own."""
    if groups == inputs.shape[-1] and strides[0] == strides[1]:
        height, width, _, filters = kernel.shape
        depthwise = tf.reshape(kernel, (height, width, groups, filters // groups))
        return tf.nn.depthwise_conv2d(inputs, depthwise, (1, *strides, 1), padding)
    parts = zip(tf.split(inputs, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(part, weights, strides, padding) for part, weights in parts], axis=-1)


def _spread(kernel, dilation):
    """`kernel` with the zeros between its taps written out: Eigen has no gradient of a dilated convolution."""
    for axis, step in enumerate(dilation):
        if step > 1 and kernel.shape[axis] > 1:
            taps = tf.split(kernel, kernel.shape[axis], axis=axis)
            gap = tf.zeros_like(tf.repeat(taps[0], step - 1, axis=axis))
            kernel = tf.concat([taps[0], *(piece for tap in taps[1:] for piece in (gap, tap))], axis=axis)
    return kernel


def fused_normalize(inputs, scale, offset, mean, variance, *, epsilon: float, rate: float, training: bool):
    """Batch normalisation of `inputs` (B, H, W, C) in one kernel; the statistics (C,) are float32.

    Returns the outputs and, when training, mean and (unbiased) variance moved towards the batch's by `rate`.
    """
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
    return outputs.y, outputs.batch_mean, outputs.batch_variance
