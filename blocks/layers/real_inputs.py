"""Integer inputs of layers and functions, which Keras does not cast."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from keras import layers, tree

from blocks.ops.inputs import real
from blocks.typing import LayerMixin


class RealInputs(LayerMixin):
    """Mixin, before the Keras class, for a layer that computes in floats whatever its inputs are.

    Keras casts inputs to the layer's compute type if they are floats, and hands on integers and booleans as they are.
    They are cast here, every tensor that `call` takes but its `mask`: uint8 images give what the same images give in
    float32. Raises ValueError for complex numbers and strings.

    Example:
        >>> image = np.full((1, 2, 2, 3), 255, "uint8")
        >>> y = blocks.GroupedConv2D(1, 1, use_bias=False, kernel_initializer="ones")(image)
        >>> float(y[0, 0, 0, 0])
        765.0
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls.call, "casts_integers"):
            cls.call = _casting(cls.call)  # type: ignore[method-assign]  # what a mixin is for


def _casting(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with its integers and booleans cast; its signature, from which Keras reads much, stays the same."""
    names = list(inspect.signature(call).parameters)[1:]
    mask = names.index("mask") if "mask" in names else None

    @functools.wraps(call)
    def wrapper(self: layers.Layer, *args: Any, **kwargs: Any) -> Any:
        def cast(values: Any) -> Any:
            return tree.map_structure(lambda value: real(value, self.compute_dtype), values)

        cast_args = [values if place == mask else cast(values) for place, values in enumerate(args)]
        cast_kwargs = {name: values if name == "mask" else cast(values) for name, values in kwargs.items()}
        return call(self, *cast_args, **cast_kwargs)

    vars(wrapper)["casts_integers"] = True
    return wrapper
