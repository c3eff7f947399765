"""The unit of CondenseNet."""

from keras import layers

from blocks.composites import convolution, normalization
from blocks.layers.channel_selection import ChannelSelection
from blocks.layers.channel_shuffle import ChannelShuffle
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor


def condensenet_unit(
    inputs: Tensor, growth: int, groups: int = 4, *, bottleneck: int = 4, name: str | None = None
) -> Tensor:
    """Dense unit of learned group convolutions, condensed: (B, H, W, C) -> (B, H, W, C + growth).

    Selection of channels, grouped 1x1 convolution to bottleneck * growth channels, channel shuffle, grouped 3x3
    convolution to `growth`; normalisation and ReLU come before each convolution; the input is concatenated in front.

    Args:
        groups: of both convolutions.

    Raises:
        ValueError: where `groups` does not divide C or `growth`.

    Source: Huang et al. 2018, CondenseNet, section 3 and figure 2, arXiv:1711.09224.

    Example:
        >>> blocks.condensenet_unit(keras.Input((32, 32, 16)), growth=8).shape  # 16 + 8 channels
        (None, 32, 32, 24)
    """
    first, second = Scope(name) / "conv1", Scope(name) / "conv2"
    x = ChannelSelection(groups=groups, name=first.name)(inputs)
    x = normalization(x, act="relu", name=first("bn"))
    x = convolution(x, bottleneck * growth, groups=groups, name=first("conv"))
    x = ChannelShuffle(groups, "channels_last")(x)
    x = normalization(x, act="relu", name=second("bn"))
    x = convolution(x, growth, 3, groups=groups, name=second("conv"))
    return layers.Concatenate(name=name)([inputs, x])
