"""Activations by themselves, and scales of channels, on every backend."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from blocks.ops.activations import named_activation
from blocks.typing import Tensor


def activate(inputs: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """`function` of `inputs` (any shape): under TensorFlow by our kernels where they have it, else as it is.

    Example:
        >>> from blocks.ops.elementwise import activate
        >>> np.round(activate(np.array([-1.0, 0.0, 1.0], "float32"), keras.activations.gelu), 4)
        array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    name = named_activation(function)
    if name is None or keras.backend.backend() != "tensorflow":
        return function(inputs)
    from blocks.ops.tensorflow import elementwise as own

    return own.activate(ops.convert_to_tensor(inputs), name)


def scale_channels(inputs: Tensor, scale: Tensor) -> Tensor:
    """`inputs` (B, ..., C) times `scale` (C,), of the inputs' type.

    Example:
        >>> from blocks.ops.elementwise import scale_channels
        >>> np.ravel(scale_channels(np.array([[1.0, 20.0]], "float32"), np.array([2.0, 0.5], "float32")))
        array([ 2., 10.], dtype=float32)
    """
    inputs, scale = ops.convert_to_tensor(inputs), ops.convert_to_tensor(scale)
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import elementwise as own

        return own.scale_channels(inputs, scale)
    return inputs * ops.cast(scale, inputs.dtype)
