"""What the block functions of every family are composed from; images are (B, H, W, C) here.

Names follow the caller: `name` reaches the layers that hold weights, and without one Keras numbers them itself.
"""

import math

from keras import layers, ops

from blocks.layers.batch_norm import BatchNormalization
from blocks.layers.dotted_names import Activation, Scope
from blocks.layers.grouped_conv import GroupedConv2D
from blocks.layers.initializers import Normal
from blocks.layers.squeeze_excite import ChannelGate, ImageMean
from blocks.ops.arguments import positive
from blocks.typing import Tensor

MOMENTUM = 0.9  # decay of the running statistics; PyTorch's references write 1 - decay, 0.1
EPSILON = 1e-5


def convolution(
    inputs: Tensor,
    filters: int,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    *,
    padding: int | None = None,
    dilation: int = 1,
    use_bias: bool = False,
    name: str | None = None,
) -> Tensor:
    """Convolution of `inputs` (B, H, W, C), padded by `padding` on every side, or by dilation * (kernel_size // 2), as
    the references pad.

    He's initialisation over the outputs that one input reaches: filters / groups of them, not filters
    (He et al. 2015, section 2.2, backward case).

    Raises:
        ValueError: where `groups` does not divide C and `filters`, or for another wrong argument of `GroupedConv2D`.

    Example:
        >>> images = keras.Input((32, 32, 16))
        >>> blocks.convolution(images, 64, 3, strides=2, groups=4).shape
        (None, 16, 16, 64)
    """
    fan_out = positive(kernel_size, "kernel_size") ** 2 * positive(filters, "filters") / positive(groups, "groups")
    return GroupedConv2D(
        filters,
        kernel_size,
        strides,
        dilation * (kernel_size // 2) if padding is None else padding,
        "channels_last",
        dilation_rate=dilation,
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=Normal(stddev=math.sqrt(2.0 / fan_out)),
        name=name,
    )(inputs)


def normalization(
    inputs: Tensor,
    gamma: str = "ones",
    act: str | None = None,
    residual: Tensor | None = None,
    *,
    epsilon: float = EPSILON,
    name: str | None = None,
) -> Tensor:
    """activation(batch normalisation + residual) over the channels of `inputs` (B, H, W, C), with the references'
    constants.

    `gamma` initialises the scale: "zeros" in the last normalisation of a residual branch makes the block start as
    the identity (Goyal et al. 2017, Accurate, Large Minibatch SGD, section 5.1, arXiv:1706.02677).

    Raises:
        ValueError: for an activation that Keras does not know.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> y = blocks.normalization(blocks.convolution(x, 16, 3), "zeros", "relu", residual=x)
        >>> keras.Model(x, y).layers[-1].get_config()["activation"]
        'relu'
    """
    layer = BatchNormalization(-1, MOMENTUM, epsilon, gamma_initializer=gamma, activation=act, name=name)
    return layer(inputs) if residual is None else layer(inputs, residual=residual)


def activation(inputs: Tensor, kind: str | None, *, name: str | None = None) -> Tensor:
    """Activation by Keras's name ("relu", "relu6", "hard_silu"); None is none.

    Raises:
        ValueError: for a name that Keras does not know.

    Example:
        >>> from blocks.composites import activation
        >>> np.asarray(activation(np.array([-1.0, 3.0, 9.0]), "relu6")).tolist()
        [0.0, 3.0, 6.0]
    """
    return inputs if kind is None else Activation(kind, name=name)(inputs)


def conv_norm(
    inputs: Tensor,
    filters: int,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    act: str | None = None,
    *,
    residual: Tensor | None = None,
    drop_path: float = 0.0,
    gamma: str = "ones",
    epsilon: float = EPSILON,
    padding: int | None = None,
    dilation: int = 1,
    name: str | None = None,
    norm_name: str | None = None,
) -> Tensor:
    """Convolution without bias, batch normalisation, residual sum, activation.

    (B, H, W, C), and the residual's (B, H/s, W/s, filters), to (B, H/s, W/s, filters).

    Args:
        drop_path: the share of images whose branch is dropped in training before the residual is added, see
            `stochastic_depth`.

    Raises:
        ValueError: where `groups` does not divide C and `filters`, or the residual has another shape.

    Example:
        >>> images = keras.Input((32, 32, 3))
        >>> x = blocks.conv_norm(images, 16, 3, strides=2, act="relu", name="stem.conv", norm_name="stem.bn")
        >>> [(layer.name, layer.output.shape) for layer in keras.Model(images, x).layers[1:]]
        [('stem.conv', (None, 16, 16, 16)), ('stem.bn', (None, 16, 16, 16))]
    """
    x = convolution(inputs, filters, kernel_size, strides, groups, padding=padding, dilation=dilation, name=name)
    if residual is None or not drop_path:
        return normalization(x, gamma, act, residual, epsilon=epsilon, name=norm_name)
    x = normalization(x, gamma, epsilon=epsilon, name=norm_name)
    return activation(layers.Add()([stochastic_depth(x, drop_path), residual]), act)


def stochastic_depth(inputs: Tensor, rate: float) -> Tensor:
    """In training, drop the whole branch `inputs` (B, H, W, C) of a share `rate` of the images, and scale the others
    by 1 / (1 - rate). Source: Huang et al. 2016, Deep Networks with Stochastic Depth, section 3, arXiv:1603.09382.

    Raises:
        ValueError: for a rate outside of 0 to 1.

    Example:
        >>> from blocks.composites import stochastic_depth
        >>> branch = keras.Input((8, 8, 16))
        >>> stochastic_depth(branch, 0.2).shape, stochastic_depth(branch, 0.0) is branch
        ((None, 8, 8, 16), True)
    """
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1))(inputs) if rate else inputs


