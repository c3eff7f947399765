"""Selective-kernel convolution and the residual blocks around it."""

from keras import layers, ops

from blocks.composites import conv_norm, convolution, normalization
from blocks.families.resnet import resnet_shortcut
from blocks.layers.dotted_names import Scope
from blocks.layers.softmax_sum import SoftmaxSum
from blocks.layers.squeeze_excite import ImageMean
from blocks.ops.arguments import check_groups
from blocks.typing import Tensor

KERNELS = (1, 2)  # dilations of the 3x3 kernels of the paths: they see 3x3 and 5x5 pixels


def selective_kernel(
    inputs: Tensor,
    filters: int,
    reduced: int,
    groups: int = 1,
    strides: int = 1,
    *,
    split_input: bool = False,
    name: str | None = None,
) -> Tensor:
    """Convolution that chooses its kernel per channel: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Two paths, 3x3 convolutions with a dilation of 1 and of 2 in `groups` groups. The mean of their sum over the image
    goes through a 1x1 convolution to `reduced` channels and one back, and the softmax over the paths weighs them.

    Args:
        split_input: each path sees one half of the input's channels in place of all.

    Raises:
        ValueError: where `groups` does not divide what a path sees, or `filters`.

    Source: Li et al. 2019, Selective Kernel Networks, section 3.1 and figure 1, arXiv:1903.06586; the split is timm's.

    Example:
        >>> blocks.selective_kernel(keras.Input((28, 28, 64)), 64, reduced=32, groups=16, strides=2).shape
        (None, 14, 14, 64)
    """
    scope, count = Scope(name), len(KERNELS)
    if split_input:
        check_groups(count, inputs.shape[-1], "channels, one part for each path: split_input=True", name="paths")
    seen = ops.split(inputs, count, axis=-1) if split_input else [inputs] * count
    paths = []
    for number, (x, dilation) in enumerate(zip(seen, KERNELS, strict=True)):
        path = scope / f"paths.{number}"
        x = conv_norm(x, filters, 3, strides, groups, "relu", dilation=dilation, **path.names("conv", "bn"))
        paths.append(x)
    means, paths = map(list, zip(*(ImageMean()(x) for x in paths), strict=True))
    gate = convolution(layers.Add()(means), reduced, name=scope("attn.fc_reduce"))
    gate = normalization(gate, act="relu", name=scope("attn.bn"))
    gate = convolution(gate, filters * count, name=scope("attn.fc_select"))
    return SoftmaxSum(count)(paths, gate)


def sk_block(
    inputs: Tensor,
    filters: int,
    width: int | None,
    reduced: int,
    groups: int = 32,
    strides: int = 1,
    *,
    split_input: bool = False,
    pooled_shortcut: bool = False,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Residual block with a selective kernel: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    The bottleneck of ResNeXt with `selective_kernel` in place of its 3x3 convolution.

    Args:
        width: channels of the bottleneck; None is the basic block of two 3x3 convolutions of `filters` channels,
            the first with the selective kernel.
        reduced: hidden channels of the attention.
        pooled_shortcut: average before the input is projected, see `resnet_shortcut`.
        drop_path: share of the images whose branch is dropped in training.

    Raises:
        ValueError: where `groups` does not divide what a path of the selective kernel sees.

    Source: Li et al. 2019, section 3.2 and table 1, arXiv:1903.06586.

    Example:
        >>> blocks.sk_block(keras.Input((56, 56, 256)), 256, width=128, reduced=32).shape
        (None, 56, 56, 256)
    """
    scope = Scope(name)
    if width is None:
        x = selective_kernel(inputs, filters, reduced, groups, strides, split_input=split_input, name=scope("conv1"))
        kernel, last = 3, scope / "conv2"
    else:
        x = conv_norm(inputs, width, act="relu", **scope.names("conv1.conv", "conv1.bn"))
        x = selective_kernel(x, width, reduced, groups, strides, split_input=split_input, name=scope("conv2"))
        kernel, last = 1, scope / "conv3"
    return conv_norm(
        x,
        filters,
        kernel,
        act="relu",
        residual=resnet_shortcut(inputs, filters, strides, pooled_shortcut, name=name),
        drop_path=drop_path,
        **last.names("conv", "bn"),
    )
