"""Types that the signatures of blocks are written with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import keras

Shape: TypeAlias = tuple[int | None, ...]  # None is an axis whose size is not known yet
Activation: TypeAlias = str | Callable[[Any], Any] | None  # Keras's name, a function of a tensor, or none


Initializer: TypeAlias = str | dict[str, Any] | Callable[..., Any]  # as Keras's layers take them
Regularizer: TypeAlias = str | dict[str, Any] | Callable[[Any], Any] | None
Constraint: TypeAlias = str | dict[str, Any] | Callable[[Any], Any] | None

if TYPE_CHECKING:
    LayerMixin = keras.Layer  # the base of what is mixed with a layer of Keras, which comes after it
    OptimizerMixin = keras.Optimizer  # and with an optimizer
else:
    LayerMixin = OptimizerMixin = object


class Tensor(Protocol):
    """What Keras's symbolic tensors, its variables, every backend's tensors and numpy's arrays have in common."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...

    def __add__(self, other: Any, /) -> Any: ...

    def __sub__(self, other: Any, /) -> Any: ...

    def __mul__(self, other: Any, /) -> Any: ...

    def __truediv__(self, other: Any, /) -> Any: ...
