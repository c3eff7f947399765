"""The unit of IGCV3."""

from blocks.composites import conv_norm
from blocks.layers.channel_shuffle import ChannelShuffle
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor


def igcv3_unit(
    inputs: Tensor, filters: int, expanded: int, groups: int = 2, strides: int = 1, *, name: str | None = None
) -> Tensor:
    """Interleaved low-rank group convolutions: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Linear grouped 1x1 convolution to `expanded` channels, channel shuffle, depthwise 3x3 followed by ReLU6, linear
    grouped 1x1 to `filters`; the input is added where the shape allows. An inverted residual of MobileNet v2 whose
    1x1 convolutions are in groups, and whose first one is linear.

    Args:
        groups: of both 1x1 convolutions.

    Raises:
        ValueError: where `groups` does not divide one of the numbers of channels.

    Source: Sun et al. 2018, IGCV3, section 3, arXiv:1806.00178.

    Example:
        >>> blocks.igcv3_unit(keras.Input((56, 56, 24)), 32, expanded=144, groups=2, strides=2).shape
        (None, 28, 28, 32)
    """
    scope = Scope(name)
    x = conv_norm(inputs, expanded, groups=groups, **scope.names("conv1.conv", "conv1.bn"))
    x = ChannelShuffle(groups, "channels_last")(x)
    x = conv_norm(x, expanded, 3, strides, expanded, "relu6", **scope.names("conv2.conv", "conv2.bn"))
    keeps_shape = strides == 1 and inputs.shape[-1] == filters
    return conv_norm(
        x, filters, groups=groups, residual=inputs if keeps_shape else None, **scope.names("conv3.conv", "conv3.bn")
    )
