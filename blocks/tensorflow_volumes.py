"""Grouped 3-D convolution from TensorFlow's dense one: on a CPU it has no grouped kernel."""

import tensorflow as tf

from blocks.arguments import Padding, divisors
from blocks.tensorflow_formulations import merge_groups, spread
from blocks.tensorflow_ops import device_kind, in_xla, native_gradients

# Input channels of a convolution that neighbouring groups are merged into. Forward and backward pass of a 3x3x3
# convolution at 4 x 12 x 12 x 12 positions in float32, in ms, by this number (2 cores, oneDNN; bfloat16 alike):
#   channels, groups       unmerged     8    16    32    64   128
#   64, 64                        -   9.7   8.1  10.2  15.7
#   64, 16                     15.3  11.3   8.9  12.6  19.5
#   128, 32                    25.6  17.0  13.2  18.4  34.5  57.1
#   128, 8                        -     -  15.6  21.3  32.6  61.4
MERGED_CHANNELS = 16


def convolve(inputs, kernel, strides, padding: Padding, dilation, *, implementation: str | None = None):
    """Grouped 3-D convolution of `inputs` (B, D, H, W, C) with `kernel` (kd, kh, kw, C / groups, filters).

    Args:
        strides, dilation: one number for each axis.
        padding: "same", "valid" or ((front, back), (top, bottom), (left, right)) in voxels of zeros.
        implementation: "split" has one convolution for each group, "merge" (and None) one for as many neighbouring
            groups as have 16 channels together, "native" one for all, which TensorFlow refuses on a CPU outside XLA
            where there is more than one group.

    Returns (B, D', H', W', filters).
    Raises ValueError where `implementation` can't compute this convolution.
    """
    groups, channels = inputs.shape[-1] // kernel.shape[-2], kernel.shape[-2]
    merged = {"native": groups, "split": 1}.get(implementation, _merged_groups(groups, channels))
    if implementation == "native" and groups > 1 and device_kind() == "CPU" and not in_xla():
        _refuse(implementation, "TensorFlow has no 3-D convolution in groups on a CPU")
    if implementation == "merge" and merged == 1:
        _refuse(
            implementation, f"no neighbours among {groups} groups have {MERGED_CHANNELS} channels or fewer together"
        )
    inputs, padding = _apply_padding(inputs, kernel.shape[:3], strides, padding, dilation)
    if tuple(kernel.shape[:3]) == (1, 1, 1) and max(strides) > 1:
        # As in 2-D, where oneDNN's gradient of a strided pointwise convolution leaves its memory.
        inputs, strides = inputs[:, :: strides[0], :: strides[1], :: strides[2]], (1, 1, 1)
    if max(dilation) > 1 and not native_gradients(inputs.dtype.name):
        kernel, dilation = spread(kernel, dilation), (1, 1, 1)
    if implementation != "native":
        kernel = merge_groups(kernel, groups, merged)
    return _split_convolve(inputs, kernel, (1, *strides, 1), padding, (1, *dilation, 1), groups // merged)


def _split_convolve(inputs, kernel, strides, padding: str, dilation, parts: int):
    """One convolution for each of `parts` slices of the channels."""
    if parts == 1:
        return tf.nn.conv3d(inputs, kernel, strides, padding, dilations=dilation)
    pairs = zip(tf.split(inputs, parts, axis=-1), tf.split(kernel, parts, axis=-1), strict=True)
    return tf.concat([tf.nn.conv3d(part, own, strides, padding, dilations=dilation) for part, own in pairs], axis=-1)


def _apply_padding(inputs, kernel_size, strides, padding: Padding, dilation):
    """`inputs` padded as far as needed, and the name of TensorFlow's padding that does the rest."""
    if isinstance(padding, str):
        return inputs, padding.upper()
    margins = [(taps - 1) * step for taps, step in zip(kernel_size, dilation, strict=True)]
    if max(strides) == 1 and padding == tuple((margin // 2, margin - margin // 2) for margin in margins):
        return inputs, "SAME"
    # PadV2, because Pad makes TensorFlow 2.21's graph optimiser give up ("remapper failed") on the gradient: it fuses
    # padding into the convolution and then looks for it.
    margins = ((0, 0), *padding, (0, 0))
    return tf.raw_ops.PadV2(input=inputs, paddings=margins, constant_values=tf.zeros((), inputs.dtype)), "VALID"


def _refuse(implementation: str, reason: str) -> None:
    raise ValueError(f"implementation={implementation!r} can't be used here: {reason}. None chooses one that can.")


def _merged_groups(groups: int, channels: int) -> int:
    """How many neighbouring groups of `channels` each to merge: a divisor of `groups`."""
    return max(d for d in divisors(groups) if d == 1 or d * channels <= MERGED_CHANNELS)
