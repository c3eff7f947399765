"""Layers and operations made again from their configuration, and their state taken over."""

import inspect
import tempfile
from collections.abc import Collection
from typing import Any, TypeVar

import keras
from keras import layers

from blocks.ops.keras_internals import graph_of, lambda_output_shape, own_variables, random_states, sublayers

Kind = TypeVar("Kind", bound=keras.Operation)


def is_graph(model: keras.Model) -> bool:
    """Whether `model` computes a known graph: functional or Sequential, built, and without a `call` of its own.

    Example:
        >>> from blocks.conversion.copying import is_graph
        >>> is_graph(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        True
    """
    return graph_of(model) is not None and type(model).call.__module__.startswith("keras.")


def configured(kind: type[Kind], operation: keras.Operation, without: Collection[str] = (), **changes: Any) -> Kind:
    """A `kind` of the configuration of `operation`, with some `changes` and `without` some arguments.

    The user's own functions, as activations for instance, need not be registered.

    Example:
        >>> from blocks.conversion.copying import configured
        >>> conv = configured(blocks.GroupedConv2D, keras.layers.Conv2D(8, 3, name="stem"), padding=1)
        >>> conv.name, conv.padding
        ('stem', ((1, 1), (1, 1)))
    """
    functions = {value.__name__: value for value in vars(operation).values() if inspect.isfunction(value)}
    unnamed = functions.get("<lambda>")
    if unnamed is not None and "activation" not in without and unnamed is getattr(operation, "activation", None):
        changes = {"activation": unnamed, **changes}  # without a name it cannot be looked up
    with keras.saving.custom_object_scope(functions):
        config = {key: value for key, value in operation.get_config().items() if key not in without}
        return kind.from_config(config | changes)


def copy_operation(operation: Any) -> keras.Operation:
    """A new operation of the same configuration; a layer's weights come with `transfer`, once it is built.

    Raises ValueError for one that its own `get_config` does not describe.

    Example:
        >>> from blocks.conversion.copying import copy_operation
        >>> copy_operation(keras.layers.Dense(8, name="head")).name
        'head'
    """
    if type(operation) is layers.Lambda:
        # From its configuration Keras would load the function as code from elsewhere, which it refuses.
        return layers.Lambda(
            operation.function,
            lambda_output_shape(operation),
            operation.mask,
            operation.arguments,
            name=operation.name,
            dtype=operation.dtype_policy,
        )
    try:
        if isinstance(operation, keras.Model) and is_graph(operation):
            return keras.models.clone_model(operation)
        copy = configured(type(operation), operation)
        copy.name = operation.name  # some classes add to the name that their configuration gives
        return copy
    except (TypeError, ValueError, RuntimeError) as error:
        raise not_copied(operation) from error


def copy_input(layer: Any, old: keras.KerasTensor) -> keras.KerasTensor:
    """The tensor of a new input, with the names of both the layer and its tensor: one goes by the layer's, the other
    is exported.

    Example:
        >>> from blocks.conversion.copying import copy_input
        >>> images = keras.Input((8, 8, 3), name="images")
        >>> copy_input(keras.Model(images, images).layers[0], images).name
        'images'
    """
    tensor = keras.KerasTensor(old.shape, old.dtype, old.sparse, old.ragged, name=old.name)
    return layers.InputLayer(input_tensor=tensor, ragged=old.ragged, optional=layer.optional, name=layer.name).output


def not_copied(operation: keras.Operation) -> ValueError:
    """The error that `operation` cannot be copied.

    Example:
        >>> from blocks.conversion.copying import not_copied
        >>> print(not_copied(keras.layers.Dense(8, name="head")))
        Layer 'head' cannot be copied: Dense does not make it again from its own get_config().
    """
    return ValueError(
        f"Layer {operation.name!r} cannot be copied: {type(operation).__name__} does not make it again from its own "
        "get_config()."
    )


def transfer(old: keras.Layer, new: keras.Layer) -> None:
    """Copy the state of a layer and its sublayers: variables, statistics, the factors of LoRA, vocabularies, and the
    random states, so that dropouts drop the same.

    Example:
        >>> from blocks.conversion.copying import transfer
        >>> old, new = keras.layers.Dense(2), keras.layers.Dense(2)
        >>> old.build((None, 3)), new.build((None, 3))
        (None, None)
        >>> transfer(old, new)
        >>> bool(np.array_equal(old.kernel, new.kernel))
        True
    """
    for source, target in zip(sublayers(old), sublayers(new), strict=True):
        _transfer_own(source, target)


def _transfer_own(source: keras.Layer, target: keras.Layer) -> None:
    # As saving a model would: some layers compute something from what they load.
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    target.load_own_variables({key: keras.ops.convert_to_numpy(value) for key, value in store.items()})
    if getattr(source, "lora_enabled", False):  # whose kernel would be the sum then, and the factors begin anew
        for variable, value in zip(own_variables(target), own_variables(source), strict=True):
            variable.assign(value)
    for state, value in zip(random_states(target), random_states(source), strict=True):
        state.assign(value)
    if hasattr(source, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)
