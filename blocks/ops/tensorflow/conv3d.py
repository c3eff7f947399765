"""Grouped 3-D convolution from TensorFlow's dense one and our 2-D ones: on a CPU it has no grouped kernel."""

import tensorflow as tf

from blocks.ops.geometry import Padding, same_padding, sides_of
from blocks.ops.tensorflow import conv2d
from blocks.ops.tensorflow.guards import checked_sizes, never_empty
from blocks.ops.tensorflow.runtime import device_kind, in_xla, native_gradients

# Input channels of a group from which on a 3-D convolution for each group is as fast as 2-D ones over frames. Forward
# and backward pass of a 3x3x3 convolution at 4 x 12 x 12 x 12 positions, strides 1 and 2, in ms (2 busy cores, oneDNN):
#   channels, groups    frames, float32    split, float32    frames, bfloat16    split, bfloat16
#   64, 16                    6.0,  2.7        17.7, 12.3           6.9,  2.4          14.0, 13.3
#   64,  8                    7.3,  3.4         9.8,  8.1          10.1,  3.3           9.8,  7.4
#   128, 8                   34.9,  8.0        24.0, 10.5          28.5, 20.0          10.4, 20.2
SPLIT_CHANNELS = 16


def convolve(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    *,
    implementation: str | None = None,
) -> tf.Tensor:
    """Grouped 3-D convolution of `inputs` (B, D, H, W, C) with `kernel` (kd, kh, kw, C / groups, filters).

    Args:
        strides, dilation: one number for each axis.
        padding: "same", "valid" or ((front, back), (top, bottom), (left, right)) in voxels of zeros.
        implementation: "split" has one convolution for each group, "frames" a grouped 2-D one for each of the kd planes
            of the kernel, whose results are summed over the depth; None chooses of these by the channels of a group.
            "native" has one for all, which TensorFlow refuses on a CPU outside XLA where there is more than one group.

    Returns (B, D', H', W', filters).
    Raises ValueError where `implementation` can't compute this convolution.
    """
    extents = [(taps - 1) * step + 1 for taps, step in zip(kernel.shape[:3], dilation, strict=True)]
    inputs = checked_sizes(inputs, extents, padding)
    groups, channels = inputs.shape[-1] // kernel.shape[-2], kernel.shape[-2]
    if implementation == "native" and groups > 1 and device_kind() == "CPU" and not in_xla():
        raise ValueError(
            "implementation='native' can't be used here: TensorFlow has no 3-D convolution in groups on a CPU. None "
            "chooses one that can."
        )
    if implementation == "frames" or (implementation is None and groups > 1 and channels < SPLIT_CHANNELS):
        return _by_frames(inputs, kernel, strides, padding, dilation)
    kernel = tf.cast(kernel, inputs.dtype)
    inputs, padding = _apply_padding(inputs, kernel.shape[:3], strides, padding, dilation)
    if tuple(kernel.shape[:3]) == (1, 1, 1) and max(strides) > 1:
        # As in 2-D, where oneDNN's gradient of a strided pointwise convolution leaves its memory.
        inputs, strides = inputs[:, :: strides[0], :: strides[1], :: strides[2]], (1, 1, 1)
    if max(dilation) > 1 and not native_gradients(inputs.dtype.name):
        kernel, dilation = conv2d.dilate_kernel(kernel, dilation), (1, 1, 1)
    geometry = (1, *strides, 1), padding, (1, *dilation, 1), 1 if implementation == "native" else groups
    return never_empty(lambda volumes: _split_convolve(volumes, kernel, *geometry), inputs)


def _by_frames(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, ...], padding: Padding, dilation: tuple[int, ...]
) -> tf.Tensor:
    """A sum over the kernel's planes of 2-D convolutions of all frames, shifted along the depth.

    With a stride of s the frames lie in s phases, number p in phase p modulo s, and a plane sees those of one phase.
    """
    planes, stride, step = kernel.shape[0], strides[0], dilation[0]
    depth, *image = _sizes(inputs)
    if isinstance(padding, str):
        front, back = same_padding(depth, planes, stride, step) if padding == "same" else (0, 0)
    else:
        front, back = padding[0]
    outputs = (depth + front + back - (planes - 1) * step - 1) // stride + 1
    length = -(-(depth + front + back) // stride)  # of a phase
    inputs = tf.pad(inputs, ((0, 0), (front, length * stride - depth - front), (0, 0), (0, 0), (0, 0)))
    phases = tf.unstack(tf.reshape(inputs, (-1, length, stride, *image)), axis=2) if stride > 1 else [inputs]
    phases = [tf.reshape(phase, (-1, *image)) for phase in phases]
    sums = []
    for plane in range(planes):
        shift, phase = divmod(plane * step, stride)
        rest = padding if isinstance(padding, str) else padding[1:]
        frames = conv2d.convolve(phases[phase], kernel[plane], strides[1:], rest, dilation[1:])
        volumes = tf.reshape(frames, (-1, length, *_sizes(frames)))
        sums.append(tf.slice(volumes, (0, shift, 0, 0, 0), (-1, outputs, -1, -1, -1)))
    return tf.add_n(sums)


def _sizes(images: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of all axes but the batch: integers, and tensors where they are dynamic."""
    return [size if size is not None else tf.shape(images)[axis] for axis, size in enumerate(images.shape)][1:]


def _split_convolve(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, ...], padding: str, dilation: tuple[int, ...], parts: int
) -> tf.Tensor:
    """One convolution for each of `parts` slices of the channels."""
    if parts == 1:
        return tf.nn.conv3d(inputs, kernel, strides, padding, dilations=dilation)
    pairs = zip(tf.split(inputs, parts, axis=-1), tf.split(kernel, parts, axis=-1), strict=True)
    return tf.concat([tf.nn.conv3d(part, own, strides, padding, dilations=dilation) for part, own in pairs], axis=-1)


def _apply_padding(
    inputs: tf.Tensor,
    kernel_size: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> tuple[tf.Tensor, str]:
    """`inputs` padded as far as needed, and the name of TensorFlow's padding that does the rest."""
    if isinstance(padding, str):
        return inputs, padding.upper()
    if max(strides) == 1 and tuple(padding) == sides_of("same", inputs.shape[1:4], kernel_size, strides, dilation):
        return inputs, "SAME"
    # PadV2, because Pad makes TensorFlow 2.21's graph optimiser give up ("remapper failed") on the gradient: it fuses
    # padding into the convolution and then looks for it.
    paddings = ((0, 0), *padding, (0, 0))
    return tf.raw_ops.PadV2(input=inputs, paddings=paddings, constant_values=tf.zeros((), inputs.dtype)), "VALID"
