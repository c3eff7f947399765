"""SKNet. Layer names follow timm's `sknet.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_groups, check_positive, round_channels
from zoo.models.description import Citation, setting
from zoo.models.residual import EXPANSION, RESNET_WIDTH, GroupWidth, block_weights, check_common, equal_width
from zoo.typing import Tensor

SUMMARY = "SKNet: ResNeXt whose 3x3 convolution chooses between two kernels, channel by channel and image by image."
PAPERS = (
    Citation(
        "Li et al.",
        2019,
        "Selective Kernel Networks",
        arxiv="1903.06586",
        remark=(
            "`skresnext50_32x4d` is its SKNet-50. In the others, timm's, each kernel sees one half of "
            "the channels, which keeps them as small as the ResNets that they are made from."
        ),
    ),
)

BASIC = (18, 34)  # depths whose blocks are no bottlenecks
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # blocks of each stage
VERSIONS = ("b", "d")  # "b" is left out of names
CLASSIFIER = "fc"


@dataclass(frozen=True)
class SKResNeXt(GroupWidth):
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of `skresnext50_32x4d` or, with split, of ResNet, whatever the groups.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Li et al. 2019, Selective Kernel Networks, arXiv:1903.06586.

    Example:
        >>> from zoo.models.sk_resnext import SKResNeXt
        >>> SKResNeXt(50, groups=32, width_per_group=4).name, SKResNeXt(50).reduced(256)
        ('skresnext50_32x4d', 32)
    """

    depth: int = setting(50, "layers, as ResNet's paper counts them")
    groups: int = setting(
        32,
        "G in the paper: of the convolutions between which the network chooses; "
        "groups=N gives this network with another number of groups and, as nearly as can be, the same size",
    )
    width_per_group: int | None = setting(None, "channels of a group at the first stage")
    split: bool = setting(False, "each kernel sees one half of the channels")
    reduction: int = setting(16, "r in the paper: channels over the attention's hidden channels")
    least: int = setting(32, "L in the paper: the fewest hidden channels; they are a multiple of it")
    version: str = setting("b", 'stem and shortcuts: "b" ResNet\'s, "d" those of Bag of Tricks')
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        what = f"SK-ResNet-{self.depth}"
        check_common(self.depth, DEPTHS, self.groups, self.version, VERSIONS, self.drop_path, what)
        for field in ("reduction", "least"):
            check_positive(field, getattr(self, field), what)
        if self.depth in BASIC:
            seen = RESNET_WIDTH // 2 if self.split else RESNET_WIDTH
            check_groups(self.groups, (seen,), f"3x3 convolution of {what}")
            if self.width_per_group not in (None, RESNET_WIDTH // self.groups):
                only = f"{RESNET_WIDTH // self.groups} with groups={self.groups}"
                raise ValueError(f"width_per_group={self.width_per_group} is not allowed for {what}: it is {only}.")
        width = self.width_per_group or self.equal_width(self._published_weights)
        object.__setattr__(self, "width_per_group", width)
        check_positive("width_per_group", width, what)
        if self.split and self.depth not in BASIC and width % 2:
            raise ValueError(
                f"width_per_group={width} is not allowed for {what} with split=True: it must be even, {width + 1} say."
            )

    @property
    def _published_weights(self) -> float:
        return block_weights(1, RESNET_WIDTH) if self.split else block_weights(32, 4, spatial=2)

    def equal_width(self, weights: float) -> int:
        """The width of a group that makes a first-stage block nearest to `weights`; basic blocks have no choice."""
        if self.depth in BASIC:
            return RESNET_WIDTH // self.groups
        return equal_width(self.groups, weights, spatial=1 if self.split else 2, step=2 if self.split else 1)

    def reduced(self, width: int) -> int:
        """Hidden channels of the attention over `width` channels: equation 4 of the paper, with timm's rounding."""
        return round_channels(width / self.reduction, self.least)

    @property
    def name(self) -> str:
        depth = f"{self.depth}{'' if self.version == 'b' else self.version}"
        if not self.split:
            return f"skresnext{depth}_{self.groups}x{self.width_per_group}d"
        plain = (self.groups, self.width_per_group) == (1, RESNET_WIDTH)
        return f"skresnet{depth}" + ("" if plain else f"_{self.groups}x{self.width_per_group}d")

    def with_groups(self, groups: int) -> "SKResNeXt":
        """This network with another number of groups and, as nearly as can be, the same size."""
        weights = block_weights(self.groups, self.group_width, spatial=1 if self.split else 2)
        regrouped = replace(self, groups=groups, width_per_group=None)
        return replace(regrouped, width_per_group=regrouped.equal_width(weights))


VARIANTS = {
    "skresnet18": SKResNeXt(18, 1, split=True, reduction=8, least=16),
    "skresnet34": SKResNeXt(34, 1, split=True, reduction=8, least=16),
    "skresnet50": SKResNeXt(50, 1, split=True, reduction=16, least=8),
    "skresnet50d": SKResNeXt(50, 1, split=True, reduction=16, least=8, version="d"),
    "skresnext50_32x4d": SKResNeXt(50, 32, 4),
}


def build(config: SKResNeXt, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import residual_stages, resnet_stem, sk_block

    basic = config.depth in BASIC

    def block(x: Tensor, stage: int, strides: int, drop_path: float, name: str) -> Tensor:
        width = config.group_width * config.groups * 2**stage
        return sk_block(
            x,
            RESNET_WIDTH * 2**stage * (1 if basic else EXPANSION),
            None if basic else width,
            config.reduced(width),
            config.groups,
            strides,
            split_input=config.split,
            pooled_shortcut=config.version == "d",
            drop_path=drop_path,
            name=name,
        )

    stem, x = resnet_stem(images, config.version, small_stem)
    return [stem, *residual_stages(x, DEPTHS[config.depth], block, config.drop_path)]


def head(config: SKResNeXt, features: Tensor) -> Tensor:
    """Vector (B, 2048), or (B, 512) of basic blocks, that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
