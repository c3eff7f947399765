"""The unit of CondenseNet, and the layer that hands each group the channels it has learned to see."""

from keras import layers

from blocks.composites import child, convolution, normalization
from blocks.layers.channel_selection import ChannelSelection
from blocks.layers.channel_shuffle import ChannelShuffle


def condensenet_unit(inputs, growth: int, groups: int = 4, *, bottleneck: int = 4, name: str | None = None):
    """Dense unit of learned group convolutions, condensed: (B, H, W, C) -> (B, H, W, C + growth).

    Selection of channels, grouped 1x1 convolution to bottleneck * growth channels, channel shuffle, grouped 3x3
    convolution to `growth`; normalisation and ReLU come before each convolution; the input is concatenated in front.

    Args:
        groups: of both convolutions.

    Raises:
        ValueError: where `groups` does not divide C or `growth`.

    Source: Huang et al. 2018, CondenseNet, section 3 and figure 2, arXiv:1711.09224.
    """
    first, second = child(name, "conv1"), child(name, "conv2")
    x = ChannelSelection(groups=groups, name=first)(inputs)
    x = normalization(x, act="relu", name=child(first, "bn"))
    x = convolution(x, bottleneck * growth, groups=groups, name=child(first, "conv"))
    x = ChannelShuffle(groups, "channels_last")(x)
    x = normalization(x, act="relu", name=child(second, "bn"))
    x = convolution(x, growth, 3, groups=groups, name=child(second, "conv"))
    return layers.Concatenate(name=name)([inputs, x])
