"""Layers that attributes of other layers hold, exchanged in place."""

from collections.abc import Callable, Iterator
from typing import Any

import keras

from blocks.conversion.copying import is_graph, transfer
from blocks.conversion.state import copy_trainable
from blocks.ops.keras_internals import exchange_sublayer, mapped_tuple, own_sublayers

Exchanged = list[tuple[keras.Layer, keras.Layer, tuple[str, ...]]]  # old, new and the names that lead to it
Left = list[tuple[tuple[str, ...], str]]


def exchange_inside(
    root: keras.Layer, exchange: Callable[[keras.Layer], keras.Layer | str | None]
) -> tuple[Exchanged, Left]:
    """Exchange the layers below `root`, however deep, wherever an attribute, a list or a dictionary holds them.

    Args:
        root: a layer or model of the user's, built; it is changed.
        exchange: of a layer the one that takes its place; the reason why none does; or None for "look inside it".

    Returns:
        What was exchanged, and what was left with the reason.

    Example:
        >>> from blocks.conversion.inside import exchange_inside
        >>> class Block(keras.Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.parts = [keras.layers.ReLU()]
        >>> block = Block()
        >>> exchanged, left = exchange_inside(block, lambda layer: keras.layers.ELU())
        >>> type(block.parts[0]).__name__
        'ELU'
    """
    exchanged: Exchanged = []
    left: Left = []
    seen: set[keras.Layer] = set()
    for holder, child, path in list(_held(root, ())):
        if child in seen:
            continue
        seen.add(child)
        new = exchange(child)
        if isinstance(new, str):
            left.append((path, new))
        if not isinstance(new, keras.Layer):
            continue
        holders = [root, *(layer for _, layer, _ in _held(root, ()))]
        if not any(_holds(each, child) for each in holders):
            left.append((path, f"no attribute of {type(holder).__name__} holds it"))
            continue
        if not isinstance(new, keras.Model) and child.built:
            new.build_from_config(child.get_build_config())
            transfer(child, new)
            copy_trainable([(child, new)])
        for each in holders:
            exchange_sublayer(each, child, new)
            _exchange_attributes(each, child, new)
        exchanged.append((child, new, path))
    return exchanged, left


def _held(holder: keras.Layer, path: tuple[str, ...]) -> Iterator[tuple[keras.Layer, keras.Layer, tuple[str, ...]]]:
    """Every layer below `holder` with the one that holds it; what is inside a graph comes with that."""
    for child in own_sublayers(holder):
        below = (*path, child.name)
        yield holder, child, below
        if not (isinstance(child, keras.Model) and is_graph(child)):
            yield from _held(child, below)


def _attributes(holder: keras.Layer) -> dict[str, Any]:
    """The attributes that user code sets; Keras's own lists of layers are not among them."""
    return {name: value for name, value in vars(holder).items() if name not in ("_layers", "_tracker", "_operations")}


def _holds(holder: keras.Layer, child: keras.Layer) -> bool:
    return any(_in(value, child) for value in _attributes(holder).values())


def _in(value: Any, child: keras.Layer) -> bool:
    if isinstance(value, dict):
        return any(_in(each, child) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(_in(each, child) for each in value)
    return value is child


def _exchange_attributes(holder: keras.Layer, old: keras.Layer, new: keras.Layer) -> None:
    for name, value in _attributes(holder).items():
        if _in(value, old):
            setattr(holder, name, _exchanged(value, old, new))


def _exchanged(value: Any, old: keras.Layer, new: keras.Layer) -> Any:
    """`value` with `new` for `old`; lists and dictionaries stay the same objects."""
    if value is old:
        return new
    if isinstance(value, dict):
        for key, each in value.items():
            if _in(each, old):
                value[key] = _exchanged(each, old, new)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if _in(each, old):
                value[index] = _exchanged(each, old, new)
    elif isinstance(value, tuple):
        return mapped_tuple(value, lambda each: _exchanged(each, old, new))
    return value
