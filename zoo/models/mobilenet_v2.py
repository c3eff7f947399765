"""MobileNet v2. Layer names follow timm's `efficientnet.py`; so do the deeper variants (110d, 120d), which keep the
published stem and head and scale the depth of the stages between the first and the last.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

from zoo.checks import check_positive, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import Block, Row, inverted_residual, trunk, unroll
from zoo.typing import Tensor

SUMMARY = "MobileNet v2: inverted residuals with linear bottlenecks."
PAPERS = (
    Citation(
        "Sandler et al.",
        2018,
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        where="table 2",
        arxiv="1801.04381",
    ),
)

STEM, HEAD = 32, 1280
STAGES = (  # expansion ratio t, channels c, blocks n, stride s of the first: table 2 of the paper
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class MobileNetV2:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks, table 2, arXiv:1801.04381.

    Example:
        >>> from zoo.models.mobilenet_v2 import MobileNetV2
        >>> MobileNetV2(width=1.4).stem, MobileNetV2(width=1.4).head, len(MobileNetV2().blocks)
        (48, 1792, 17)
    """

    width: float = setting(1.0, "width multiplier, alpha in the paper")
    depth_multiplier: float = setting(1.0, "of the blocks in the middle stages, rounded up")
    fixed_stem: bool = setting(False, "leave stem, head and the depth of the outer stages unscaled")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "MobileNet v2")
        check_share("drop_path", self.drop_path, "MobileNet v2")
        check_positive("depth_multiplier", self.depth_multiplier, "MobileNet v2")
        check_spatial_groups(
            self.groups, {block.expanded for block in self.blocks}, f"MobileNet v2 of width {self.width:g}"
        )

    @property
    def name(self) -> str:
        name = f"mobilenetv2_{round(self.width * 100):03d}" + ("d" if self.depth_multiplier != 1 else "")
        return grouped_name(name, self.groups)

    @property
    def stem(self) -> int:
        return STEM if self.fixed_stem else round_channels(STEM * self.width)

    @property
    def head(self) -> int:
        return HEAD if self.fixed_stem else max(HEAD, round_channels(HEAD * self.width))

    @property
    def blocks(self) -> list[Block]:
        """Every block, scaled."""
        stages: list[list[Row]] = []
        for t, channels, n, strides in STAGES:
            fixed = self.fixed_stem and len(stages) in (0, len(STAGES) - 1)
            blocks = n if fixed else math.ceil(n * self.depth_multiplier)
            # With t = 1 no convolution expands.
            stages.append([Row(blocks, 3, strides, t if t > 1 else 0, channels, act="relu6")])
        return unroll(stages, self.stem, self.width)

    def with_groups(self, groups: int) -> "MobileNetV2":
        return replace(self, groups=groups)


VARIANTS = {
    "mobilenetv2_035": MobileNetV2(width=0.35),
    "mobilenetv2_050": MobileNetV2(width=0.5),
    "mobilenetv2_075": MobileNetV2(width=0.75),
    "mobilenetv2_100": MobileNetV2(width=1.0),
    "mobilenetv2_140": MobileNetV2(width=1.4),
    "mobilenetv2_110d": MobileNetV2(width=1.1, depth_multiplier=1.2, fixed_stem=True),
    "mobilenetv2_120d": MobileNetV2(width=1.2, depth_multiplier=1.4, fixed_stem=True),
}


def build(config: MobileNetV2, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act="relu6", name="conv_stem", norm_name="bn1")
    return trunk(x, config.blocks, config.drop_path, partial(inverted_residual, groups=config.groups))


def head(config: MobileNetV2, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    return global_average(conv_norm(features, config.head, act="relu6", name="conv_head", norm_name="bn2"))
