"""ResNeXt: bottlenecks whose 3x3 convolution is split into `groups` paths; ResNet is its case of one group.

Xie et al. 2017, Aggregated Residual Transformations for Deep Neural Networks, arXiv:1611.05431.
He et al. 2016, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Layer names follow timm's `resnet.py`, whose stride is on the 3x3 convolution.
"""

from dataclasses import dataclass, replace

from zoo.checks import check_choice, check_positive

DEPTHS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # blocks of each stage
CLASSIFIER = "fc"
EXPANSION = 4  # outputs of a bottleneck over its nominal width, 64 at the first stage
RESNET_WIDTH = 64


def block_weights(groups: int, width: int) -> int:
    """Weights of a first-stage bottleneck of 256 channels, C * (256 d + 9 d^2 + 256 d): equation 4 of the paper."""
    return groups * (2 * EXPANSION * RESNET_WIDTH * width + 9 * width * width)


def equal_width(groups: int, weights: int) -> int:
    """The width of a group, d, whose bottleneck is nearest to `weights`: section 3.2 and table 2 of the paper.

    Of 1, 2, 4, 8 and 32 groups at ResNet-50's size it makes 64, 40, 24, 14 and 4, as the paper does.
    Raises ValueError where not even one channel a group is that small.
    """
    if block_weights(groups, 1) > 2 * weights:
        most = 2 * weights // block_weights(1, 1)
        raise ValueError(
            f"groups={groups} makes a bottleneck of one channel a group over twice as large as it should be: "
            f"use at most {most}, or set width_per_group."
        )
    return min(range(1, 512), key=lambda width: abs(block_weights(groups, width) - weights))


@dataclass(frozen=True)
class ResNeXt:
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of ResNet, whatever the groups: `equal_width`.
    """

    depth: int = 50
    groups: int = 32  # cardinality, C in the paper
    width_per_group: int | None = None  # d in the paper: channels of a group at the first stage

    def __post_init__(self):
        check_choice("depth", self.depth, DEPTHS, "ResNeXt")
        check_positive("groups", self.groups, "ResNeXt")
        if self.width_per_group is None:
            width = equal_width(self.groups, block_weights(1, RESNET_WIDTH))
            object.__setattr__(self, "width_per_group", width)
        check_positive("width_per_group", self.width_per_group, "ResNeXt")

    @property
    def name(self) -> str:
        if (self.groups, self.width_per_group) == (1, RESNET_WIDTH):
            return f"resnet{self.depth}"
        return f"resnext{self.depth}_{self.groups}x{self.width_per_group}d"

    def with_groups(self, groups: int) -> "ResNeXt":
        """This network with another cardinality and, as nearly as can be, the same size."""
        width = equal_width(groups, block_weights(self.groups, self.width_per_group))
        return replace(self, groups=groups, width_per_group=width)


VARIANTS = {
    "resnet26": ResNeXt(depth=26, groups=1),
    "resnet50": ResNeXt(depth=50, groups=1),
    "resnet101": ResNeXt(depth=101, groups=1),
    "resnet152": ResNeXt(depth=152, groups=1),
    "resnext50_32x4d": ResNeXt(depth=50, groups=32, width_per_group=4),
    "resnext50_32x8d": ResNeXt(depth=50, groups=32, width_per_group=8),
    "resnext50_64x4d": ResNeXt(depth=50, groups=64, width_per_group=4),
    "resnext101_32x4d": ResNeXt(depth=101, groups=32, width_per_group=4),
    "resnext101_32x8d": ResNeXt(depth=101, groups=32, width_per_group=8),
    "resnext101_64x4d": ResNeXt(depth=101, groups=64, width_per_group=4),
}


def build(config: ResNeXt, images, small_stem: bool = False) -> list:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import PaddedPooling2D, conv_norm, resnext_block

    kernel, strides = (3, 1) if small_stem else (7, 2)
    x = conv_norm(images, 64, kernel, strides, act="relu", name="conv1", norm_name="bn1")
    features = [x]
    if not small_stem:
        x = PaddedPooling2D("max", 3, 2, 1, "channels_last", name="maxpool")(x)
    for stage, blocks in enumerate(DEPTHS[config.depth]):
        scale = 2**stage
        for block in range(blocks):
            x = resnext_block(
                x,
                filters=RESNET_WIDTH * EXPANSION * scale,
                width=config.width_per_group * config.groups * scale,
                groups=config.groups,
                strides=2 if stage > 0 and block == 0 else 1,
                name=f"layer{stage + 1}.{block}",
            )
        features.append(x)
    return features


def head(config: ResNeXt, features):
    """Vector (B, 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
