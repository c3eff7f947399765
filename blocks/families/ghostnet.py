"""The module and the bottleneck of GhostNet, and the attention of its second version."""

from keras import layers, ops

from blocks.composites import conv_norm, normalization, squeeze_excite
from blocks.layers.dotted_names import Scope
from blocks.layers.grouped_conv import GroupedConv2D
from blocks.layers.pooling import PaddedPooling2D
from blocks.layers.resize import ResizeLike
from blocks.typing import Tensor


def ghost_module(
    inputs: Tensor,
    filters: int,
    act: str | None = "relu",
    groups: int | None = None,
    *,
    attention: bool = False,
    name: str | None = None,
) -> Tensor:
    """Ghost module: (B, H, W, C) -> (B, H, W, filters), half of them computed and half derived from those.

    1x1 convolution to filters / 2 intrinsic maps, then a spatial 3x3 on each of these, the cheap operation, for as
    many ghosts; both are normalised and go through `act`, and are concatenated.

    Args:
        groups: of the spatial convolutions; None is depthwise.
        attention: multiply the result with the decoupled fully connected attention of version 2 (`dfc_attention`).

    Raises:
        ValueError: where filters is odd, or `groups` does not divide filters / 2.

    Source: Han et al. 2020, GhostNet, section 3.1 and figure 1, arXiv:1911.11907, with s = 2 and d = 3.

    Example:
        >>> blocks.ghost_module(keras.Input((28, 28, 16)), 48).shape
        (None, 28, 28, 48)
        >>> blocks.ghost_module(keras.Input((28, 28, 16)), 49)
        Traceback (most recent call last):
            ...
        ValueError: filters=49 is not allowed for a ghost module: it must be even, 50 say.
    """
    if filters % 2:
        raise ValueError(f"filters={filters} is not allowed for a ghost module: it must be even, {filters + 1} say.")
    scope, half = Scope(name), filters // 2
    intrinsic = conv_norm(inputs, half, act=act, **scope.names("primary_conv.0", "primary_conv.1"))
    depthwise = half if groups is None else groups
    ghosts = conv_norm(intrinsic, half, 3, 1, depthwise, act, **scope.names("cheap_operation.0", "cheap_operation.1"))
    x = layers.Concatenate()([intrinsic, ghosts])
    if attention:
        x = ops.multiply(x, ResizeLike()(dfc_attention(inputs, filters, groups, name=scope("short_conv")), x))
    return x


def dfc_attention(inputs: Tensor, filters: int, groups: int | None = None, *, name: str | None = None) -> Tensor:
    """Decoupled fully connected attention: (B, H, W, C) -> (B, floor(H/2), floor(W/2), filters), between 0 and 1.

    2x2 average, 1x1 convolution, and what stands for a fully connected layer along the rows and one along the
    columns: spatial convolutions of 1x5 and 5x1. A normalisation follows each, and a sigmoid the last.

    Args:
        groups: of the spatial convolutions; None is depthwise.

    Raises:
        ValueError: where `groups` does not divide `filters`, or the images are of a single row or column.

    Source: Tang et al. 2022, GhostNetV2, section 4.1 and figure 4, arXiv:2211.12905.

    Example:
        >>> blocks.dfc_attention(keras.Input((15, 15, 16)), 48).shape
        (None, 7, 7, 48)
    """
    scope = Scope(name)
    x = PaddedPooling2D("average", 2, 2, "valid", "channels_last")(inputs)
    x = conv_norm(x, filters, **scope.names("0", "1"))
    for index, kernel in ((2, (1, 5)), (4, (5, 1))):
        x = GroupedConv2D(
            filters,
            kernel,
            padding=(kernel[0] // 2, kernel[1] // 2),
            data_format="channels_last",
            groups=filters if groups is None else groups,
            use_bias=False,
            kernel_initializer="he_normal",
            name=scope(index),
        )(x)
        x = normalization(x, act="sigmoid" if index == 4 else None, name=scope(index + 1))
    return x


def ghost_bottleneck(
    inputs: Tensor,
    filters: int,
    expanded: int,
    kernel_size: int = 3,
    strides: int = 1,
    groups: int | None = None,
    *,
    squeeze: int = 0,
    attention: bool = False,
    name: str | None = None,
) -> Tensor:
    """Ghost bottleneck: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Ghost module to `expanded` channels; at stride 2 a spatial convolution of `kernel_size`; optional
    squeeze-and-excitation; linear ghost module to `filters`; the input is added, through a spatial and a 1x1
    convolution where its shape changes.

    Args:
        groups: of the spatial convolutions; None is depthwise.
        squeeze: channels of the squeeze-and-excitation; 0 is none.
        attention: of the first module, as in version 2.

    Raises:
        ValueError: where a number of channels is odd, or `groups` does not divide that of a spatial convolution.

    Source: Han et al. 2020, GhostNet, section 3.2 and figure 3, arXiv:1911.11907.

    Example:
        >>> blocks.ghost_bottleneck(keras.Input((28, 28, 16)), 24, expanded=48, strides=2, squeeze=12).shape
        (None, 14, 14, 24)
    """
    scope, channels = Scope(name), inputs.shape[-1]
    x = ghost_module(inputs, expanded, "relu", groups, attention=attention, name=scope("ghost1"))
    if strides > 1:
        x = conv_norm(
            x, expanded, kernel_size, strides, expanded if groups is None else groups, **scope.names("conv_dw", "bn_dw")
        )
    if squeeze:
        x = squeeze_excite(x, squeeze, "hard_sigmoid", name=scope("se"))
    x = ghost_module(x, filters, None, groups, name=scope("ghost2"))
    if strides == 1 and channels == filters:
        return layers.Add(name=name)([x, inputs])
    shortcut = conv_norm(
        inputs,
        channels,
        kernel_size,
        strides,
        channels if groups is None else groups,
        **scope.names("shortcut.0", "shortcut.1"),
    )
    # The sum goes into the shortcut's last normalisation: one kernel.
    return conv_norm(shortcut, filters, residual=x, **scope.names("shortcut.2", "shortcut.3"))
