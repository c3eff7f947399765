"""What the block functions of every family are composed from; images are (B, H, W, C) here.

Names follow the caller: `name` reaches the layers that hold weights, and without one Keras numbers them itself.
"""

import math

import keras
from keras import layers, ops

from blocks.convolution import GroupedConv2D
from blocks.normalization import BatchNormalization

MOMENTUM = 0.9  # the share of a running statistic that is kept; PyTorch's references write it 0.1
EPSILON = 1e-5


def child(name: str | None, suffix: str) -> str | None:
    """`name.suffix`, or None where the caller gave no name."""
    return None if name is None else f"{name}.{suffix}"


def convolution(
    inputs,
    filters: int,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    *,
    use_bias: bool = False,
    name: str | None = None,
):
    """Convolution of `inputs` (B, H, W, C), padded by kernel_size // 2 on every side as the references pad.

    He's initialisation over the outputs that one input reaches: filters / groups of them, not filters
    (He et al. 2015, section 2.2, backward case).
    """
    fan_out = kernel_size * kernel_size * filters // groups
    return GroupedConv2D(
        filters,
        kernel_size,
        strides,
        kernel_size // 2,
        "channels_last",
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / fan_out)),
        name=name,
    )(inputs)


def normalization(inputs, gamma: str = "ones", act: str | None = None, residual=None, *, name: str | None = None):
    """activation(batch normalisation + residual) over the channels of `inputs` (B, H, W, C), with the references'
    constants.

    `gamma` initialises the scale: "zeros" in the last normalisation of a residual branch makes the block start as
    the identity (Goyal et al. 2017, Accurate, Large Minibatch SGD, section 5.1, arXiv:1706.02677).
    """
    layer = BatchNormalization(-1, MOMENTUM, EPSILON, gamma_initializer=gamma, activation=act, name=name)
    return layer(inputs) if residual is None else layer(inputs, residual=residual)


def activation(inputs, kind: str | None, *, name: str | None = None):
    """Activation by Keras's name ("relu", "relu6", "hard_silu"); None is none."""
    return inputs if kind is None else layers.Activation(kind, name=name)(inputs)


def conv_norm(
    inputs,
    filters: int,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    act: str | None = None,
    *,
    residual=None,
    gamma: str = "ones",
    name: str | None = None,
    norm_name: str | None = None,
):
    """Convolution without bias, batch normalisation, residual sum, activation.

    (B, H, W, C), and the residual's (B, H/s, W/s, filters), to (B, H/s, W/s, filters).
    """
    x = convolution(inputs, filters, kernel_size, strides, groups, name=name)
    return normalization(x, gamma, act, residual, name=norm_name)


def squeeze_excite(inputs, reduced: int, gate: str = "sigmoid", *, name: str | None = None):
    """Scale each channel of `inputs` (B, H, W, C) by a gate computed from the mean of all of them.

    Mean over the image, 1x1 convolution to `reduced` channels, ReLU, 1x1 convolution back, `gate`, product.
    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3, arXiv:1709.01507.
    """
    x = ops.mean(inputs, axis=(1, 2), keepdims=True)
    x = activation(convolution(x, reduced, use_bias=True, name=child(name, "conv_reduce")), "relu")
    x = convolution(x, inputs.shape[-1], use_bias=True, name=child(name, "conv_expand"))
    return ops.multiply(inputs, activation(x, gate))


def global_average(inputs, keepdims: bool = False):
    """Mean of `inputs` (B, H, W, C) over the image: (B, C), or (B, 1, 1, C)."""
    return layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=keepdims)(inputs)
