"""RegNet. Layer names follow timm's `regnet.py`."""

import math
from dataclasses import dataclass, field, replace

from zoo.checks import check_positive, check_share, regrouped
from zoo.models.description import Citation, meaning, setting
from zoo.typing import Tensor

SUMMARY = "RegNet: networks whose widths follow a quantised line, from a population of grouped bottlenecks."
PAPERS = (
    Citation(
        "Radosavovic et al.",
        2020,
        "Designing Network Design Spaces",
        where="section 3.3 and tables of its appendix",
        arxiv="2003.13678",
    ),
    Citation(
        "Goyal et al.",
        2021,
        "Self-supervised Pretraining of Visual Features in the Wild (SEER)",
        arxiv="2103.01988",
        subject="The two largest",
    ),
    Citation(
        "Goyal et al.",
        2022,
        "Vision Models Are More Robust And Fair When Pretrained On Uncurated Images Without Supervision",
        arxiv="2202.08360",
    ),
)

STEM = 32
STAGES = 4
QUANTUM = 8  # widths are multiples of it before they are adjusted to the groups
CLASSIFIER = "head.fc"


def adjusted(width: int, divisor: int) -> int:
    """The multiple of `divisor`, at most `width`, nearest to `width`: never further from it than a third.

    Source: the paper's appendix, "Group width compatibility".
    """
    return round(width / divisor) * divisor


