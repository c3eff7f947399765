"""Dense layers over the channels of images."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from blocks.ops.activations import named_activation
from blocks.typing import Tensor


def is_pointwise(inputs: Tensor) -> bool:
    """Whether a dense layer is best computed as the 1x1 convolution that it is: of (B, H, W, C), by our kernels.

    Under TensorFlow Keras multiplies matrices image by image, row by row; a gradient of the weights for each of these
    is added up afterwards.

    Example:
        >>> from blocks.ops.dense import is_pointwise
        >>> is_pointwise(np.ones((2, 8), "float32"))
        False
    """
    if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4 or inputs.shape[-1] is None:
        return False
    from blocks.ops.tensorflow.runtime import fits, kernels

    return fits(kernels(), inputs)


def pointwise_dense(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None, activation: Callable[[Any], Any] | None
) -> Tensor:
    """activation(inputs @ kernel + bias), where `is_pointwise(inputs)`: (B, H, W, C) -> (B, H, W, units).

    Args:
        kernel: (C, units).
        bias: (units,) or None.

    Example:
        >>> from blocks.ops.dense import pointwise_dense
        >>> images, kernel = np.ones((1, 2, 2, 32), "float32"), np.ones((32, 3), "float32")
        >>> float(pointwise_dense(images, kernel, None, None)[0, 0, 0, 0])
        32.0
    """
    from blocks.ops.tensorflow.conv2d import convolve

    kernel = ops.reshape(kernel, (1, 1, *kernel.shape))
    bias = None if bias is None else ops.convert_to_tensor(bias)
    name = None if activation is None else named_activation(activation)
    outputs = convolve(ops.convert_to_tensor(inputs), kernel, (1, 1), "valid", (1, 1), bias=bias, activation=name)
    return outputs if name is not None or activation is None else activation(outputs)
