"""What takes the place of a layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from blocks.conversion.calls import Calls


@dataclass(frozen=True)
class Replacement:
    """What takes the place of an operation: `before`, then `layer`, then the sum with its residual, then `behind`.

    layer: has the weights of the old one; None where the neighbours or a function compute all of it.
    function: in place of a layer, called as the old one is; only a graph can hold it, as functions in the next two.
    before, behind: layers, or functions of a tensor.
    adds: whether a residual that the old layer was called with is added by an `Add` layer.

    Example:
        >>> from blocks.conversion.replacement import Replacement
        >>> Replacement(keras.layers.Conv2D(8, 3), before=(keras.layers.ZeroPadding2D(1),)).alone
        False
    """

    layer: keras.Operation | None = None
    before: tuple[Callable[[Any], Any], ...] = ()
    behind: tuple[Callable[[Any], Any], ...] = ()
    adds: bool = False
    function: Callable[..., Any] | None = None

    @property
    def alone(self) -> bool:
        """Whether one layer takes the place, so that an attribute can hold it."""
        return self.layer is not None and not self.before and not self.behind


@dataclass(frozen=True)
class Joined:
    """Two neighbours of which one, the `absorbed`, is computed by the other, `by`; and what takes their places."""

    absorbed: keras.Operation
    by: keras.Operation
    replacements: dict[keras.Operation, Replacement]


class Direction(Protocol):
    """Which layers are exchanged for which."""

    def joined(self, calls: Calls) -> list[Joined]:
        """Neighbours in a graph that are exchanged together."""

    def exchanged(self, layer: keras.Layer, calls: Calls | None) -> Replacement | str | None:
        """What takes the place of `layer`; the reason why nothing does; or None for a layer that is none of these.

        calls: of the graph that holds it; None for a layer that an attribute holds.
        """
