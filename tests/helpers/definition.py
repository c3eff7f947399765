"""Grouped convolution and batch normalisation written out plainly, to hold the layers against."""

import itertools

import tensorflow as tf

from blocks import GroupedConv1D, GroupedConv2D, GroupedConv3D

LAYERS = {1: GroupedConv1D, 2: GroupedConv2D, 3: GroupedConv3D}  # by the number of axes


def zeros_around(padding, size, kernel, stride, dilation) -> tuple[int, int]:
    """Zeros before and after one axis: TensorFlow's definition of "same" and "valid", or the given ones."""
    extent = (kernel - 1) * dilation + 1
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    return padding


def dense_convolution(images, kernel, strides, dilation):
    """Unpadded convolution over any number of axes, one product for each tap of the kernel."""
    axes = list(zip(images.shape[1:-1], kernel.shape[:-2], strides, dilation, strict=True))
    sizes = [(size - (taps - 1) * step - 1) // stride + 1 for size, taps, stride, step in axes]
    total = 0
    for tap in itertools.product(*(range(taps) for taps in kernel.shape[:-2])):
        starts = [place * step for place, (_, _, _, step) in zip(tap, axes, strict=True)]
        window = [
            slice(start, start + size * stride, stride)
            for start, size, stride in zip(starts, sizes, strides, strict=True)
        ]
        total += tf.einsum("...c,cf->...f", images[:, *window], kernel[tap])
    return total


def grouped_convolution(images, kernel, strides, padding, dilation):
    """Split the input channels, convolve each group with its filters, concatenate.

    `kernel` is one tensor for equal groups, as the layers hold it, or a list with the kernel of each group.
    """
    if isinstance(kernel, (list, tuple)):
        kernels = kernel
    else:
        kernels = tf.split(kernel, images.shape[-1] // kernel.shape[-2], axis=-1)
    axes = (padding,) * len(strides) if isinstance(padding, str) else padding
    axes = zip(axes, images.shape[1:-1], kernels[0].shape[:-2], strides, dilation, strict=True)
    images = tf.pad(images, ((0, 0), *(zeros_around(*axis) for axis in axes), (0, 0)))
    parts = zip(tf.split(images, [each.shape[-2] for each in kernels], axis=-1), kernels, strict=True)
    return tf.concat([dense_convolution(part, weights, strides, dilation) for part, weights in parts], axis=-1)
