"""Grouped convolution and batch normalisation written out plainly, to hold the layers against."""

import tensorflow as tf


def sides(padding, size, kernel, stride, dilation) -> tuple[int, int]:
    """Zeros before and after one axis: TensorFlow's definition of "same" and "valid", or the given ones."""
    extent = (kernel - 1) * dilation + 1
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    return padding


def dense_convolution(images, kernel, strides, dilation):
    """Unpadded convolution, one product for each tap of the kernel."""
    height = (images.shape[1] - (kernel.shape[0] - 1) * dilation[0] - 1) // strides[0] + 1
    width = (images.shape[2] - (kernel.shape[1] - 1) * dilation[1] - 1) // strides[1] + 1
    total = 0
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            top, left = row * dilation[0], column * dilation[1]
            seen = images[:, top :: strides[0], left :: strides[1]][:, :height, :width]
            total += tf.einsum("bhwc,cf->bhwf", seen, kernel[row, column])
    return total


def grouped_convolution(images, kernel, strides, padding, dilation):
    """Split the input channels, convolve each group with its filters, concatenate."""
    groups = images.shape[-1] // kernel.shape[2]
    axes = (padding, padding) if isinstance(padding, str) else padding
    margins = [sides(*axis) for axis in zip(axes, images.shape[1:3], kernel.shape[:2], strides, dilation, strict=True)]
    images = tf.pad(images, ((0, 0), *margins, (0, 0)))
    parts = zip(tf.split(images, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    return tf.concat([dense_convolution(part, weights, strides, dilation) for part, weights in parts], axis=-1)
