"""What a model has beside its layers and weights: which of them are trained, and how it is compiled."""

from collections.abc import Mapping

import keras

from blocks.ops.keras_internals import own_variables, sublayers


def copy_trainable(old: keras.Layer, new: keras.Layer, partners: Mapping[keras.Operation, keras.Operation]) -> None:
    """Make the layers and weights of `new` trainable where those of `old` are.

    Args:
        partners: of the layers of `old` those of `new`; for the layers inside those the order tells.

    Example:
        >>> from blocks.conversion.state import copy_trainable
        >>> frozen, layer = keras.layers.Dense(2, trainable=False), keras.layers.Dense(2)
        >>> copy_trainable(frozen, layer, {})
        >>> layer.trainable
        False
    """
    pairs = [(old, new)]
    if partners:
        pairs += [(each, partners[each]) for each in sublayers(old, include_self=False) if each in partners]
    for one, other in list(pairs):
        if type(one) is type(other) and not isinstance(one, keras.Model):
            pairs += list(zip(sublayers(one, False), sublayers(other, False), strict=False))
    if not partners:
        pairs = list(zip(sublayers(old), sublayers(new), strict=True))
    for source, target in pairs:  # holders before what they hold: a holder's flag sets all of them
        if target.trainable != source.trainable:
            target.trainable = source.trainable
    for source, target in pairs:
        flags = {variable.name: variable.trainable for variable in own_variables(source)}
        for variable in own_variables(target):
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
    except (TypeError, ValueError, AttributeError, NotImplementedError):
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
