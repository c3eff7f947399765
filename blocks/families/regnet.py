"""The bottleneck of RegNet."""

from blocks.composites import conv_norm, squeeze_excite
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor


def regnet_block(
    inputs: Tensor,
    filters: int,
    groups: int,
    strides: int = 1,
    *,
    squeeze: int = 0,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """The X block, and with `squeeze` the Y block: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `filters` channels, 3x3 in `groups` groups, 1x1, added to the input; the input is projected
    where its shape changes. A ResNeXt bottleneck whose bottleneck ratio is 1.

    Args:
        groups: of the 3x3 convolution; filters / groups is the group width g of the paper.
        squeeze: channels of the squeeze-and-excitation behind the 3x3 convolution; 0 is none.
        drop_path: the share of images whose branch is dropped in training.

    Raises:
        ValueError: where `groups` does not divide `filters`.

    Source: Radosavovic et al. 2020, figure 4 (X block) and section 4, "RegNetY", arXiv:2003.13678.

    Example:
        >>> x = keras.Input((28, 28, 64))
        >>> y_block = blocks.regnet_block(x, 128, groups=128 // 16, strides=2, squeeze=16)  # groups of 16 channels
        >>> y_block.shape
        (None, 14, 14, 128)
    """
    scope, shortcut = Scope(name), inputs
    if strides != 1 or inputs.shape[-1] != filters:
        shortcut = conv_norm(inputs, filters, 1, strides, **scope.names("downsample.conv", "downsample.bn"))
    x = conv_norm(inputs, filters, act="relu", **scope.names("conv1.conv", "conv1.bn"))
    x = conv_norm(x, filters, 3, strides, groups, "relu", **scope.names("conv2.conv", "conv2.bn"))
    if squeeze:
        x = squeeze_excite(x, squeeze, layer_names=("fc1", "fc2"), name=scope("se"))
    names = scope.names("conv3.conv", "conv3.bn")
    return conv_norm(x, filters, act="relu", residual=shortcut, drop_path=drop_path, gamma="zeros", **names)
