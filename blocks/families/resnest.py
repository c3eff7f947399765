"""Split attention and the bottleneck of ResNeSt."""

from keras import ops

from blocks.composites import activation, conv_norm, convolution, normalization
from blocks.families.resnet import resnet_shortcut
from blocks.layers.dotted_names import Scope
from blocks.layers.pooling import PaddedPooling2D
from blocks.layers.softmax_sum import SoftmaxSum
from blocks.layers.squeeze_excite import ChannelGate, ImageMean
from blocks.ops.arguments import check_groups
from blocks.typing import Tensor


def split_attention(
    inputs: Tensor,
    filters: int,
    reduced: int,
    radix: int = 2,
    groups: int = 1,
    strides: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Convolution whose outputs are weighed against each other: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    A 3x3 convolution in radix * groups groups computes `radix` candidates for every output channel. The mean of their
    sum over the image goes through two 1x1 convolutions, the first to `reduced` channels, and the softmax over the
    candidates (with a radix of 1, the sigmoid) says how much each contributes.

    Args:
        groups: of all three convolutions, the cardinality K of the paper; radix is its R.

    Raises:
        ValueError: where radix * groups does not divide C, or `groups` not `filters` and `reduced`.

    Source: Zhang et al. 2020, ResNeSt: Split-Attention Networks, section 3.1 and figure 2, arXiv:2004.08955.

    Example:
        >>> blocks.split_attention(keras.Input((28, 28, 64)), 64, reduced=32, radix=2, groups=2).shape
        (None, 28, 28, 64)
    """
    check_groups(radix * groups, inputs.shape[-1], "channels of the input", name="radix * groups")
    check_groups(groups, filters, "filters")
    check_groups(groups, reduced, "hidden channels of the attention")
    scope = Scope(name)
    x = conv_norm(inputs, filters * radix, 3, strides, groups * radix, "relu", **scope.names("conv", "bn0"))
    gate, x = ImageMean()(x)
    if radix > 1:
        gate = ops.sum(ops.reshape(gate, (-1, 1, radix, filters)), axis=2, keepdims=True)
    gate = convolution(gate, reduced, groups=groups, use_bias=True, name=scope("fc1"))
    gate = normalization(gate, act="relu", name=scope("bn1"))
    gate = convolution(gate, filters * radix, groups=groups, use_bias=True, name=scope("fc2"))
    if radix == 1:
        return ChannelGate()(x, activation(gate, "sigmoid"))
    if groups > 1:  # its channels are (groups, radix, filters / groups), and those of the image (radix, filters)
        gate = ops.reshape(gate, (-1, groups, radix, filters // groups))
        gate = ops.reshape(ops.transpose(gate, (0, 2, 1, 3)), (-1, 1, 1, radix * filters))
    return SoftmaxSum(radix)(x, gate)


def resnest_block(
    inputs: Tensor,
    filters: int,
    width: int,
    reduced: int,
    radix: int = 2,
    groups: int = 1,
    strides: int = 1,
    *,
    pool_first: bool = False,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Bottleneck around `split_attention`: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `width` channels, split attention, 1x1 to `filters`, added to the input, which is averaged and
    projected where its shape changes. The resolution is halved by averaging 3x3 pixels, not by the convolution.

    Args:
        reduced: hidden channels of the attention.
        pool_first: average before the split attention and not after it.
        drop_path: share of the images whose branch is dropped in training.

    Raises:
        ValueError: where radix * groups does not divide `width`, or `groups` not `reduced`.

    Source: Zhang et al. 2020, sections 3.1 and 3.2 and figure 1, arXiv:2004.08955.

    Example:
        >>> blocks.resnest_block(keras.Input((56, 56, 256)), 512, width=128, reduced=64, strides=2).shape
        (None, 28, 28, 512)
    """
    scope = Scope(name)
    shortcut = resnet_shortcut(inputs, filters, strides, pooled=True, name=name)
    x = conv_norm(inputs, width, act="relu", **scope.names("conv1", "bn1"))
    if strides > 1 and pool_first:
        x = PaddedPooling2D("average", 3, strides, 1, "channels_last")(x)
    x = split_attention(x, width, reduced, radix, groups, name=scope("conv2"))
    if strides > 1 and not pool_first:
        x = PaddedPooling2D("average", 3, strides, 1, "channels_last")(x)
    return conv_norm(
        x, filters, act="relu", residual=shortcut, drop_path=drop_path, gamma="zeros", **scope.names("conv3", "bn3")
    )
