"""Layers of this package -> stock Keras layers, where those can express them."""

import math
from collections.abc import Callable, Collection
from typing import Any

import keras
from keras import layers, ops

import blocks.layers.conv as conv
import blocks.layers.depthwise_conv as depthwise
from blocks.conversion.activations import activation_of
from blocks.conversion.calls import Calls
from blocks.conversion.copying import configured
from blocks.conversion.expressions import expressed
from blocks.conversion.replacement import Joined, Replacement
from blocks.layers.absorbed import AbsorbedLayer
from blocks.layers.batch_norm import BatchNormalization
from blocks.layers.dotted_names import Activation, Dense, LayerNormalization
from blocks.layers.grouped_conv import GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.layers.initializers import Normal
from blocks.layers.pooling import PaddedPooling2D

CONVOLUTIONS: dict[type[keras.Layer], type[keras.Layer]] = {
    GroupedConv1D: layers.Conv1D,
    GroupedConv2D: layers.Conv2D,
    GroupedConv3D: layers.Conv3D,
    conv.Conv1D: layers.Conv1D,
    conv.Conv2D: layers.Conv2D,
    conv.Conv3D: layers.Conv3D,
    depthwise.DepthwiseConv1D: layers.DepthwiseConv1D,
    depthwise.DepthwiseConv2D: layers.DepthwiseConv2D,
    depthwise.SeparableConv1D: layers.SeparableConv1D,
    depthwise.SeparableConv2D: layers.SeparableConv2D,
}
SAME_ARGUMENTS: dict[type[keras.Layer], type[keras.Layer]] = {
    Activation: layers.Activation,
    Dense: layers.Dense,
    LayerNormalization: layers.LayerNormalization,
}
GROUPED = (GroupedConv1D, GroupedConv2D, GroupedConv3D)
ZERO_PADDINGS = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}


class ToKeras:
    """The direction of `blocks.restore`.

    Example:
        >>> from blocks.conversion.to_keras import ToKeras
        >>> ToKeras().exchanged(blocks.GroupedConv2D(8, 3, groups=(2, 4)), None)
        'its groups differ in size'
    """

    def joined(self, calls: Calls) -> list[Joined]:
        """Layers that absorbed a neighbour, and what is in its place."""
        pairs = []
        for operation in calls.count:
            original = _original(operation)
            if original is None:
                continue
            before, behind = calls.sole_producer(operation), calls.sole_consumer(operation)
            by = before if _same_activation(before, original) else behind if _same_padding(behind, original) else None
            if by is None or any("residual" in arguments for arguments in calls.arguments(by)):
                continue
            plain = _without(by)
            if isinstance(plain, keras.Operation):
                pairs.append(Joined(operation, by, {operation: Replacement(original), by: Replacement(plain)}))
        return pairs

    def exchanged(self, layer: keras.Layer, calls: Calls | None) -> Replacement | str | None:
        """One layer for those that compute the same."""
        if type(layer) is AbsorbedLayer:  # its neighbour is not there
            return Replacement(layers.Identity(name=layer.name, dtype=layer.dtype_policy))
        adds = calls is not None and any("residual" in arguments for arguments in calls.arguments(layer))
        if type(layer) in SAME_ARGUMENTS:
            return Replacement(_stock(SAME_ARGUMENTS[type(layer)], layer))
        if type(layer) is BatchNormalization:
            return Replacement(_norm(layer), behind=_activation(layer), adds=adds)
        if type(layer) in CONVOLUTIONS:
            return _convolution(layer, adds)
        if type(layer) is PaddedPooling2D:
            return _pooling(layer)
        expression = expressed(layer, calls)
        if expression is not None:
            return expression
        ours = type(layer).__module__.startswith("blocks.")
        return f"Keras has no layer that is a {type(layer).__name__}" if ours else None


def _stock(kind: type[keras.Layer], layer: keras.Layer, without: Collection[str] = (), **changes: Any) -> keras.Layer:
    """A stock layer of the configuration of `layer`, its initializers too."""
    initializers = {
        name: keras.initializers.RandomNormal.from_config(value.get_config())
        for name, value in vars(layer).items()
        if type(value) is Normal
    }
    return configured(kind, layer, without, **initializers, **changes)


def _norm(layer: keras.Layer) -> keras.Layer:
    return _stock(layers.BatchNormalization, layer, without=("activation", "unbiased_variance"))


