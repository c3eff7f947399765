"""Former names of arguments, which calls and saved files may have."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed_argument(former: str, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the argument `name` of the decorated function be given under its former name too, with a DeprecationWarning.

    Raises:
        TypeError: from the function, where the argument is given under both names.

    Example:
        >>> import warnings
        >>> from blocks.ops.renamed import renamed_argument
        >>> @renamed_argument("pieces", "num_outputs")
        ... def split(channels, num_outputs=1):
        ...     return [channels // num_outputs] * num_outputs
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     split(64, pieces=2), caught[0].category.__name__
        ([32, 32], 'DeprecationWarning')
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if former in kwargs:
                if name in kwargs:
                    raise TypeError(f"{former} is the former name of {name}: give {name} alone.")
                message = f"The argument {former} is called {name}: its former name works in this version only."
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                kwargs[name] = kwargs.pop(former)
            return function(*args, **kwargs)

        vars(call)["__signature__"] = inspect.signature(function)  # for Keras, which does not look through wrappers
        return call

    return decorate


def with_present_names(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A layer's saved configuration with today's names of its arguments; `names` are former name -> present name.

    Example:
        >>> from blocks.ops.renamed import with_present_names
        >>> with_present_names({"groups": 4, "pieces": 2}, {"pieces": "num_outputs"})
        {'groups': 4, 'num_outputs': 2}
    """
    return {names.get(key, key): value for key, value in config.items()}
