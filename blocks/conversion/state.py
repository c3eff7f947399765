"""What a model has beside its layers and weights: which of them are trained, and how it is compiled."""

from collections.abc import Iterable

import keras

from blocks.ops.keras_internals import own_variables


def copy_trainable(pairs: Iterable[tuple[keras.Layer, keras.Layer]]) -> None:
    """Make new layers and their weights trainable where the old ones are.

    Args:
        pairs: old and new layers, holders before what they hold: a holder's flag sets all of that.

    Example:
        >>> from blocks.conversion.state import copy_trainable
        >>> frozen, layer = keras.layers.Dense(2, trainable=False), keras.layers.Dense(2)
        >>> copy_trainable([(frozen, layer)])
        >>> layer.trainable
        False
    """
    pairs = list(pairs)
    for old, new in pairs:
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    for old, new in pairs:
        flags = {variable.name: variable.trainable for variable in own_variables(old)}
        for variable in own_variables(new):
            if variable.trainable != flags.get(variable.name, variable.trainable):
                variable.trainable = flags[variable.name]


def copy_compilation(old: keras.Model, new: keras.Model) -> str | None:
    """Compile `new` as `old` is, with the state of its optimizer; the reason where that cannot be done.

    Example:
        >>> from blocks.conversion.state import copy_compilation
        >>> old, new = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]) for _ in range(2))
        >>> old.compile("sgd", "mse")
        >>> copy_compilation(old, new)
        >>> type(new.optimizer).__name__
        'SGD'
    """
    if not old.compiled:
        return None
    try:
        new.compile_from_config(old.get_compile_config())
    except (TypeError, ValueError, AttributeError, RuntimeError):
        new.compiled = False
    if not new.compiled:
        return "its losses, metrics or optimizer cannot be made again from their configuration: compile the new model"
    optimizer = old.optimizer
    if optimizer is not None and optimizer.built:
        new.optimizer.build(new.trainable_variables)
        mine, its = optimizer.variables, new.optimizer.variables
        if [tuple(each.shape) for each in mine] != [tuple(each.shape) for each in its]:
            return "the state of the optimizer belongs to other weights: it begins anew"
        for variable, value in zip(its, mine, strict=True):
            variable.assign(value)
    return None
