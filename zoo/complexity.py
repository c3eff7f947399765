"""Parameters, multiply-accumulates and activations, counted on the built graph."""

import math
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from blocks import DepthwiseSeparableConv2D, GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.layers.initializers import without_random_numbers
from blocks.ops.keras_internals import graph_of, nodes_of

GROUPED = (GroupedConv1D, GroupedConv2D, GroupedConv3D)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)


@dataclass(frozen=True)
class Profile:
    """Cost of one network, for one image.

    parameters: trainable weights; a model fused for inference is frozen and has none.
    macs: multiply-accumulates of convolutions and dense layers, biases left out.
    activations: entries of all convolutions' outputs (Radosavovic et al. 2020, section 3.1, arXiv:2003.13678).

    Example:
        >>> from zoo.complexity import Profile
        >>> Profile(parameters=10, macs=100, activations=5) + Profile(1, 20, 300)
        Profile(parameters=11, macs=120, activations=305)
    """

    parameters: int
    macs: int
    activations: int

    def __add__(self, other: "Profile") -> "Profile":
        return Profile(self.parameters + other.parameters, self.macs + other.macs, self.activations + other.activations)


@dataclass(frozen=True)
class LayerCost:
    """Cost of one call of one layer, for one image; its parameters are counted with its first call.

    Example:
        >>> from zoo.complexity import profile_layers
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), blocks.GroupedConv2D(8, 3, groups=2)])
        >>> [(row.kind, row.groups, row.cost.macs) for row in profile_layers(model)]  # 6 * 6 * 3 * 3 * 4 / 2 * 8
        [('GroupedConv2D', 2, 5184)]
    """

    layer: Any  # a Keras layer or operation
    inputs: tuple[tuple[Any, ...], ...]  # shapes, batch axis first
    outputs: tuple[Any, ...]  # shape; of several outputs, as a split has them, the first one's
    cost: Profile
    arguments: Any = field(repr=False, compare=False)  # Keras's SymbolicArguments, from which the call can be repeated

    @property
    def kind(self) -> str:
        """The class of the layer or operation."""
        return type(self.layer).__name__

    @property
    def groups(self) -> int | tuple[int, ...] | None:
        """Groups of a convolution, of a separable one those of its depthwise half; None for other layers."""
        if isinstance(self.layer, DepthwiseSeparableConv2D):
            return self.layer.depthwise.groups
        if isinstance(self.layer, layers.SeparableConv2D):
            return self.layer.depthwise_kernel.shape[-2]
        if isinstance(self.layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
            return self.layer.kernel.shape[-2]
        return getattr(self.layer, "groups", None) if isinstance(self.layer, (*GROUPED, *CONVOLUTIONS)) else None


def profile(model: keras.Model, image_size: int | tuple[int, int] | None = None) -> Profile:
    """Count what `model`, functional or Sequential, costs for one image.

    Args:
        image_size: pixels, one number or (height, width), where the model's input size is dynamic.

    Raises:
        ValueError: where the size of the image is unknown, or a layer with weights is of a kind not counted here.

    Source: for the activations, Radosavovic et al. 2020, section 3.1, arXiv:2003.13678.

    Example:
        >>> model = zoo.create("lcnet_035", 10, (None, None, 3))
        >>> zoo.profile(model, image_size=32)
        Profile(parameters=376180, macs=784648, activations=22802)
    """
    return sum((row.cost for row in profile_layers(model, image_size)), Profile(0, 0, 0))


def profile_layers(model: keras.Model, image_size: int | tuple[int, int] | None = None) -> list[LayerCost]:
    """What `profile` adds up: every call of a layer or operation, in the order of the graph, models within it opened.

    Args as for `profile`, and so is what it raises: ValueError.

    Example:
        >>> from zoo.complexity import profile_layers
        >>> rows = profile_layers(zoo.create("lcnet_035", 10, (32, 32, 3)))
        >>> max(rows, key=lambda row: row.cost.macs).layer.name
        'conv_head'
    """
    _nodes(model)
    shape = model.input_shape[1:]
    if None in shape:
        if image_size is None:
            raise ValueError(f"{model.name} takes images of any size, {shape}: give image_size, 224 for instance.")
        size = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
        with without_random_numbers():
            model = keras.models.clone_model(model, input_tensors=keras.Input((*size, shape[-1])))
    return _calls(model, set())


def _calls(model: keras.Model, counted: set[int]) -> list[LayerCost]:
    """Every call in the graph: a layer that is called twice costs twice, and has its parameters once."""
    rows = []
    for node in _nodes(model):
        if node.is_input:
            continue
        if isinstance(node.operation, keras.Model):
            if None in node.operation.input_shape[1:]:
                raise ValueError(
                    f"{node.operation.name}, a model within {model.name}, takes images of any size: build it with the "
                    f"size that it sees there, {tuple(node.input_tensors[0].shape[1:])}."
                )
            rows += _calls(node.operation, counted)
            continue
        inputs = tuple(tuple(tensor.shape) for tensor in node.input_tensors)
        outputs = tuple(node.outputs[0].shape)
        weights = {id(each): math.prod(each.shape) for each in getattr(node.operation, "trainable_weights", [])}
        parameters = sum(size for key, size in weights.items() if key not in counted)
        counted |= weights.keys()
        cost = Profile(parameters, 0, 0) + _call(node.operation, inputs[0], outputs)
        rows.append(LayerCost(node.operation, inputs, outputs, cost, node.arguments))
    return rows


def _nodes(model: keras.Model) -> list[Any]:
    """The calls that make up the model. Raises ValueError for a model that is code and not a graph."""
    graph = graph_of(model)
    if graph is None:
        raise ValueError(f"{model.name} is a {type(model).__name__}: profile counts functional and Sequential models.")
    return nodes_of(graph)


def _call(layer: keras.layers.Layer, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> Profile:
    """Cost of one call of `layer`, from its shapes with the batch axis first."""
    if isinstance(layer, DepthwiseSeparableConv2D):
        between = layer.depthwise.compute_output_shape(inputs)
        return _call(layer.depthwise, inputs, between) + _call(layer.pointwise, between, outputs)
    if isinstance(layer, GROUPED):
        positions = math.prod(_spatial(outputs, layer.data_format))
        return Profile(0, positions * layer.macs_per_position, math.prod(outputs[1:]))
    if isinstance(layer, CONVOLUTIONS):
        positions = math.prod(_spatial(outputs, layer.data_format))
        return Profile(0, positions * math.prod(layer.kernel.shape), math.prod(outputs[1:]))
    if isinstance(layer, layers.SeparableConv2D):
        positions = math.prod(_spatial(outputs, layer.data_format))
        between = layer.depthwise_kernel.shape[2] * layer.depthwise_kernel.shape[3]
        weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return Profile(0, positions * weights, positions * (between + layer.filters))
    if isinstance(layer, layers.Dense):
        return Profile(0, math.prod(outputs[1:-1]) * math.prod(layer.kernel.shape), 0)
    weights = getattr(layer, "trainable_weights", [])
    if any(len(weight.shape) > 1 for weight in weights):
        raise ValueError(f"profile cannot count layer {layer.name!r}: {type(layer).__name__} is not known to it.")
    return Profile(0, 0, 0)  # normalisations, activations, sums: no multiply-accumulates by this definition


def _spatial(shape: tuple[Any, ...], data_format: str) -> tuple[Any, ...]:
    return shape[1:-1] if data_format == "channels_last" else shape[2:]
