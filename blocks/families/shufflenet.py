"""The units of ShuffleNet v1 and v2."""

from keras import layers, ops

from blocks.composites import activation, conv_norm
from blocks.layers.channel_shuffle import ChannelShuffle
from blocks.layers.dotted_names import Scope
from blocks.layers.pooling import PaddedPooling2D
from blocks.ops.renamed import renamed_argument
from blocks.typing import Tensor


def shufflenet_v1_unit(
    inputs: Tensor,
    filters: int,
    groups: int = 3,
    strides: int = 1,
    *,
    group_first: bool = True,
    name: str | None = None,
) -> Tensor:
    """ShuffleNet v1 unit: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Grouped 1x1 convolution to filters / 4, channel shuffle, depthwise 3x3, grouped 1x1. At stride 1 the input is
    added; at stride 2 its 3x3 average is concatenated, and the unit computes filters - C channels.

    Args:
        groups: of both pointwise convolutions, g in the paper.
        group_first: False leaves the first one ungrouped, as in the first unit, whose input has few channels.

    Raises:
        ValueError: where `groups` does not divide the channels, or stride 1 would change their number.

    Source: Zhang et al. 2018, section 3.2 and figure 2, arXiv:1707.01083.

    Example:
        >>> x = blocks.shufflenet_v1_unit(keras.Input((56, 56, 24)), 240, groups=3, strides=2, group_first=False)
        >>> blocks.shufflenet_v1_unit(x, 240, groups=3).shape
        (None, 28, 28, 240)
    """
    channels = inputs.shape[-1]
    if strides == 1 and channels != filters:
        raise ValueError(f"A unit of stride 1 keeps its {channels} channels; filters={filters} needs strides=2.")
    scope, middle = Scope(name), filters // 4
    x = conv_norm(
        inputs, middle, groups=groups if group_first else 1, act="relu", **scope.names("compress_conv1", "compress_bn1")
    )
    x = ChannelShuffle(groups, "channels_last")(x)
    x = conv_norm(x, middle, 3, strides, middle, **scope.names("dw_conv2", "dw_bn2"))
    names = scope.names("expand_conv3", "expand_bn3")
    if strides == 1:
        return conv_norm(x, filters, groups=groups, act="relu", residual=inputs, **names)
    x = conv_norm(x, filters - channels, groups=groups, act="relu", **names)
    # The ReLU of a concatenation is that of its parts; the branch's is part of its normalisation.
    pooled = PaddedPooling2D("average", 3, strides, 1, "channels_last")(inputs)
    return layers.Concatenate(name=name)([x, activation(pooled, "relu")])


@renamed_argument("halves", "return_halves")
def shufflenet_v2_unit(
    inputs: Tensor,
    filters: int,
    strides: int = 1,
    groups: int | None = None,
    *,
    return_halves: bool = False,
    name: str | None = None,
) -> Tensor:
    """ShuffleNet v2 unit: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    At stride 1 half of the channels pass unchanged and the other half go through 1x1, spatial 3x3, 1x1; at stride 2
    both branches see the whole input. Concatenated, then shuffled over 2 groups.

    Args:
        inputs: images; for a unit of stride 1 also a list of the two halves of their channels.
        groups: of the spatial convolutions; None is depthwise.
        return_halves: return such a list, for another unit of stride 1: faster than to join the halves and split them
            again. Its former name `halves` is accepted, with a DeprecationWarning.

    Raises:
        ValueError: where filters is odd, `groups` does not divide a branch, or stride 1 would change the channels.

    Source: Ma et al. 2018, ShuffleNet V2, section 3 and figure 3, arXiv:1807.11164.

    Example:
        >>> x = blocks.shufflenet_v2_unit(keras.Input((56, 56, 24)), 116, strides=2)
        >>> x.shape, blocks.shufflenet_v2_unit(x, 116).shape
        ((None, 28, 28, 116), (None, 28, 28, 116))
    """
    parts = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    channels = sum(part.shape[-1] for part in parts)
    if filters % 2:
        raise ValueError(f"filters={filters} is not allowed for a ShuffleNet v2 unit: it is even, {filters + 1} say.")
    sizes = [part.shape[-1] for part in parts]
    if len(parts) > 1 and (strides != 1 or sizes != [channels // 2] * 2):
        raise ValueError(f"Two halves of equal size can go into a unit of stride 1; got {sizes} for strides={strides}.")
    if strides == 1 and channels != filters:
        raise ValueError(f"A unit of stride 1 keeps its {channels} channels; filters={filters} needs strides=2.")
    scope, half = Scope(name), filters // 2
    if strides == 1:
        branch, x = parts if len(parts) == 2 else ops.split(parts[0], 2, axis=-1)
    else:
        x = parts[0]
        branch = conv_norm(
            x, channels, 3, strides, channels if groups is None else groups, **scope.names("branch1.0", "branch1.1")
        )
        branch = conv_norm(branch, half, act="relu", **scope.names("branch1.2", "branch1.3"))
    x = conv_norm(x, half, act="relu", **scope.names("branch2.0", "branch2.1"))
    x = conv_norm(x, half, 3, strides, half if groups is None else groups, **scope.names("branch2.3", "branch2.4"))
    x = conv_norm(x, half, act="relu", **scope.names("branch2.5", "branch2.6"))
    return ChannelShuffle(2, "channels_last", num_outputs=2 if return_halves else 1, name=name)([branch, x])