def _activation(layer: Any) -> tuple[Callable[[Any], Any], ...]:
    """The activation of a layer as a layer behind it, if it has one."""
    if layer.activation is keras.activations.linear:
        return ()
    return (layers.Activation(layer.activation, name=f"{layer.name}_activation", dtype=layer.dtype_policy),)


def _convolution(layer: Any, adds: bool) -> Replacement | str:
    if isinstance(layer, GROUPED) and not (isinstance(layer.groups, int) and isinstance(layer.filters_by_group, int)):
        return "its groups differ in size"
    if layer.quantization_mode is not None:
        return f"it is quantised to {layer.quantization_mode}, which Keras's convolutions cannot be"
    both = max(layer.strides) > 1 and max(layer.dilation_rate) > 1
    if both and layer.padding in ("same", "causal"):
        return f"Keras does not stride ({layer.strides}) and dilate ({layer.dilation_rate}) at once"
    before: tuple[Callable[[Any], Any], ...] = ()
    if not isinstance(layer.padding, str):
        rank = len(layer.strides)
        sides = layer.padding[0] if rank == 1 else layer.padding
        before = (
            ZERO_PADDINGS[rank](
                sides, data_format=layer.data_format, name=f"{layer.name}_pad", dtype=layer.dtype_policy
            ),
        )
    behind = _activation(layer) if adds else ()
    if not both:
        return Replacement(_plain_convolution(layer, linear=adds), before, behind, adds)
    if adds:
        return f"Keras does not stride ({layer.strides}) and dilate ({layer.dilation_rate}) at once, nor add then"
    return Replacement(_plain_convolution(layer, strides=1), before, (_subsampling(layer),))


def _subsampling(layer: Any) -> Callable[[Any], Any]:
    """What a convolution with strides computes, of what one without does."""
    steps = tuple(slice(None, None, stride) for stride in layer.strides)
    last = layer.data_format == "channels_last"
    place = (slice(None), *steps) if last else (slice(None), slice(None), *steps)
    return lambda outputs: outputs[place]


def _plain_convolution(layer: Any, linear: bool = False, **changes: Any) -> keras.Layer:
    """The stock convolution, its explicit padding left to a layer before it."""
    changes["padding"] = layer.padding if isinstance(layer.padding, str) else "valid"
    if linear:
        changes["activation"] = "linear"
    return _stock(CONVOLUTIONS[type(layer)], layer, without=("implementation",), **changes)


def _pooling(layer: Any) -> Replacement | str:
    settings = {"name": layer.name, "dtype": layer.dtype_policy, "data_format": layer.data_format}
    kind = layers.MaxPooling2D if layer.mode == "max" else layers.AveragePooling2D
    if isinstance(layer.padding, str):
        return Replacement(kind(layer.pool_size, layer.strides, layer.padding, **settings))
    pooling = kind(layer.pool_size, layer.strides, "valid", **settings)
    if layer.mode == "average":
        padding = layers.ZeroPadding2D(
            layer.padding, layer.data_format, name=f"{layer.name}_pad", dtype=layer.dtype_policy
        )
        return Replacement(pooling, (padding,))
    none = (0, 0)
    widths = (none, *layer.padding, none) if layer.data_format == "channels_last" else (none, none, *layer.padding)
    return Replacement(pooling, (lambda x: ops.pad(x, widths, constant_values=-math.inf),))


def _original(operation: Any) -> keras.Layer | None:
    """The layer that an absorbed one was."""
    if type(operation) is not AbsorbedLayer:
        return None
    return keras.saving.deserialize_keras_object(dict(operation.original))


def _same_activation(norm: Any, original: keras.Layer) -> bool:
    return type(norm) is BatchNormalization and norm.activation is activation_of(original)


def _same_padding(layer: Any, original: Any) -> bool:
    """Whether `layer` pads as much as the layer of zero padding that it absorbed."""
    if type(original) not in ZERO_PADDINGS.values() or type(layer) not in (*CONVOLUTIONS, PaddedPooling2D):
        return False
    return layer.padding == ((tuple(original.padding),) if len(layer.strides) == 1 else original.padding)


def _without(layer: Any) -> keras.Operation | str | None:
    """The stock layer without what it absorbed; or why there is none."""
    if type(layer) is BatchNormalization:
        return _norm(layer)
    replacement = _convolution(layer, False) if type(layer) in CONVOLUTIONS else _pooling(layer)
    return replacement if isinstance(replacement, str) else replacement.layer
