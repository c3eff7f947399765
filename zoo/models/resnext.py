"""ResNeXt. Layer names follow timm's `resnet.py`, whose stride is on the 3x3 convolution."""

from dataclasses import dataclass, replace

from zoo.checks import check_positive, round_channels
from zoo.models.description import Citation, setting
from zoo.models.residual import EXPANSION, RESNET_WIDTH, SAME_SIZE, GroupWidth, block_weights, check_common, equal_width
from zoo.typing import Tensor

SUMMARY = "ResNeXt: bottlenecks whose 3x3 convolution is split into `groups` paths; ResNet is its case of one group."
PAPERS = (
    Citation("Xie et al.", 2017, "Aggregated Residual Transformations for Deep Neural Networks", arxiv="1611.05431"),
    Citation("He et al.", 2016, "Deep Residual Learning for Image Recognition", arxiv="1512.03385"),
    Citation("Hu et al.", 2018, "Squeeze-and-Excitation Networks", arxiv="1709.01507", subject="SE-ResNeXt"),
    Citation(
        "He et al.",
        2019,
        "Bag of Tricks for Image Classification",
        where="section 4.2",
        arxiv="1812.01187",
        subject="Version D",
    ),
)

DEPTHS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # blocks of each stage
VERSIONS = ("b", "d", "t")  # "b" is left out of names
CLASSIFIER = "fc"
SE = 1 / 16  # squeeze_ratio of the SE networks: their reduction ratio r is 16


@dataclass(frozen=True)
class ResNeXt(GroupWidth):
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of ResNet, whatever the groups: `equal_width`.

    Raises:
        ValueError: for settings that the family does not have, or
            groups that would make it over twice as large as it should be.

    Source: Xie et al. 2017, Aggregated Residual Transformations for Deep Neural Networks, arXiv:1611.05431.

    Example:
        >>> from zoo.models.resnext import ResNeXt
        >>> ResNeXt(depth=50, groups=16).name
        'resnext50_16x8d'
        >>> ResNeXt(depth=51)
        Traceback (most recent call last):
            ...
        ValueError: depth=51 is not allowed for ResNeXt: use 26, 50, 101, 152; the nearest is 50.
    """

    depth: int = setting(50, "layers, as the paper counts them")
    groups: int = setting(32, f"cardinality, C in the paper; {SAME_SIZE}")
    width_per_group: int | None = setting(None, "d in the paper: channels of a group at the first stage")
    squeeze_ratio: float = setting(
        0.0, "> 0: SE-ResNeXt; channels of the gate's hidden layer over those that it scales"
    )
    version: str = setting(
        "b", 'stem and shortcuts: "b" the paper\'s, "d" of Bag of Tricks, "t" the same with a narrower stem'
    )
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        check_common(self.depth, DEPTHS, self.groups, self.version, VERSIONS, self.drop_path, "ResNeXt")
        if self.width_per_group is None:
            width = equal_width(self.groups, block_weights(1, RESNET_WIDTH))
            object.__setattr__(self, "width_per_group", width)
        check_positive("width_per_group", self.group_width, "ResNeXt")
        if not 0 <= self.squeeze_ratio <= 1:
            raise ValueError(
                f"squeeze_ratio={self.squeeze_ratio!r} is not allowed for ResNeXt: use 0 to 1, 0.0625 say."
            )

    @property
    def name(self) -> str:
        prefix, suffix = "se" if self.squeeze_ratio else "", "" if self.version == "b" else self.version
        if (self.groups, self.width_per_group) == (1, RESNET_WIDTH):
            return f"{prefix}resnet{self.depth}{suffix}"
        return f"{prefix}resnext{self.depth}{suffix}_{self.groups}x{self.width_per_group}d"

    def with_groups(self, groups: int) -> "ResNeXt":
        """This network with another cardinality and, as nearly as can be, the same size."""
        width = equal_width(groups, block_weights(self.groups, self.group_width))
        return replace(self, groups=groups, width_per_group=width)


VARIANTS = {
    "resnet26": ResNeXt(26, 1),
    "resnet26d": ResNeXt(26, 1, version="d"),
    "resnet26t": ResNeXt(26, 1, version="t"),
    "resnet50": ResNeXt(50, 1),
    "resnet50d": ResNeXt(50, 1, version="d"),
    "resnet50t": ResNeXt(50, 1, version="t"),
    "resnet101": ResNeXt(101, 1),
    "resnet101d": ResNeXt(101, 1, version="d"),
    "resnet152": ResNeXt(152, 1),
    "resnet152d": ResNeXt(152, 1, version="d"),
    "resnext50_32x4d": ResNeXt(50, 32, 4),
    "resnext50d_32x4d": ResNeXt(50, 32, 4, version="d"),
    "resnext50_32x8d": ResNeXt(50, 32, 8),
    "resnext50_64x4d": ResNeXt(50, 64, 4),
    "resnext101_32x4d": ResNeXt(101, 32, 4),
    "resnext101_32x8d": ResNeXt(101, 32, 8),
    "resnext101_32x16d": ResNeXt(101, 32, 16),
    "resnext101_32x32d": ResNeXt(101, 32, 32),
    "resnext101_64x4d": ResNeXt(101, 64, 4),
    "seresnet50": ResNeXt(50, 1, squeeze_ratio=SE),
    "seresnet50t": ResNeXt(50, 1, squeeze_ratio=SE, version="t"),
    "seresnet101": ResNeXt(101, 1, squeeze_ratio=SE),
    "seresnet152": ResNeXt(152, 1, squeeze_ratio=SE),
    "seresnet152d": ResNeXt(152, 1, squeeze_ratio=SE, version="d"),
    "seresnext26d_32x4d": ResNeXt(26, 32, 4, SE, version="d"),
    "seresnext26t_32x4d": ResNeXt(26, 32, 4, SE, version="t"),
    "seresnext50_32x4d": ResNeXt(50, 32, 4, SE),
    "seresnext101_32x4d": ResNeXt(101, 32, 4, SE),
    "seresnext101_32x8d": ResNeXt(101, 32, 8, SE),
    "seresnext101d_32x8d": ResNeXt(101, 32, 8, SE, version="d"),
    "seresnext101_64x4d": ResNeXt(101, 64, 4, SE),
}


def build(config: ResNeXt, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import residual_stages, resnet_stem, resnext_block

    def block(x: Tensor, stage: int, strides: int, drop_path: float, name: str) -> Tensor:
        filters = RESNET_WIDTH * EXPANSION * 2**stage
        return resnext_block(
            x,
            filters,
            config.group_width * config.groups * 2**stage,
            config.groups,
            strides,
            squeeze=round_channels(filters * config.squeeze_ratio, floor=0.0) if config.squeeze_ratio else 0,
            pooled_shortcut=config.version != "b",
            drop_path=drop_path,
            name=name,
        )

    stem, x = resnet_stem(images, config.version, small_stem)
    return [stem, *residual_stages(x, DEPTHS[config.depth], block, config.drop_path)]


def head(config: ResNeXt, features: Tensor) -> Tensor:
    """Vector (B, 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
