"""Res2Net. Layer names follow timm's `res2net.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_positive
from zoo.models.description import Citation, setting
from zoo.models.residual import EXPANSION, RESNET_WIDTH, SAME_SIZE, GroupWidth, block_weights, check_common, equal_width
from zoo.typing import Tensor

SUMMARY = (
    "Res2Net: bottlenecks whose 3x3 convolution is a hierarchy of `scale` smaller ones; Res2NeXt groups each of them."
)
PAPERS = (Citation("Gao et al.", 2019, "Res2Net: A New Multi-scale Backbone Architecture", arxiv="1904.01169"),)

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # blocks of each stage
VERSIONS = ("b", "d")  # "b" is left out of names
CLASSIFIER = "fc"
WIDTH, SCALE = 26, 4  # of the paper's Res2Net-50
NEXT_GROUPS, NEXT_WIDTH = 8, 4  # of its Res2NeXt-50


@dataclass(frozen=True)
class Res2Net(GroupWidth):
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of the paper's Res2Net-50, whatever the groups and the scale.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Gao et al. 2019, Res2Net: A New Multi-scale Backbone Architecture, arXiv:1904.01169.

    Example:
        >>> from zoo.models.res2net import Res2Net
        >>> Res2Net(depth=50, scale=8).name, Res2Net(depth=50, scale=8).width_per_group
        ('res2net50_14w_8s', 14)
    """

    depth: int = setting(50, "layers, as ResNet's paper counts them")
    groups: int = setting(1, f"cardinality, c in the paper: of every 3x3 convolution; {SAME_SIZE}")
    width_per_group: int | None = setting(
        None, "w in the paper where groups is 1: channels of one group at the first stage"
    )
    scale: int = setting(SCALE, "s in the paper: subsets of the bottleneck's channels")
    version: str = setting("b", 'stem and shortcuts: "b" ResNet\'s, "d" those of Bag of Tricks')
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        check_common(self.depth, DEPTHS, self.groups, self.version, VERSIONS, self.drop_path, "Res2Net")
        check_positive("scale", self.scale, "Res2Net")
        if self.width_per_group is None:
            width = equal_width(self.groups, block_weights(1, WIDTH, SCALE, SCALE - 1), self.scale, self.convolutions)
            object.__setattr__(self, "width_per_group", width)
        check_positive("width_per_group", self.group_width, "Res2Net")

    @property
    def convolutions(self) -> int:
        """How many 3x3 convolutions a block has."""
        return max(1, self.scale - 1)

    @property
    def name(self) -> str:
        version = "" if self.version == "b" else self.version
        shape = f"{self.width_per_group}w_{self.scale}s"
        if self.groups > 1:
            published = (self.groups, self.width_per_group, self.scale) == (NEXT_GROUPS, NEXT_WIDTH, SCALE)
            return f"res2next{self.depth}{version}" + ("" if published else f"_{self.groups}x{shape}")
        plain = version and (self.width_per_group, self.scale) == (WIDTH, SCALE)
        return f"res2net{self.depth}{version}" + ("" if plain else f"_{shape}")

    def with_groups(self, groups: int) -> "Res2Net":
        """This network with another cardinality and, as nearly as can be, the same size."""
        weights = block_weights(self.groups, self.group_width, self.scale, self.convolutions)
        return replace(self, groups=groups, width_per_group=equal_width(groups, weights, self.scale, self.convolutions))


VARIANTS = {
    "res2net50_26w_4s": Res2Net(50, 1, 26, 4),
    "res2net50_26w_6s": Res2Net(50, 1, 26, 6),
    "res2net50_26w_8s": Res2Net(50, 1, 26, 8),
    "res2net50_48w_2s": Res2Net(50, 1, 48, 2),
    "res2net50_14w_8s": Res2Net(50, 1, 14, 8),
    "res2net50d": Res2Net(50, 1, 26, 4, version="d"),
    "res2net101_26w_4s": Res2Net(101, 1, 26, 4),
    "res2net101d": Res2Net(101, 1, 26, 4, version="d"),
    "res2next50": Res2Net(50, 8, 4, 4),
}


def build(config: Res2Net, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import res2net_block, residual_stages, resnet_stem

    def block(x: Tensor, stage: int, strides: int, drop_path: float, name: str) -> Tensor:
        return res2net_block(
            x,
            RESNET_WIDTH * EXPANSION * 2**stage,
            config.group_width * config.groups * config.scale * 2**stage,
            config.scale,
            config.groups,
            strides,
            pooled_shortcut=config.version == "d",
            drop_path=drop_path,
            name=name,
        )

    stem, x = resnet_stem(images, config.version, small_stem)
    return [stem, *residual_stages(x, DEPTHS[config.depth], block, config.drop_path)]


def head(config: Res2Net, features: Tensor) -> Tensor:
    """Vector (B, 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
