"""The block of ConvNeXt."""

import math

import keras
from keras import layers

from blocks.composites import activation, convolution, stochastic_depth
from blocks.layers.dotted_names import Dense, LayerNormalization, Scope
from blocks.layers.layer_scale import LayerScale
from blocks.ops.arguments import positive
from blocks.typing import Tensor

EPSILON = 1e-6


def layer_norm(inputs: Tensor, *, name: str | None = None) -> Tensor:
    """Normalise the channels of every position of `inputs` (B, ..., C). Source: Ba et al. 2016, arXiv:1607.06450.

    Raises:
        ValueError: where the number of channels is unknown.

    Example:
        >>> from blocks.families.convnext import layer_norm
        >>> np.round(layer_norm(np.array([[1.0, 2.0, 3.0]])), 2)
        array([[-1.22,  0.  ,  1.22]], dtype=float32)
    """
    return LayerNormalization(epsilon=EPSILON, name=name)(inputs)


def convnext_block(
    inputs: Tensor,
    groups: int | None = None,
    *,
    expansion: int = 4,
    kernel_size: int = 7,
    dense: bool = True,
    drop_path: float = 0.0,
    layer_scale: float = 1e-6,
    name: str | None = None,
) -> Tensor:
    """Spatial convolution, then two layers over the channels, added to the input: (B, H, W, C) -> (B, H, W, C).

    Convolution, layer normalisation, `expansion` * C channels with GELU, C channels, scaled channel by channel.

    Args:
        groups: of the spatial convolution; None is depthwise.
        dense: whether the two layers are dense ones or 1x1 convolutions, which compute the same; checkpoints hold
            the kernels of the one as (outputs, inputs), of the other as (outputs, inputs, 1, 1).
        drop_path: the share of images whose branch is dropped in training.
        layer_scale: the scale's initial value.

    Raises:
        ValueError: where `groups` does not divide C.

    Source: Liu et al. 2022, A ConvNet for the 2020s, section 2.6 and figure 4, arXiv:2201.03545.

    Example:
        >>> x = keras.Input((14, 14, 96))
        >>> depthwise, grouped = blocks.convnext_block(x), blocks.convnext_block(x, groups=12)
        >>> keras.Model(x, depthwise).count_params(), keras.Model(x, grouped).count_params()
        (79296, 112224)
    """
    scope, channels = Scope(name), inputs.shape[-1]
    over_channels = _dense if dense else convolution
    x = convolution(
        inputs,
        channels,
        kernel_size,
        groups=channels if groups is None else groups,
        use_bias=True,
        name=scope("conv_dw"),
    )
    x = layer_norm(x, name=scope("norm"))
    x = activation(over_channels(x, expansion * channels, use_bias=True, name=scope("mlp.fc1")), "gelu")
    x = over_channels(x, channels, use_bias=True, name=scope("mlp.fc2"))
    return layers.Add()([stochastic_depth(LayerScale(layer_scale, name=name)(x), drop_path), inputs])


def _dense(inputs: Tensor, filters: int, *, use_bias: bool, name: str | None) -> Tensor:
    """A dense layer over the channels, initialised as `convolution` is."""
    initializer = keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / positive(filters, "filters")))
    return Dense(filters, use_bias=use_bias, kernel_initializer=initializer, name=name)(inputs)
