"""Grouped convolution as a function, on every backend of Keras."""

import keras
from keras import ops

from blocks.arguments import Padding


def grouped_convolution(
    inputs, kernel, strides=(1, 1), padding: Padding = "valid", dilation_rate=(1, 1), data_format: str = "channels_last"
):
    """Convolve each of `groups` equal slices of the input channels with filters of its own.

    Args:
        inputs: (B, H, W, C), or (B, C, H, W) with "channels_first".
        kernel: (kh, kw, C / groups, filters), as `keras.layers.Conv2D(groups=)` holds it; its third axis says how
            many groups there are. The first filters / groups outputs see the first C / groups inputs, and so on.
        strides, dilation_rate: pairs, (height, width).
        padding: "same", "valid" or ((top, bottom), (left, right)) in pixels of zeros.

    Returns:
        (B, H', W', filters), or (B, filters, H', W').

    Source: Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, section 3.5.
    """
    first = data_format == "channels_first"
    if keras.backend.backend() == "tensorflow":
        from blocks.tensorflow_ops import convolve

        # CPU kernels take channels last only; on a GPU the graph optimiser cancels these transpositions.
        inputs = ops.transpose(inputs, (0, 2, 3, 1)) if first else ops.convert_to_tensor(inputs)
        outputs = convolve(inputs, ops.convert_to_tensor(kernel), strides, padding, dilation_rate)
        return ops.transpose(outputs, (0, 3, 1, 2)) if first else outputs
    if not isinstance(padding, str):
        inputs = ops.pad(inputs, ((0, 0), (0, 0), *padding) if first else ((0, 0), *padding, (0, 0)))
        padding = "valid"
    return ops.conv(inputs, kernel, strides, padding, data_format, dilation_rate)
