"""Initializers, and how not to draw random numbers for kernels that are about to be overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

from blocks.typing import Shape, Tensor

_zeros = ContextVar("zeros", default=False)


@contextmanager
def without_random_numbers() -> Iterator[None]:
    """Kernels of layers built inside are initialized to zeros where `Normal` would draw them.

    For networks whose weights are read from a file next: of ResNeXt-101 64x4d, it saves two thirds of the building.
    """
    token = _zeros.set(True)
    try:
        yield
    finally:
        _zeros.reset(token)


@keras.saving.register_keras_serializable(package="blocks")
class Normal(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal`, except inside `without_random_numbers`."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        if _zeros.get():
            return ops.zeros(shape, dtype=dtype or keras.config.floatx())
        return super().__call__(shape, dtype=dtype)