@dataclass(frozen=True)
class RegNet:
    """What makes one network of this family: block j of the d has the width w_0 + w_a j, quantised.

    All stages have the same group width g. `groups` gives them all the same number of groups instead: the widths stay,
    rounded to multiples of `groups`, and the group width grows with them.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Radosavovic et al. 2020, section 3.3 and tables of its appendix, arXiv:2003.13678.

    Example:
        >>> from zoo.models.regnet import RegNet
        >>> config = RegNet("regnetx_mine", d=13, w_0=24, w_a=36.44, w_m=2.49, g=8)
        >>> config.quantised, config.with_groups(4).widths
        ({24: 1, 56: 1, 152: 4, 368: 7}, [24, 56, 152, 368])
    """

    name: str = field(metadata=meaning("the reference's"))
    d: int = field(metadata=meaning("depth: blocks of all stages together"))
    w_0: int = field(metadata=meaning("initial width"))
    w_a: float = field(metadata=meaning("slope of the width"))
    w_m: float = field(metadata=meaning("a stage is about w_m times as wide as the one before it"))
    g: int = field(metadata=meaning("group width: channels of a group"))
    squeeze_ratio: float = setting(0.0, "> 0: RegNetY; of the channels that enter a block")
    groups: int | None = setting(
        None,
        "of every 3x3 convolution, in place of g; "
        "groups=N gives this network with so many groups in every 3x3 convolution, and widths that they divide",
    )
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        for symbol, value in (("d", self.d), ("w_0", self.w_0), ("w_a", self.w_a), ("g", self.g)):
            check_positive(symbol, value, "RegNet")
        if self.w_0 % QUANTUM:
            nearest = max(QUANTUM, round(self.w_0 / QUANTUM) * QUANTUM)
            raise ValueError(
                f"w_0={self.w_0} is not allowed for RegNet: it must be a multiple of {QUANTUM}; "
                f"the nearest is {nearest}."
            )
        if not 1 < self.w_m < math.inf:
            raise ValueError(f"w_m={self.w_m:g} is not allowed for RegNet: it must be above 1, 2.5 for instance.")
        if not 0 <= self.squeeze_ratio <= 1:
            raise ValueError(
                f"squeeze_ratio={self.squeeze_ratio:g} is not allowed for RegNet: it is a share of the channels, "
                "0 for none (RegNetX) or 0.25 (RegNetY)."
            )
        check_share("drop_path", self.drop_path, "RegNet")
        widths = self.widths
        if len(widths) != STAGES:
            raise ValueError(
                f"d={self.d}, w_0={self.w_0}, w_a={self.w_a:g}, w_m={self.w_m:g} make {len(widths)} stages, of widths "
                f"{', '.join(map(str, widths))}: a RegNet has {STAGES}. A smaller w_m or a larger w_a or d makes more."
            )
        if self.groups is not None and not 1 <= self.groups <= widths[0]:
            raise ValueError(
                f"groups={self.groups} is not allowed for a RegNet whose narrowest stage has {widths[0]} channels: "
                f"use 1 to {widths[0]}; the nearest is {1 if self.groups < 1 else widths[0]}."
            )

    @property
    def quantised(self) -> dict[int, int]:
        """Width of each stage -> its blocks: equations 2 to 4 of the paper."""
        depths: dict[int, int] = {}
        for block in range(self.d):
            exponent = round(math.log((self.w_0 + self.w_a * block) / self.w_0) / math.log(self.w_m))
            width = round(self.w_0 * self.w_m**exponent / QUANTUM) * QUANTUM
            depths[width] = depths.get(width, 0) + 1
        return depths

    @property
    def widths(self) -> list[int]:
        """Width of each stage, adjusted to its group width: g, or all of the stage where that is less."""
        return [adjusted(width, min(self.g, width)) for width in self.quantised]

    @property
    def stages(self) -> list[tuple[int, int, int]]:
        """(width, groups of the 3x3 convolutions, blocks) of every stage."""
        blocks = self.quantised.values()
        if self.groups is None:
            return [
                (width, width // min(self.g, width), count) for width, count in zip(self.widths, blocks, strict=True)
            ]
        return [
            (adjusted(width, self.groups), self.groups, count) for width, count in zip(self.widths, blocks, strict=True)
        ]

    def with_groups(self, groups: int) -> "RegNet":
        """This network with so many groups in every 3x3 convolution, and widths that they divide."""
        return replace(self, name=regrouped(self.name, groups, VARIANTS), groups=groups)


VARIANTS = {
    config.name: config
    for config in (
        RegNet("regnetx_002", d=13, w_0=24, w_a=36.44, w_m=2.49, g=8),
        RegNet("regnetx_004", d=22, w_0=24, w_a=24.48, w_m=2.54, g=16),
        RegNet("regnetx_006", d=16, w_0=48, w_a=36.97, w_m=2.24, g=24),
        RegNet("regnetx_008", d=16, w_0=56, w_a=35.73, w_m=2.28, g=16),
        RegNet("regnetx_016", d=18, w_0=80, w_a=34.01, w_m=2.25, g=24),
        RegNet("regnetx_032", d=25, w_0=88, w_a=26.31, w_m=2.25, g=48),
        RegNet("regnetx_040", d=23, w_0=96, w_a=38.65, w_m=2.43, g=40),
        RegNet("regnetx_064", d=17, w_0=184, w_a=60.83, w_m=2.07, g=56),
        RegNet("regnetx_080", d=23, w_0=80, w_a=49.56, w_m=2.88, g=120),
        RegNet("regnetx_120", d=19, w_0=168, w_a=73.36, w_m=2.37, g=112),
        RegNet("regnetx_160", d=22, w_0=216, w_a=55.59, w_m=2.1, g=128),
        RegNet("regnetx_320", d=23, w_0=320, w_a=69.86, w_m=2.0, g=168),
        RegNet("regnety_002", d=13, w_0=24, w_a=36.44, w_m=2.49, g=8, squeeze_ratio=0.25),
        RegNet("regnety_004", d=16, w_0=48, w_a=27.89, w_m=2.09, g=8, squeeze_ratio=0.25),
        RegNet("regnety_006", d=15, w_0=48, w_a=32.54, w_m=2.32, g=16, squeeze_ratio=0.25),
        RegNet("regnety_008", d=14, w_0=56, w_a=38.84, w_m=2.4, g=16, squeeze_ratio=0.25),
        RegNet("regnety_016", d=27, w_0=48, w_a=20.71, w_m=2.65, g=24, squeeze_ratio=0.25),
        RegNet("regnety_032", d=21, w_0=80, w_a=42.63, w_m=2.66, g=24, squeeze_ratio=0.25),
        RegNet("regnety_040", d=22, w_0=96, w_a=31.41, w_m=2.24, g=64, squeeze_ratio=0.25),
        RegNet("regnety_064", d=25, w_0=112, w_a=33.22, w_m=2.27, g=72, squeeze_ratio=0.25),
        RegNet("regnety_080", d=17, w_0=192, w_a=76.82, w_m=2.19, g=56, squeeze_ratio=0.25),
        RegNet("regnety_120", d=19, w_0=168, w_a=73.36, w_m=2.37, g=112, squeeze_ratio=0.25),
        RegNet("regnety_160", d=18, w_0=200, w_a=106.23, w_m=2.48, g=112, squeeze_ratio=0.25),
        RegNet("regnety_320", d=20, w_0=232, w_a=115.89, w_m=2.53, g=232, squeeze_ratio=0.25),
        RegNet("regnety_640", d=20, w_0=352, w_a=147.48, w_m=2.4, g=328, squeeze_ratio=0.25),
        RegNet("regnety_1280", d=27, w_0=456, w_a=160.83, w_m=2.52, g=264, squeeze_ratio=0.25),
    )
}


def build(config: RegNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, regnet_block

    x = conv_norm(images, STEM, 3, 1 if small_stem else 2, act="relu", name="stem.conv", norm_name="stem.bn")
    features = [x]
    done = 0
    for stage, (width, groups, blocks) in enumerate(config.stages, start=1):
        for block in range(1, blocks + 1):
            x = regnet_block(
                x,
                width,
                groups,
                strides=2 if block == 1 else 1,
                squeeze=round(x.shape[-1] * config.squeeze_ratio),
                drop_path=config.drop_path * done / max(1, config.d - 1),
                name=f"s{stage}.b{block}",
            )
            done += 1
        features.append(x)
    return features


def head(config: RegNet, features: Tensor) -> Tensor:
    """Vector (B, width of the last stage) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
