"""Models written with the layers that LiteRT quantises well: the same function in float32, a smaller error in int8."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

import blocks
from blocks.layers.initializers import without_random_numbers
from blocks.ops.keras_internals import graph_of, nodes_of

Exchange = tuple[Callable[[], keras.Layer], Callable[[], list[np.ndarray]]]  # what makes a layer, and its weights


def for_int8(model: keras.Model) -> keras.Model:
    """A copy of `model` whose average poolings are depthwise convolutions, or `model` itself where there are none.

    LiteRT gives an average pooling one range of int8 for input and output. Where a concatenation follows, that is the
    range of the concatenated means, to which what is pooled is clipped: ShuffleNet v1 loses two points of top-1.

    Example:
        >>> from zoo.exporting.int8_form import for_int8
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, keras.layers.AveragePooling2D(2)(images))
        >>> [type(layer).__name__ for layer in for_int8(model).layers]
        ['InputLayer', 'DepthwiseConv2D']
    """
    replaced = _replaceable(model)
    if not replaced:
        return model
    copies: list[tuple[keras.Operation, keras.Operation]] = []

    def copy(layer: keras.Operation) -> keras.Operation:
        layer_copy = replaced[id(layer)][0]() if id(layer) in replaced else type(layer).from_config(layer.get_config())
        copies.append((layer, layer_copy))
        return layer_copy

    with without_random_numbers():
        written = keras.models.clone_model(model, clone_function=copy, recursive=True)
    for layer, layer_copy in copies:
        if isinstance(layer, keras.Layer) and isinstance(layer_copy, keras.Layer):
            layer_copy.set_weights(replaced[id(layer)][1]() if id(layer) in replaced else layer.get_weights())
    return written


def _replaceable(model: keras.Model) -> dict[int, Exchange]:
    """Of each layer that is exchanged, by its id: what takes its place."""
    graph, exchanged = graph_of(model), dict[int, Exchange]()
    for node in [] if graph is None else nodes_of(graph):
        layer = node.operation
        if isinstance(layer, keras.Model):
            exchanged |= _replaceable(layer)
        elif not node.is_input and len(node.input_tensors) == 1:
            channels = node.input_tensors[0].shape[-1]
            if exchange := _of_pooling(layer, channels):
                exchanged[id(layer)] = exchange
    return exchanged


def _of_pooling(layer: Any, channels: int) -> Exchange | None:
    """Padding that does not count in the mean is left: its windows differ in size."""
    is_average = type(layer) is layers.AveragePooling2D or (
        type(layer) is blocks.PaddedPooling2D and layer.mode == "average"
    )
    if not is_average or layer.data_format != "channels_last" or layer.padding == "same":
        return None
    options = {"strides": layer.strides, "padding": layer.padding, "use_bias": False, "name": layer.name}
    kernel = np.full((*layer.pool_size, channels, 1), 1 / np.prod(layer.pool_size), "float32")
    return lambda: blocks.DepthwiseConv2D(layer.pool_size, **options), lambda: [kernel]
