"""The bottleneck of Res2Net and Res2NeXt."""

from keras import layers, ops

from blocks.composites import conv_norm
from blocks.families.resnet import resnet_shortcut
from blocks.layers.dotted_names import Scope
from blocks.layers.pooling import PaddedPooling2D
from blocks.ops.arguments import check_groups
from blocks.typing import Tensor


def res2net_block(
    inputs: Tensor,
    filters: int,
    width: int,
    scale: int = 4,
    groups: int = 1,
    strides: int = 1,
    *,
    pooled_shortcut: bool = False,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Bottleneck with `scale` receptive fields: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `width` channels, split into `scale` subsets. Each but the last goes through a 3x3 convolution
    of its own, to which the output of the one before is added; the last passes unchanged. Concatenated, 1x1 to
    `filters`, added to the input. Where the block changes the input's shape, nothing is handed from subset to subset,
    and the last one is averaged over 3x3 pixels.

    Args:
        scale: s in the paper; 1 leaves one 3x3 convolution of all channels.
        groups: of every 3x3 convolution, c in the paper.
        pooled_shortcut: average before the input is projected, see `resnet_shortcut`.
        drop_path: share of the images whose branch is dropped in training.

    Raises:
        ValueError: where `scale` does not divide `width`, or `groups` a subset.

    Source: Gao et al. 2019, Res2Net, sections 3.1 and 3.3 and figure 2b, arXiv:1904.01169; the shape-changing block
    follows the authors' code.

    Example:
        >>> blocks.res2net_block(keras.Input((56, 56, 256)), 256, width=4 * 26, scale=4).shape  # 26w x 4s
        (None, 56, 56, 256)
    """
    check_groups(scale, width, "channels, one subset for each scale", name="scale")
    scope = Scope(name)
    changes = strides != 1 or inputs.shape[-1] != filters
    shortcut = resnet_shortcut(inputs, filters, strides, pooled_shortcut, name=name)
    x = conv_norm(inputs, width, act="relu", **scope.names("conv1", "bn1"))
    subsets = ops.split(x, scale, axis=-1) if scale > 1 else [x]
    outputs: list[Tensor] = []
    for number, x in enumerate(subsets[: max(1, scale - 1)]):
        if number and not changes:
            x = layers.Add()([outputs[-1], x])
        names = scope.names(f"convs.{number}", f"bns.{number}")
        x = conv_norm(x, width // scale, 3, strides, groups, "relu", **names)
        outputs.append(x)
    if scale > 1:
        last = subsets[-1]
        outputs.append(PaddedPooling2D("average", 3, strides, 1, "channels_last")(last) if changes else last)
        x = layers.Concatenate()(outputs)
    return conv_norm(
        x, filters, act="relu", residual=shortcut, drop_path=drop_path, gamma="zeros", **scope.names("conv3", "bn3")
    )
