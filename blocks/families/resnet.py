"""What residual networks with bottlenecks share: stem, shortcut, and the walk through the stages."""

from collections.abc import Sequence
from typing import Protocol

from blocks.composites import conv_norm
from blocks.layers.dotted_names import Scope
from blocks.layers.pooling import PaddedPooling2D
from blocks.typing import Tensor

STEM = 64
DEEP_STEMS = {  # channels of the three 3x3 convolutions; "b" has one of 7x7 in their place
    "d": (32, 32, 64),
    "e": (64, 64, 128),
    "t": (24, 32, 64),
}


class ResidualBlock(Protocol):
    """A block of a residual network, as `residual_stages` calls it.

    Example:
        >>> def block(x, stage, strides, drop_path, name):
        ...     return blocks.resnext_block(x, 64 * 2**stage, 32 * 2**stage, 8, strides, drop_path=drop_path, name=name)
        >>> maps = blocks.residual_stages(keras.Input((16, 16, 64)), (1, 2), block)
        >>> [x.shape for x in maps]
        [(None, 16, 16, 64), (None, 8, 8, 128)]
    """

    def __call__(self, x: Tensor, stage: int, strides: int, drop_path: float, name: str, /) -> Tensor: ...


def resnet_stem(images: Tensor, version: str = "b", small: bool = False) -> list[Tensor]:
    """What the first stage needs, (B, H/4, W/4, C), after the map before its pooling, (B, H/2, W/2, C).

    Args:
        version: "b", a 7x7 convolution; "d", "e" or "t", three of 3x3, their widths in `DEEP_STEMS`.
        small: keep the resolution: no stride, no pooling, and 3x3 in place of 7x7; both are (B, H, W, C).

    Raises:
        ValueError: for another version.

    Source: He et al. 2016, table 1, arXiv:1512.03385; the deep stem, He et al. 2019, Bag of Tricks for Image
    Classification, section 4.2 and figure 2b, arXiv:1812.01187.

    Example:
        >>> images = keras.Input((224, 224, 3))
        >>> [x.shape for x in blocks.resnet_stem(images)]
        [(None, 112, 112, 64), (None, 56, 56, 64)]
        >>> [x.shape for x in blocks.resnet_stem(keras.Input((32, 32, 3)), "d", small=True)]
        [(None, 32, 32, 64), (None, 32, 32, 64)]
    """
    if version != "b" and version not in DEEP_STEMS:
        raise ValueError(f"version={version!r} is not allowed: use b, {', '.join(DEEP_STEMS)}.")
    strides = 1 if small else 2
    if version in DEEP_STEMS:
        first, second, last = DEEP_STEMS[version]
        x = conv_norm(images, first, 3, strides, act="relu", name="conv1.0", norm_name="conv1.1")
        x = conv_norm(x, second, 3, act="relu", name="conv1.3", norm_name="conv1.4")
        x = conv_norm(x, last, 3, act="relu", name="conv1.6", norm_name="bn1")
    else:
        x = conv_norm(images, STEM, 3 if small else 7, strides, act="relu", name="conv1", norm_name="bn1")
    return [x, x if small else PaddedPooling2D("max", 3, 2, 1, "channels_last", name="maxpool")(x)]


def resnet_shortcut(
    inputs: Tensor,
    filters: int,
    strides: int = 1,
    pooled: bool = False,
    *,
    layer_names: tuple[str, str] | None = None,
    name: str | None = None,
) -> Tensor:
    """`inputs` (B, H, W, C) where they have the block's shape already, else projected to (B, H/s, W/s, filters).

    Args:
        pooled: average 2x2 pixels before a 1x1 convolution without stride, so that every pixel counts (ResNet-D,
            He et al. 2019, figure 2c, arXiv:1812.01187). At the edge of an odd size the mean is over the pixels there.
        layer_names: of the convolution and its normalisation; PyTorch's numbering by default.

    Raises:
        ValueError: for `filters` or `strides` below 1.

    Source: He et al. 2016, section 3.3, option B, arXiv:1512.03385.

    Example:
        >>> x = keras.Input((56, 56, 64))
        >>> blocks.resnet_shortcut(x, 64) is x
        True
        >>> blocks.resnet_shortcut(x, 128, strides=2, pooled=True).shape
        (None, 28, 28, 128)
    """
    if strides == 1 and inputs.shape[-1] == filters:
        return inputs
    if layer_names is None:
        layer_names = ("downsample.1", "downsample.2") if pooled else ("downsample.0", "downsample.1")
    if pooled and strides > 1:
        inputs = PaddedPooling2D("average", 2, strides, "same", "channels_last")(inputs)
        strides = 1
    return conv_norm(inputs, filters, 1, strides, **Scope(name).names(*layer_names))


def residual_stages(
    inputs: Tensor, depths: Sequence[int], block: ResidualBlock, drop_path: float = 0.0
) -> list[Tensor]:
    """The output of every stage, each after the first at half the resolution of the one before.

    Args:
        depths: blocks of each stage.
        block: called as block(x, stage, strides, drop_path, name) with the number of the stage, from 0, and the name
            "layer1.0" of its first block.
        drop_path: of the last block; it grows linearly from 0 at the first.

    Raises:
        Whatever `block` raises.

    Source: He et al. 2016, table 1, arXiv:1512.03385; the rates, Huang et al. 2016, section 3, arXiv:1603.09382.

    Example:
        >>> def block(x, stage, strides, drop_path, name):
        ...     return blocks.resnext_block(x, 32 * 2**stage, 16, groups=4, strides=strides, name=name)
        >>> [x.shape for x in blocks.residual_stages(keras.Input((32, 32, 16)), (1, 2), block)]
        [(None, 32, 32, 32), (None, 16, 16, 64)]
    """
    x, blocks_built = inputs, 0
    stage_outputs: list[Tensor] = []
    for stage, blocks in enumerate(depths):
        for number in range(blocks):
            strides = 2 if stage > 0 and number == 0 else 1
            rate = drop_path * blocks_built / max(1, sum(depths) - 1)
            x = block(x, stage, strides, rate, f"layer{stage + 1}.{number}")
            blocks_built += 1
        stage_outputs.append(x)
    return stage_outputs
