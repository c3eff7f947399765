"""The operations that TensorFlow does faster, or differently, than Keras asks it to."""

import dataclasses
import functools
from pathlib import Path

import tensorflow as tf

from blocks.kernels.build import library
from blocks.ops import implementation as formulations
from blocks.ops.arguments import Padding
from blocks.ops.exporting import is_exportable
from blocks.ops.implementation import Situation
from blocks.ops.tensorflow import conv2d as ways


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


@functools.cache
def device_kind() -> str:
    """ "GPU" where TensorFlow sees one, else "CPU"."""
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


@functools.cache
def matrix_units() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware (Intel's AMX)."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def in_xla() -> bool:
    """Whether what is traced now will be compiled by XLA."""
    from tensorflow.python.ops import control_flow_util  # nothing public tells

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def exporting() -> bool:
    """Whether what is traced now is for runtimes without our kernels: see `blocks.exportable`."""
    return is_exportable(tracing=not tf.executing_eagerly())


def kernels():
    """The operations of our kernels, where they can be used now; else None."""
    if device_kind() != "CPU" or in_xla() or exporting() or library() is None:
        return None
    import blocks.kernels.tensorflow.flops
    import blocks.kernels.tensorflow.gradients  # noqa: F401  both register what TensorFlow asks for

    return library()


def checked_sizes(images, extents, padding: Padding, first: int = 1):
    """`images`, those of an open size once they turn out as large as a window: TensorFlow makes none of smaller ones.

    `extents` are those of the window, dilation included, over the axes from number `first` on. The graph raises
    InvalidArgumentError.
    """
    sizes = images.shape[first : first + len(extents)]
    if padding == "same" or None not in sizes or in_xla() or exporting():
        return images
    checks = []
    sides = ((0, 0),) * len(extents) if padding == "valid" else padding
    for axis, (size, extent, margins) in enumerate(zip(sizes, extents, sides, strict=True), start=first):
        least = extent - sum(margins)
        if size is None and least > 1:
            message = f"The inputs are smaller than the window of {' x '.join(map(str, extents))}: axis {axis} has"
            message += f" to be {least} or more"
            checks.append(tf.debugging.assert_greater_equal(tf.shape(images)[axis], least, message))
    with tf.control_dependencies(checks):
        return tf.identity(images) if checks else images


def never_empty(compute, *images):
    """`compute(*images)`, images (B, ..., C), which never sees a batch of none: it gets an image of zeros then.

    TensorFlow's convolutions on oneDNN return their inputs for an empty batch, and for the gradient of the weights what
    the memory holds. With our kernels this costs nothing; a program that is exported has TensorFlow's operations alone.
    """
    batch = images[0].shape[0]
    if batch or (batch is None and (device_kind() != "CPU" or in_xla() or exporting())):
        return compute(*images)
    operations = kernels()
    if batch is None and operations:
        filled, counts = zip(*map(operations.blocks_at_least_one, images), strict=True)
        return operations.blocks_first(compute(*filled), counts[0])
    count = tf.shape(images[0])[0] if batch is None else batch
    rest = [(0, 0)] * (len(images[0].shape) - 1)
    filled = [tf.pad(each, ((0, tf.cast(tf.equal(count, 0), tf.int32)), *rest)) for each in images]
    for each, own in zip(filled, images, strict=True):
        each.set_shape((None if batch is None else 1, *own.shape[1:]))
    filled = compute(*filled)
    outputs = tf.slice(filled, (0,) * len(filled.shape), (count, *[-1] * len(rest)))
    outputs.set_shape((batch, *filled.shape[1:]))
    return outputs


@functools.cache
def fewest_channels() -> int:
    """The fewest channels that the depthwise and normalisation kernels take."""
    with tf.init_scope():
        return int(library().blocks_fewest_channels())


def convolve(
    inputs,
    kernel,
    strides,
    padding: Padding,
    dilation,
    *,
    bias=None,
    activation: str | None = None,
    residual=None,
    implementation: str | None = None,
):
    """activation(grouped convolution of `inputs` + bias + residual).

    Args:
        inputs: (B, H, W, C).
        kernel: (kh, kw, C / groups, filters).
        bias: (filters,) or None.
        activation: Keras's name of an elementwise activation, or None.
        residual: of the outputs' shape, or None.
        implementation: one of `formulations.NAMES`; None chooses.

    Raises:
        ValueError: where `implementation` can't compute this convolution.
    """
    formulations.check_implementation(implementation)
    extents = [(taps - 1) * step + 1 for taps, step in zip(kernel.shape[:2], dilation, strict=True)]
    inputs = checked_sizes(inputs, extents, padding)
    operations = kernels()
    height, width, inner, filters = kernel.shape
    groups = inputs.shape[-1] // inner
    sizes = inputs.shape[1:3]
    s = Situation(
        device=device_kind(),
        dtype=inputs.dtype.name,
        groups=groups,
        inputs=inner,
        outputs=filters // groups,
        kernel_size=(height, width),
        strides=tuple(strides),
        dilation=tuple(dilation) if (height, width) != (1, 1) else (1, 1),
        positions=None if None in sizes else -(-sizes[0] // strides[0]) * -(-sizes[1] // strides[1]),
        onednn=native_gradients(inputs.dtype.name),
        xla=in_xla(),
        kernels=fewest_channels() if operations else 0,
        matrix_units=matrix_units(),
        exporting=exporting(),
    )
    if s.kernels and ways.margins(padding, inputs.shape, s.kernel_size, s.strides, s.dilation) is None:
        s = dataclasses.replace(s, kernels=0)  # they must know the padding beforehand
    if implementation is None:
        name = formulations.choose(s)
    else:
        name = implementation
        reason = formulations.obstacle(name, s)
        if reason:
            raise ValueError(f"implementation={name!r} can't be used here: {reason}. None chooses one that can.")
    if name == "kernel":
        return ways.by_kernel(operations, s, inputs, kernel, padding, bias, activation, residual)

    def compute(images, *added):
        outputs = ways.convolution(name, s, images, kernel, padding)
        return tf.cast(ways.finish(outputs, bias, activation, *(added or (None,))), images.dtype)

    return never_empty(compute, *(images for images in (inputs, residual) if images is not None))


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


def fits(operations, inputs) -> bool:
    """Whether `operations`, our kernels, are there and those of whole images take `inputs` (B, H, W, C)."""
    known = operations is not None and inputs.dtype in (tf.float32, tf.bfloat16)
    return known and inputs.shape[-1] >= fewest_channels()


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


def _behind_convolution(tensor) -> bool:
    """Whether the graph being traced shows a convolution, into which converters fold a normalisation of `tensor`."""
    return not tf.executing_eagerly() and tensor.op.type in ("Conv2D", "DepthwiseConv2dNative", "BiasAdd")


def fused_normalize(inputs, scale, offset, mean, variance, *, epsilon, rate, training, activation=None, residual=None):
    """activation(batch normalisation of `inputs` + residual), inputs (B, H, W, C), the statistics (C,) in float32.

    Returns the outputs and, when training, mean and (unbiased) variance moved towards the batch's by `rate`; None
    for both otherwise.
    """
    operations = kernels()
    if fits(operations, inputs):
        residuals = [] if residual is None else [residual]
        derivable = residual is None or activation in (None, "linear", "relu", "relu6")
        fused = activation if activation in ways.FUSED and derivable else ""
        rest = None if fused else activation
        if training:
            y, moved_mean, moved_variance, _, _ = operations.blocks_norm_train(
                inputs, scale, offset, mean, variance, residuals, epsilon=epsilon, rate=rate, activation=fused
            )
            return ways.finish(y, None, rest, None), moved_mean, moved_variance
        slope = scale * tf.math.rsqrt(variance + epsilon)
        y = operations.blocks_affine(inputs, slope, offset - mean * slope, residuals, activation=fused)
        return ways.finish(y, None, rest, None), None, None
    if not training and exporting() and not _behind_convolution(inputs):
        # One operator, with a scale for each channel: LiteRT takes a normalisation apart, into a product and a sum that
        # are each rounded to int8.
        slope = scale * tf.math.rsqrt(variance + epsilon)
        kernel = tf.cast(tf.reshape(slope, (1, 1, inputs.shape[-1], 1)), inputs.dtype)
        y = tf.nn.depthwise_conv2d(inputs, kernel, (1, 1, 1, 1), "VALID")
        return ways.finish(y, offset - mean * slope, activation, residual), None, None
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
    y = ways.finish(outputs.y, None, activation, residual)
    if not training:
        return y, None, None
    empty = tf.equal(tf.size(inputs), 0)  # of which TensorFlow's statistics are NaN
    return y, tf.where(empty, mean, outputs.batch_mean), tf.where(empty, variance, outputs.batch_variance)
