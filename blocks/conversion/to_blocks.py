"""Stock Keras layers -> layers of this package."""

from typing import Any

import keras
from keras import layers

from blocks.conversion.activations import activation_of
from blocks.conversion.calls import Calls
from blocks.conversion.copying import configured
from blocks.conversion.replacement import Joined, Replacement
from blocks.layers.absorbed import AbsorbedLayer
from blocks.layers.batch_norm import BatchNormalization
from blocks.layers.conv import Conv1D, Conv2D, Conv3D
from blocks.layers.depthwise_conv import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from blocks.layers.dotted_names import Activation, LayerNormalization
from blocks.layers.pooling import PaddedPooling2D
from blocks.ops.activations import OWN_KERNELS, named_activation

CONVOLUTIONS: dict[type[keras.Layer], type[keras.Layer]] = {
    layers.Conv1D: Conv1D,
    layers.Conv2D: Conv2D,
    layers.Conv3D: Conv3D,
    layers.DepthwiseConv1D: DepthwiseConv1D,
    layers.DepthwiseConv2D: DepthwiseConv2D,
    layers.SeparableConv1D: SeparableConv1D,
    layers.SeparableConv2D: SeparableConv2D,
}
SAME_ARGUMENTS = {**CONVOLUTIONS, layers.LayerNormalization: LayerNormalization}
EXCHANGED = {**SAME_ARGUMENTS, layers.BatchNormalization: BatchNormalization}
POOLINGS: dict[type[keras.Layer], str] = {layers.MaxPooling2D: "max", layers.AveragePooling2D: "average"}
ZERO_PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
NOT_NEGATIVE = (keras.activations.relu, keras.activations.relu6)


class ToBlocks:
    """The direction of `blocks.convert`.

    Example:
        >>> from blocks.conversion.to_blocks import ToBlocks
        >>> type(ToBlocks().exchanged(keras.layers.Conv2D(8, 3), None).layer) is blocks.Conv2D
        True
    """

    def joined(self, calls: Calls) -> list[Joined]:
        """Normalisations with the activations behind them, paddings with what they pad."""
        activations = [_with_activation(calls, operation) for operation in calls.count]
        paddings = [_with_padding(calls, operation) for operation in calls.count]
        return [joined for joined in (*activations, *paddings) if joined is not None]

    def exchanged(self, layer: keras.Layer, calls: Calls | None) -> Replacement | str | None:
        """One layer for another."""
        kind = type(layer)
        if kind is layers.BatchNormalization:
            return Replacement(configured(BatchNormalization, layer, unbiased_variance=False))
        if kind is layers.Activation and named_activation(layer.activation) in OWN_KERNELS:
            return Replacement(configured(Activation, layer))
        if kind in SAME_ARGUMENTS:
            return Replacement(configured(SAME_ARGUMENTS[kind], layer))
        stock = next((each for each in EXCHANGED if isinstance(layer, each)), None)
        if stock is None or isinstance(layer, tuple(EXCHANGED.values())):
            return None
        return f"{kind.__name__} is a subclass of {stock.__name__} and may compute something else"


def _with_activation(calls: Calls, norm: Any) -> Joined | None:
    """A normalisation and the activation that alone follows it."""
    if type(norm) is not layers.BatchNormalization:
        return None
    behind = calls.sole_consumer(norm)
    activation = activation_of(behind)
    if activation is None or named_activation(activation) in (None, "linear"):
        return None
    layer = isinstance(behind, keras.Layer)
    if (layer and (behind.compute_dtype != norm.compute_dtype or _regularized(behind))) or _regularized(norm):
        return None
    new = configured(BatchNormalization, norm, unbiased_variance=False, activation=named_activation(activation))
    return Joined(behind, norm, {norm: Replacement(new), behind: Replacement(_absorbed(behind) if layer else None)})


def _with_padding(calls: Calls, padding: Any) -> Joined | None:
    """Zeros around an input, and the convolution or pooling without padding that alone takes it."""
    if type(padding) not in ZERO_PADDINGS or _regularized(padding):
        return None
    behind = calls.sole_consumer(padding)
    if type(behind) not in {*CONVOLUTIONS, *POOLINGS} or behind.padding != "valid":
        return None
    if behind.data_format != padding.data_format or behind.compute_dtype != padding.compute_dtype:
        return None
    sides = _sides(padding)
    if type(behind) in CONVOLUTIONS:
        new = configured(CONVOLUTIONS[type(behind)], behind, padding=sides)
    elif type(behind) in POOLINGS and _zeros_are_neutral(calls, padding, behind, sides):
        new = PaddedPooling2D(
            POOLINGS[type(behind)],
            behind.pool_size,
            behind.strides,
            sides,
            behind.data_format,
            name=behind.name,
            dtype=behind.dtype_policy,
            trainable=behind.trainable,
        )
    else:
        return None
    return Joined(padding, behind, {padding: Replacement(_absorbed(padding)), behind: Replacement(new)})


def _sides(padding: keras.Layer) -> tuple[tuple[int, int], ...]:
    """Zeros before and after each axis."""
    return (tuple(padding.padding),) if type(padding) is layers.ZeroPadding1D else padding.padding


def _zeros_are_neutral(
    calls: Calls, padding: keras.Layer, pooling: keras.Layer, sides: tuple[tuple[int, int], ...]
) -> bool:
    """Whether the zeros count as our pooling counts its padding.

    Its average takes them for zeros; its maximum passes over them, which is the same behind a ReLU, for what is not
    negative, if every window has a pixel. Where the maximum is 0, which entry it is does not matter: no gradient passes
    the ReLU.
    """
    if type(pooling) is layers.AveragePooling2D:
        return True
    if any(zeros >= size for size, axis in zip(pooling.pool_size, sides, strict=True) for zeros in axis):
        return False
    before = calls.sole_producer(padding)
    activation = getattr(before, "activation", None) if type(before) in CONVOLUTIONS else activation_of(before)
    return activation in NOT_NEGATIVE


def _absorbed(layer: keras.Layer) -> keras.Layer:
    """What keeps the place and the name of a layer that a neighbour computes."""
    original = keras.saving.serialize_keras_object(layer)
    original.pop("build_config", None)  # it is built where it is put
    return AbsorbedLayer(original, name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)


def _regularized(layer: keras.Layer) -> bool:
    """Whether a loss depends on the outputs of this very layer."""
    return getattr(layer, "activity_regularizer", None) is not None
