"""A network of the zoo with stock Keras layers only: what a user of Keras alone would have written.

`Conv2D(groups=)` and `DepthwiseConv2D` where ours has `GroupedConv2D`, "same" padding where that is the same thing and
`ZeroPadding2D` where not, Keras's batch normalisation, sums, products, activations, pooling and reshapes. Weights are
ours.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

import blocks
from blocks.ops.dual_path import composed_merge_paths
from blocks.ops.gates import composed_softmax_sum


class Chain(layers.Layer):
    """Stock layers one after the other; a residual, where one is given, is added before the activation."""

    def __init__(self, chain: Sequence[layers.Layer], activation=keras.activations.linear, name: str | None = None):
        super().__init__(name=name)
        self.chain = list(chain)
        self.sum = layers.Add()
        self.activation = None if activation is keras.activations.linear else layers.Activation(activation)

    def build(self, inputs_shape, residual_shape=None):
        for layer in self.chain:
            layer.build(inputs_shape)
            inputs_shape = layer.compute_output_shape(inputs_shape)

    def call(self, inputs, residual=None, mask=None):  # the mask is never there: images have none
        for layer in self.chain:
            inputs = layer(inputs)
        if residual is not None:
            inputs = self.sum([inputs, residual])
        return inputs if self.activation is None else self.activation(inputs)


class Split(layers.Layer):
    """Images split into as many of equal numbers of channels."""

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def call(self, inputs):
        return list(keras.ops.split(inputs, self.count, axis=-1))

    def compute_output_shape(self, input_shape):
        return [(*input_shape[:-1], input_shape[-1] // self.count)] * self.count


class Mean(layers.Layer):
    """The mean of each channel, and the images again."""

    def __init__(self):
        super().__init__()
        self.mean = layers.GlobalAveragePooling2D("channels_last", keepdims=True)

    def call(self, inputs):
        return self.mean(inputs), inputs


class Product(layers.Layer):
    """The product of images and their gates."""

    def __init__(self):
        super().__init__()
        self.product = layers.Multiply()

    def call(self, inputs, gates):
        return self.product([inputs, gates])


class Operations(layers.Layer):
    """A function of Keras's operations, where no stock layer does what a layer of ours does."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, *inputs):
        return self.function(*inputs)


def convolution(
    channels: int, filters: int, kernel: tuple, strides: tuple, padding, dilation: tuple, groups: int, use_bias: bool
) -> list[layers.Layer]:
    """The stock layers that make one convolution of (B, H, W, channels): zeros first, where no name says them."""
    before = []
    if not isinstance(padding, str):
        same = tuple((k // 2, k // 2) for k in kernel)
        if not any(map(any, padding)):
            padding = "valid"
        elif tuple(padding) == same and max(strides) == max(dilation) == 1 and all(k % 2 for k in kernel):
            padding = "same"
        else:
            before, padding = [layers.ZeroPadding2D(padding)], "valid"
    shared = {"strides": strides, "padding": padding, "dilation_rate": dilation, "use_bias": use_bias}
    if groups == channels > 1:
        return [*before, layers.DepthwiseConv2D(kernel, depth_multiplier=filters // channels, **shared)]
    return [*before, layers.Conv2D(filters, kernel, groups=groups, **shared)]


def stand_in(layer: layers.Layer) -> layers.Layer:
    """Stock layers that compute what `layer` does.

    Raises ValueError for a layer of ours that none stands in for here: nothing of ours stays unnoticed.
    """
    if isinstance(layer, blocks.GroupedConv2D):
        own = layer.filters, layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate, layer.groups
        return Chain(convolution(_input(layer).shape[-1], *own, layer.use_bias), layer.activation)
    if isinstance(layer, blocks.BatchNormalization):
        config = layer.get_config()
        known = layers.BatchNormalization().get_config().keys() - {"name"}
        normalization = layers.BatchNormalization.from_config({key: config[key] for key in known})
        return Chain([normalization], layer.activation)
    if isinstance(layer, blocks.PaddedPooling2D):
        pooling = layers.MaxPooling2D if layer.mode == "max" else layers.AveragePooling2D
        if isinstance(layer.padding, str):
            return pooling(layer.pool_size, layer.strides, layer.padding)
        # Zeros also before a maximum: those of the networks here are of activations that are never negative.
        return Chain([layers.ZeroPadding2D(layer.padding), pooling(layer.pool_size, layer.strides)])
    if isinstance(layer, blocks.ChannelShuffle):
        _, height, width, each = layer.output[0].shape if layer.num_outputs > 1 else layer.output.shape
        channels = each * layer.num_outputs
        together = [layers.Concatenate()] if isinstance(layer.input, (list, tuple)) else []
        apart = layers.Reshape((height, width, layer.groups, channels // layer.groups))
        mixed = [*together, apart, layers.Permute((1, 2, 4, 3)), layers.Reshape((height, width, channels))]
        return Chain([*mixed, Split(layer.num_outputs)] if layer.num_outputs > 1 else mixed)
    if isinstance(layer, blocks.ImageMean):
        return Mean()
    if isinstance(layer, blocks.ChannelGate):
        return Product()
    if isinstance(layer, blocks.DualPathMerge):
        return Operations(lambda paths, update: composed_merge_paths(paths, update, layer.residual))
    if isinstance(layer, blocks.SoftmaxSum):
        return Operations(lambda candidates, logits: composed_softmax_sum(candidates, logits, layer.radix))
    if isinstance(layer, (blocks.Dense, blocks.LayerNormalization)):  # Keras's own but for the dots in their names
        stock = getattr(layers, type(layer).__name__)
        config = layer.get_config()
        return Chain([stock.from_config(config | {"name": config["name"].replace(".", "_")})])
    if type(layer).__module__.split(".")[0] in ("blocks", "zoo"):
        raise ValueError(f"no stock Keras layer stands in for {layer.name!r}, a {type(layer).__name__}")
    return type(layer).from_config(layer.get_config())


def _input(layer: layers.Layer):
    """The tensor that a layer takes first; layers with a residual take a second one."""
    taken = layer.input
    return taken[0] if isinstance(taken, (list, tuple)) else taken


def clone(model: keras.Model) -> keras.Model:
    """`model`, functional and channels last, on stock layers with the same weights.

    Raises ValueError for a layer that none stands in for, and where weights do not fit.
    """
    pairs = []

    def replace(layer):
        if not isinstance(layer, layers.Layer):  # an operation such as ops.split: Keras's own, without weights
            return type(layer).from_config(layer.get_config())
        pairs.append((layer, stand_in(layer)))
        return pairs[-1][1]

    copy = keras.models.clone_model(model, clone_function=replace)
    for ours, theirs in pairs:
        values = zip(ours.get_weights(), theirs.weights, strict=True)
        theirs.set_weights([np.reshape(value, weight.shape) for value, weight in values])
    return copy
