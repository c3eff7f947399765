"""Layers of this package that no stock layer is, as operations of Keras in a functional model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from blocks.conversion.calls import Calls
from blocks.conversion.replacement import Replacement
from blocks.layers.channel_selection import ChannelSelection
from blocks.layers.channel_shuffle import ChannelShuffle
from blocks.layers.dual_path import DualPathMerge
from blocks.layers.layer_scale import LayerScale
from blocks.layers.local_response_norm import LocalResponseNormalization
from blocks.layers.pooling import AdaptiveAveragePooling2D
from blocks.layers.resize import ResizeLike
from blocks.layers.softmax_sum import SoftmaxSum
from blocks.layers.squeeze_excite import ChannelGate, ImageMean
from blocks.ops.dual_path import composed_merge_paths
from blocks.ops.gates import composed_softmax_sum
from blocks.ops.local_response_norm import composed


def expressed(layer: Any, calls: Calls | None) -> Replacement | str | None:
    """What computes the same as `layer`; why nothing does; None for layers that are none of those here.

    calls: of the graph that holds it.

    Example:
        >>> from blocks.conversion.expressions import expressed
        >>> layer = blocks.ChannelShuffle(2)
        >>> layer.build((None, 8, 8, 6))
        >>> images = keras.Input((8, 8, 6))
        >>> model = keras.Model(images, expressed(layer, None).function(images))
        >>> np.ravel(model(np.arange(384.0).reshape(1, 8, 8, 6)))[:6]
        array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """
    if type(layer) is ResizeLike:
        return _resize(layer, calls)
    express = EXPRESSIONS.get(type(layer))
    return None if express is None else express(layer)


def _shuffle(layer: ChannelShuffle) -> Replacement:
    axis = -1 if layer.data_format == "channels_last" else 1

    def shuffle(inputs: Any) -> Any:
        if isinstance(inputs, (list, tuple)):
            inputs = layers.Concatenate(axis, name=f"{layer.name}_concatenate")(inputs)
        order = np.arange(inputs.shape[axis]).reshape(layer.groups, -1).transpose().ravel()
        outputs = ops.take(inputs, order.tolist(), axis)
        return ops.split(outputs, layer.num_outputs, axis) if layer.num_outputs > 1 else outputs

    return Replacement(function=shuffle)


def _select(layer: ChannelSelection) -> Replacement:
    index = ops.convert_to_numpy(layer.index).tolist()  # a constant from here on
    return Replacement(function=lambda inputs: ops.take(inputs, index, -1))


def _mean(layer: ImageMean) -> Replacement:
    pooling = layers.GlobalAveragePooling2D("channels_last", keepdims=True, **_named(layer))
    return Replacement(function=lambda inputs: (pooling(inputs), inputs))


def _gate(layer: ChannelGate) -> Replacement:
    multiply = layers.Multiply(**_named(layer))
    return Replacement(function=lambda inputs, gates: multiply([inputs, gates]))


def _softmax_sum(layer: SoftmaxSum) -> Replacement:
    return Replacement(function=lambda candidates, logits: composed_softmax_sum(candidates, logits, layer.radix))


def _merge(layer: DualPathMerge) -> Replacement:
    return Replacement(function=lambda paths, update: composed_merge_paths(paths, update, layer.residual))


def _scale(layer: LayerScale) -> Replacement:
    _, *shape = layer.get_build_config()["input_shape"]
    axes = "abdefgh"[: len(shape)]
    return Replacement(layers.EinsumDense(f"{axes}c,c->{axes}c", tuple(shape), **_named(layer)))


def _local_response(layer: LocalResponseNormalization) -> Replacement:
    def normalize(inputs: Any) -> Any:
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        return ops.cast(composed(wide, layer.size, layer.k, layer.alpha, layer.beta), layer.compute_dtype)

    return Replacement(function=normalize)


def _adaptive_pooling(layer: AdaptiveAveragePooling2D) -> Replacement | str:
    if None in layer.get_build_config()["input_shape"][1:3]:
        return "Keras's layer of that name needs height and width of its inputs"
    return Replacement(layers.AdaptiveAveragePooling2D(layer.size, "channels_last", **_named(layer)))


def _resize(layer: ResizeLike, calls: Calls | None) -> Replacement | str:
    def resize(inputs: Any, like: Any) -> Any:
        for axis in (1, 2):
            old, new = inputs.shape[axis], like.shape[axis]
            inputs = ops.take(inputs, [place * old // new for place in range(new)], axis)
        return inputs

    if calls is None or any(None in tensor.shape[1:3] for tensor in calls.tensors(layer)):
        return "Keras resizes so to sizes that are known alone"
    return Replacement(function=resize)


def _named(layer: keras.Layer) -> dict[str, Any]:
    return {"name": layer.name, "dtype": layer.dtype_policy}


EXPRESSIONS: dict[type[keras.Layer], Callable[[Any], Replacement | str]] = {
    AdaptiveAveragePooling2D: _adaptive_pooling,
    ChannelGate: _gate,
    ChannelSelection: _select,
    ChannelShuffle: _shuffle,
    DualPathMerge: _merge,
    ImageMean: _mean,
    LayerScale: _scale,
    LocalResponseNormalization: _local_response,
    SoftmaxSum: _softmax_sum,
}
