"""Layers that are linear up to their activation: their weights read in float64, and written to a new layer.

What is folded into a layer is kept as one factor and one summand for each output channel until the layer is made,
so that the kernels of a large network are never all held in float64 at once.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

import blocks
from blocks.layers.layer_scale import LayerScale
from zoo.lora import FACTORS, is_adapted, merged_kernel

GROUPED = {1: blocks.GroupedConv1D, 2: blocks.GroupedConv2D, 3: blocks.GroupedConv3D}
TAKES_RESIDUAL = tuple(GROUPED.values())
NAMED_AS_KERAS: dict[type, type] = dict(zip((blocks.Conv1D, blocks.Conv2D, blocks.Conv3D), TAKES_RESIDUAL, strict=True))
DEPTHWISE: tuple[type, ...] = (
    layers.DepthwiseConv2D,
    blocks.DepthwiseConv1D,
    blocks.DepthwiseConv2D,
)  # as a `blocks.GroupedConv` too
# The kernel's axes that hold the output channels, for every layer that a normalisation folds into.
OUTPUT_AXES: dict[type, tuple[int, ...]] = {
    **dict.fromkeys(TAKES_RESIDUAL, (-1,)),
    **dict.fromkeys((layers.Dense, blocks.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D), (-1,)),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), (-1,)),
    **dict.fromkeys((blocks.SeparableConv1D, blocks.SeparableConv2D), (-1,)),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), (-2,)),
    **dict.fromkeys((layers.DepthwiseConv1D, *DEPTHWISE), (-2, -1)),
}
NORMALIZATIONS = (layers.BatchNormalization, blocks.BatchNormalization)
SCALES = (*NORMALIZATIONS, LayerScale)  # a factor, and perhaps a summand, for each channel
GROUPED_CONFIG = ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups")
# With the weights of quantisation beside these, a layer computes something else. The factors of LoRA are in its kernel.
KNOWN_WEIGHT = re.compile(r"kernel(_\d+)?|depthwise_kernel|pointwise_kernel|bias|" + "|".join(FACTORS))
LORA = ("lora_rank", "lora_alpha")  # arguments of layers that it has adapted


@dataclass(frozen=True, eq=False)
class Linear:
    """One convolution or dense layer: activation(scale * operation(inputs, kernel) + bias), each per output channel.

    kind, config: class of the layer, and the arguments that make it, without activation and bias.
    read: the kernels by the names of their variables, in float64.
    scale, bias: (channels,) float64; None is 1 and 0.
    """

    kind: type[keras.Layer]
    config: dict[str, Any]
    read: Callable[[], dict[str, np.ndarray]]
    channels: int
    activation: Callable[..., Any]
    scale: np.ndarray | None = None
    bias: np.ndarray | None = None

    @property
    def name(self) -> str:
        return self.config["name"]

    @property
    def active(self) -> bool:
        """Whether an activation is applied already."""
        return self.activation is not keras.activations.linear

    def channel_axis(self, rank: int) -> int:
        """Which axis of the outputs, of `rank` axes, holds the channels."""
        return 1 if self.config.get("data_format") == "channels_first" else rank - 1

    def kernels(self) -> dict[str, np.ndarray]:
        """The kernels with `scale` multiplied in. Several hold consecutive output channels each."""
        weights, first = self.read(), 0
        if self.scale is None:
            return weights
        for name in sorted(weights, key=_number):
            if name != "depthwise_kernel":
                axes = OUTPUT_AXES[self.kind]
                sizes = [weights[name].shape[axis] for axis in axes]
                shape = (*sizes, *(1,) * (-1 - axes[-1]))
                last = first + math.prod(sizes)
                weights[name] = weights[name] * self.scale[first:last].reshape(shape)
                first = last
        return weights

    def normalized(self, norm: keras.Layer) -> "Linear":
        """This layer followed by the normalisation, by its running statistics.

        Source: Ioffe and Szegedy 2015, Batch Normalization, section 3.1, arXiv:1502.03167, equation 11.
        """
        return self.scaled(*statistics(norm))

    def scaled(self, factor: np.ndarray, summand: np.ndarray) -> "Linear":
        """factor * this layer + summand, each (channels,)."""
        bias = summand if self.bias is None else self.bias * factor + summand
        return replace(self, scale=factor if self.scale is None else self.scale * factor, bias=bias)

    def make(self) -> keras.Layer:
        """The new layer, to be called once and then given its weights by `assign`."""
        return self.kind.from_config(
            {**self.config, "activation": self.activation, "use_bias": self.bias is not None, "trainable": False}
        )

    def assign(self, layer: keras.Layer) -> None:
        """Write kernels and bias into what `make` returned."""
        values = self.kernels() | ({} if self.bias is None else {"bias": self.bias})
        for variable in layer.weights:
            variable.assign(values.pop(variable.name))
        assert not values, f"{self.name} has no place for {list(values)}"


def linear_of(layer: keras.Layer, name: str | None = None) -> Linear | None:
    """`layer`, under another name if one is given; None where it is no convolution or dense layer."""
    kind: type = NAMED_AS_KERAS.get(type(layer), type(layer))
    if kind not in OUTPUT_AXES or not all(KNOWN_WEIGHT.fullmatch(weight.name) for weight in layer.weights):
        return None
    config = {key: _bare(key, value) for key, value in layer.get_config().items() if key not in LORA}
    weights = {weight.name: weight for weight in layer.weights if weight.name not in FACTORS}
    bias = weights.pop("bias", None)
    linear = Linear(
        kind=kind,
        config=config | {"name": name or layer.name},
        read=lambda: {
            key: float64(merged_kernel(layer) if is_adapted(layer) else weight) for key, weight in weights.items()
        },
        channels=sum(
            math.prod(variable.shape[axis] for axis in OUTPUT_AXES[kind])
            for key, variable in weights.items()
            if key != "depthwise_kernel"
        ),
        activation=keras.activations.get(layer.activation),
        bias=None if bias is None else float64(bias),
    )
    # Keras runs these through XLA, which takes many times as long on a CPU.
    slow = kind in (layers.Conv1D, layers.Conv2D, layers.Conv3D) and layer.groups > 1
    return grouped(linear) if slow or kind in (blocks.DepthwiseConv1D, blocks.DepthwiseConv2D) else linear


def grouped(linear: Linear) -> Linear:
    """A convolution of Keras, Conv1D to Conv3D, or a depthwise one, as the layer of `blocks` that computes the same."""
    config = {key: value for key, value in linear.config.items() if key in (*GROUPED_CONFIG, "name", "dtype")}
    kind, read = GROUPED[len(config["kernel_size"])], linear.read
    if linear.kind in DEPTHWISE:
        # (..., C, multiplier) in C groups: the outputs are in the order of the two last axes already.
        config |= {"filters": linear.channels, "groups": linear.channels // linear.config["depth_multiplier"]}
        depthwise_shape = (*config["kernel_size"], 1, linear.channels)
        return replace(
            linear, kind=kind, config=config, read=lambda: {"kernel": read()["kernel"].reshape(depthwise_shape)}
        )
    return replace(linear, kind=kind, config=config)


def statistics(norm: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Factor and summand of each channel, (C,) float64, that one of `SCALES` comes to at inference."""
    if type(norm) is LayerScale:
        return float64(norm.gamma), np.zeros(norm.gamma.shape)
    factor = 1.0 / np.sqrt(float64(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * float64(norm.gamma)
    summand = -float64(norm.moving_mean) * factor
    return factor, summand if norm.beta is None else summand + float64(norm.beta)


def float64(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype("float64")


def _bare(key: str, value: Any) -> Any:
    """An argument of the layer, without what concerns training only."""
    if key.endswith("_initializer"):
        return "zeros"
    return None if key.endswith(("_regularizer", "_constraint")) else value


def _number(name: str) -> int:
    """The position of kernel_0, kernel_1, ... among them."""
    return int(name.rpartition("_")[2]) if name[-1].isdigit() else 0
