"""The modules of aligned Xception."""

from keras import layers

from blocks.composites import activation, conv_norm, convolution, normalization, stochastic_depth
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor


def xception_module(
    inputs: Tensor,
    filters: tuple[int, int, int],
    strides: int = 1,
    groups: int | None = None,
    *,
    skip: bool = True,
    drop_path: float = 0.0,
    epsilon: float = 1e-3,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Three separable convolutions around a residual sum: (B, H, W, C) -> (B, H/strides, W/strides, filters[2]).

    With `skip` a ReLU comes before each of them and none inside; without, as in the last module of the network, a
    ReLU follows each of their halves and nothing is added. The stride is that of the third.

    Args:
        groups: of the spatial convolutions; None is depthwise.
        drop_path: the share of images whose branch is dropped in training.

    Returns: the output, and the input of the third separable convolution, (B, H, W, filters[1]): the last map of the
    module's resolution.

    Raises:
        ValueError: where `groups` does not divide C or filters[:2].

    Source: Chen et al. 2018, Encoder-Decoder with Atrous Separable Convolution, section 3.2 and figure 4,
    arXiv:1802.02611.

    Example:
        >>> y, tap = blocks.xception_module(keras.Input((64, 64, 64)), (128, 128, 128), strides=2)
        >>> y.shape, tap.shape
        ((None, 32, 32, 128), (None, 64, 64, 128))
    """
    scope = Scope(name)
    shortcut = inputs if skip else None
    if skip and (strides != 1 or inputs.shape[-1] != filters[2]):
        names = scope.names("shortcut.conv", "shortcut.bn")
        shortcut = conv_norm(inputs, filters[2], 1, strides, epsilon=epsilon, **names)
    x = activation(inputs, "relu") if skip else inputs
    for index, outputs in enumerate(filters, start=1):
        last = index == 3
        tap = x
        layer = scope / f"stack.conv{index}"
        channels = x.shape[-1]
        x = conv_norm(
            x,
            channels,
            3,
            strides if last else 1,
            channels if groups is None else groups,
            None if skip else "relu",
            epsilon=epsilon,
            **layer.names("conv_dw", "bn_dw"),
        )
        x = conv_norm(
            x,
            outputs,
            act=None if skip and last else "relu",  # with the skip, that of the convolution which follows
            residual=shortcut if last else None,
            drop_path=drop_path if last else 0.0,
            epsilon=epsilon,
            **layer.names("conv_pw", "bn_pw"),
        )
    return x, tap


def preactivated_xception_module(
    inputs: Tensor,
    filters: tuple[int, int, int],
    strides: int = 1,
    groups: int | None = None,
    *,
    skip: bool = True,
    drop_path: float = 0.0,
    epsilon: float = 1e-3,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """`xception_module` with normalisation and ReLU before each separable convolution and nothing inside or after it.

    Arguments, shapes and errors are the same; the second output comes before the third one's normalisation. What is
    added is the input behind the first normalisation.

    Raises:
        ValueError: where `groups` does not divide C or filters[:2].

    Source: timm's `xception_aligned.py`, after He et al. 2016, Identity Mappings in Deep Residual Networks,
    section 4.1, arXiv:1603.05027.

    Example:
        >>> y, tap = blocks.preactivated_xception_module(keras.Input((32, 32, 728)), (728, 728, 728))
        >>> y.shape == tap.shape
        True
    """
    scope = Scope(name)
    x = normalization(inputs, act="relu", epsilon=epsilon, name=scope("norm"))
    shortcut = x
    if skip and (strides != 1 or inputs.shape[-1] != filters[2]):
        shortcut = convolution(x, filters[2], 1, strides, name=scope("shortcut"))
    for index, outputs in enumerate(filters, start=1):
        layer = scope / f"stack.conv{index}"
        tap = x
        if index > 1:
            x = normalization(x, act="relu", epsilon=epsilon, name=layer("norm"))
        channels = x.shape[-1]
        split = channels if groups is None else groups
        x = convolution(x, channels, 3, strides if index == 3 else 1, split, name=layer("conv_dw"))
        x = convolution(x, outputs, name=layer("conv_pw"))
    return (layers.Add()([stochastic_depth(x, drop_path), shortcut]) if skip else x), tap
