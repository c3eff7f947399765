"""IGCV3. Layer names follow pytorchcv's `igcv3.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_positive, grouped_name, width_name
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "IGCV3: inverted residuals whose 1x1 convolutions are in groups, interleaved by a channel shuffle."
PAPERS = (
    Citation(
        "Sun et al.",
        2018,
        "IGCV3: Interleaved Low-Rank Group Convolutions for Efficient Deep Neural Networks",
        arxiv="1806.00178",
        remark="The network is the paper's IGCV3-D, twice as deep as MobileNet v2.",
    ),
)

STEM, HEAD = 32, 1280
EXPANSION = 6  # of every unit but the first
STAGES = (  # (channels, units) of one resolution
    ((16, 1),),
    ((24, 4),),
    ((32, 6),),
    ((64, 8), (96, 6)),
    ((160, 6), (320, 1)),
)
CLASSIFIER = "output"


@dataclass(frozen=True)
class IGCV3:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Sun et al. 2018, arXiv:1806.00178.

    Example:
        >>> from zoo.models.igcv3 import IGCV3
        >>> IGCV3(width=0.75, groups=4).name, IGCV3(width=0.75).scaled(320)
        ('igcv3_w3d4_g4', 240)
    """

    width: float = setting(1.0, "width multiplier")
    groups: int = setting(2, "of the 1x1 convolutions")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "IGCV3")
        most = max(1, int(STAGES[0][0][0] * self.width))
        if not 1 <= self.groups <= most:
            raise ValueError(
                f"groups={self.groups} is not allowed for IGCV3 of width {self.width:g}: use 1 to {most}, the channels "
                f"of its narrowest stage; the nearest is {min(max(self.groups, 1), most)}."
            )

    @property
    def name(self) -> str:
        return grouped_name(f"igcv3_{width_name(self.width)}", self.groups, published=2)

    def scaled(self, channels: int) -> int:
        """Channels under the multiplier, up to the next multiple of `groups`: the even numbers of the reference."""
        return -(-int(channels * self.width) // self.groups) * self.groups

    def with_groups(self, groups: int) -> "IGCV3":
        return replace(self, groups=groups)


VARIANTS = {
    "igcv3_w1": IGCV3(width=1.0),
    "igcv3_w3d4": IGCV3(width=0.75),
    "igcv3_wd2": IGCV3(width=0.5),
    "igcv3_wd4": IGCV3(width=0.25),
}


def build(config: IGCV3, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, igcv3_unit
    from blocks.layers.dotted_names import Scope

    stem = Scope("features.init_block").names("conv", "bn")
    x = conv_norm(images, config.scaled(STEM), 3, 1 if small_stem else 2, act="relu6", **stem)
    features = []
    for stage, parts in enumerate(STAGES, start=1):
        widths = [config.scaled(channels) for channels, units in parts for _ in range(units)]
        for unit, filters in enumerate(widths, start=1):
            x = igcv3_unit(
                x,
                filters,
                x.shape[-1] * (1 if stage == 1 else EXPANSION),
                config.groups,
                strides=2 if stage > 1 and unit == 1 else 1,
                name=f"features.stage{stage}.unit{unit}",
            )
        features.append(x)
    return features


def head(config: IGCV3, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average
    from blocks.layers.dotted_names import Scope

    last, channels = Scope("features.final_block"), HEAD if config.width <= 1 else config.scaled(HEAD)
    return global_average(conv_norm(features, channels, act="relu6", **last.names("conv", "bn")))