def squeeze_excite(
    inputs: Tensor,
    reduced: int,
    gate: str = "sigmoid",
    *,
    act: str = "relu",
    layer_names: tuple[str, str] = ("conv_reduce", "conv_expand"),
    name: str | None = None,
) -> Tensor:
    """Scale each channel of `inputs` (B, H, W, C) by a gate computed from the mean of all of them.

    Mean over the image, 1x1 convolution to `reduced` channels, `act`, 1x1 convolution back, `gate`, product.
    `layer_names` are those of the two convolutions below `name`.

    Raises:
        ValueError: for `reduced` below 1, or an activation that Keras does not know.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3, arXiv:1709.01507.

    Example:
        >>> x = keras.Input((14, 14, 64))
        >>> gated = blocks.squeeze_excite(x, reduced=16)
        >>> gated.shape, keras.Model(x, gated).count_params()  # 64 * 16 + 16 + 16 * 64 + 64
        ((None, 14, 14, 64), 2128)
    """
    scope = Scope(name)
    x, inputs = ImageMean()(inputs)
    x = activation(convolution(x, reduced, use_bias=True, name=scope(layer_names[0])), act)
    x = convolution(x, inputs.shape[-1], use_bias=True, name=scope(layer_names[1]))
    return ChannelGate()(inputs, activation(x, gate))


def global_average(inputs: Tensor, keepdims: bool = False) -> Tensor:
    """Mean of `inputs` (B, H, W, C) over the image: (B, C), or (B, 1, 1, C).

    Raises:
        ValueError: for inputs of other than four axes.

    Example:
        >>> blocks.global_average(np.ones((2, 7, 7, 320))).shape == (2, 320)
        True
    """
    return layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=keepdims)(inputs)


def flatten(inputs: Tensor) -> Tensor:
    """(B, H, W, C), H and W known, to (B, H * W * C), by one operation: `keras.layers.Flatten` looks up the batch's
    size first, which divides an exported graph.

    Raises:
        TypeError: where H or W is unknown.

    Example:
        >>> from blocks.composites import flatten
        >>> flatten(keras.Input((6, 6, 256))).shape
        (None, 9216)
    """
    return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
