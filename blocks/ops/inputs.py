"""Inputs of functions and layers in a type that they compute in."""

import keras
from keras import ops

from blocks.typing import Tensor


def real(value: Tensor, dtype: str) -> Tensor:
    """`value` in `dtype` where it is a tensor of integers or booleans; floats, and what is no tensor, stay as they are.

    Raises ValueError for complex numbers and strings.

    Example:
        >>> from blocks.ops.inputs import real
        >>> real(np.array([0, 255], "uint8"), "float32").numpy()
        array([  0., 255.], dtype=float32)
    """
    if not hasattr(value, "dtype"):
        return value
    own = keras.backend.standardize_dtype(value.dtype)
    if keras.backend.is_float_dtype(own):
        return value
    if own == "bool" or keras.backend.is_int_dtype(own):
        return ops.cast(value, dtype)
    raise ValueError(f"Inputs of type {own} are not allowed: give floats, integers or booleans, {dtype} for instance.")
