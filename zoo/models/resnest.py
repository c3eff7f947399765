"""ResNeSt. Layer names follow timm's `resnest.py`."""

import math
from dataclasses import dataclass, replace

from zoo.checks import check_positive, round_channels
from zoo.models.description import Citation, setting
from zoo.models.residual import EXPANSION, RESNET_WIDTH, SAME_SIZE, GroupWidth, block_weights, check_common, equal_width
from zoo.typing import Tensor

SUMMARY = (
    "ResNeSt: bottlenecks that compute `radix` candidates for every channel of every group and weigh them by attention."
)
PAPERS = (
    Citation(
        "Zhang et al.",
        2020,
        "ResNeSt: Split-Attention Networks",
        arxiv="2004.08955",
        remark="The networks with other radix and cardinality are those of its ablation, table 2.",
    ),
)

DEPTHS = {  # blocks of each stage
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
VERSIONS = ("d", "e")
REDUCTION = 4  # channels of all candidates over the attention's hidden channels
LEAST = 32  # hidden channels
CLASSIFIER = "fc"


@dataclass(frozen=True)
class ResNeSt(GroupWidth):
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of ResNet, whatever the groups: `equal_width`.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Zhang et al. 2020, ResNeSt: Split-Attention Networks, arXiv:2004.08955.

    Example:
        >>> from zoo.models.resnest import ResNeSt
        >>> ResNeSt(depth=50, radix=4, groups=2, width_per_group=40).name
        'resnest50d_4s2x40d'
    """

    depth: int = setting(50, "layers, as ResNet's paper counts them")
    radix: int = setting(2, 'R in the paper: candidates, "splits" there')
    groups: int = setting(1, f"cardinality, K in the paper; {SAME_SIZE}")
    width_per_group: int | None = setting(None, "channels of a group at the first stage")
    pool_first: bool = setting(False, "halve the resolution before the split attention, not after it")
    version: str = setting("d", 'stem: "d" of Bag of Tricks, "e" twice as wide')
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        check_common(self.depth, DEPTHS, self.groups, self.version, VERSIONS, self.drop_path, "ResNeSt")
        check_positive("radix", self.radix, "ResNeSt")
        if self.width_per_group is None:
            width = equal_width(self.groups, block_weights(1, RESNET_WIDTH), step=self.radix)
            object.__setattr__(self, "width_per_group", width)
        check_positive("width_per_group", self.group_width, "ResNeSt")
        if self.group_width % self.radix:
            nearest = max(1, round(self.group_width / self.radix)) * self.radix
            raise ValueError(
                f"width_per_group={self.width_per_group} is not allowed for ResNeSt with radix={self.radix}, "
                f"which must divide it: the nearest is {nearest}."
            )

    @property
    def name(self) -> str:
        plain = (self.radix, self.groups, self.width_per_group) == (2, 1, RESNET_WIDTH)
        shape = "" if plain else f"_{self.radix}s{self.groups}x{self.width_per_group}d"
        return f"resnest{self.depth}{self.version}{shape}"

    def reduced(self, width: int) -> int:
        """Hidden channels of the attention over `width` channels: a multiple of 8 and of the groups."""
        divisor = math.lcm(8, self.groups)
        return max(math.ceil(LEAST / divisor) * divisor, round_channels(width * self.radix / REDUCTION, divisor))

    def with_groups(self, groups: int) -> "ResNeSt":
        """This network with another cardinality and, as nearly as can be, the same size."""
        weights = block_weights(self.groups, self.group_width)
        return replace(self, groups=groups, width_per_group=equal_width(groups, weights, step=self.radix))


VARIANTS = {
    "resnest14d": ResNeSt(14),
    "resnest26d": ResNeSt(26),
    "resnest50d": ResNeSt(50),
    "resnest50d_1s4x24d": ResNeSt(50, 1, 4, 24, pool_first=True),
    "resnest50d_4s2x40d": ResNeSt(50, 4, 2, 40, pool_first=True),
    "resnest101e": ResNeSt(101, version="e"),
    "resnest200e": ResNeSt(200, version="e"),
    "resnest269e": ResNeSt(269, version="e"),
}


def build(config: ResNeSt, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import residual_stages, resnest_block, resnet_stem

    def block(x: Tensor, stage: int, strides: int, drop_path: float, name: str) -> Tensor:
        width = config.group_width * config.groups * 2**stage
        return resnest_block(
            x,
            RESNET_WIDTH * EXPANSION * 2**stage,
            width,
            config.reduced(width),
            config.radix,
            config.groups,
            strides,
            pool_first=config.pool_first,
            drop_path=drop_path,
            name=name,
        )

    stem, x = resnet_stem(images, config.version, small_stem)
    return [stem, *residual_stages(x, DEPTHS[config.depth], block, config.drop_path)]


def head(config: ResNeSt, features: Tensor) -> Tensor:
    """Vector (B, 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
