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

    Example:
        >>> from blocks.layers.initializers import without_random_numbers
        >>> images = keras.Input((32, 32, 3))
        >>> with without_random_numbers():
        ...     model = keras.Model(images, blocks.convolution(images, 8, 3, name="stem"))
        >>> float(np.abs(model.get_layer("stem").kernel).max())
        0.0
    """
    token = _zeros.set(True)
    try:
        yield
    finally:
        _zeros.reset(token)


@keras.saving.register_keras_serializable(package="blocks")
class Normal(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal`, except inside `without_random_numbers`.

    Called with the shape of a weight. Raises TypeError for a type that is not of floats.

    Example:
        >>> from blocks.layers.initializers import Normal
        >>> values = np.asarray(Normal(stddev=0.01, seed=0)((100, 100)))
        >>> values.shape, round(float(values.std()), 3)
        ((100, 100), 0.01)
    """

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        if _zeros.get():
            return ops.zeros(shape, dtype=dtype or keras.config.floatx())
        return super().__call__(shape, dtype=dtype)
