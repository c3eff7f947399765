"""EfficientNet. Layer names follow timm's `efficientnet.py`."""

import math
from dataclasses import dataclass, field, replace
from functools import partial

from zoo.checks import check_positive, check_share, check_spatial_groups, regrouped, round_channels
from zoo.models.description import Citation, meaning, setting
from zoo.models.inverted_residual_table import Block, Row, inverted_residual, trunk, unroll
from zoo.typing import Tensor

SUMMARY = (
    "EfficientNet: MobileNet's inverted residuals with squeeze-and-excitation, scaled in width and depth together."
)
PAPERS = (
    Citation(
        "Tan and Le",
        2019,
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        where="table 1 (B0) and section 3.3 (compound scaling)",
        arxiv="1905.11946",
    ),
)

STEM, HEAD = 32, 1280
SQUEEZE = 0.25  # of the block's input channels
CLASSIFIER = "classifier"

STAGES = (  # blocks L, kernel k, strides, expansion (none in MBConv1), channels C: table 1 of the paper
    Row(1, 3, 1, 0, 16, SQUEEZE, "silu"),
    Row(2, 3, 2, 6, 24, SQUEEZE, "silu"),
    Row(2, 5, 2, 6, 40, SQUEEZE, "silu"),
    Row(3, 3, 2, 6, 80, SQUEEZE, "silu"),
    Row(3, 5, 1, 6, 112, SQUEEZE, "silu"),
    Row(4, 5, 2, 6, 192, SQUEEZE, "silu"),
    Row(1, 3, 1, 6, 320, SQUEEZE, "silu"),
)


@dataclass(frozen=True)
class EfficientNet:
    """What makes one network of this family.

    With the paper's compound coefficient phi, depth is about 1.2 ** phi and width 1.1 ** phi, for images whose side
    grows as 1.15 ** phi from 224.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Tan and Le 2019, table 1 (B0) and section 3.3 (compound scaling), arXiv:1905.11946.

    Example:
        >>> from zoo.models.efficientnet import EfficientNet
        >>> b1 = EfficientNet("efficientnet_b1", width=1.0, depth=1.1)
        >>> len(b1.blocks), b1.blocks[0].channels
        (23, 16)
    """

    name: str = field(metadata=meaning("the reference's"))
    width: float = setting(1.0, "of the channels, w in the paper")
    depth: float = setting(1.0, "of the blocks of a stage, rounded up; d in the paper")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "EfficientNet")
        check_positive("depth", self.depth, "EfficientNet")
        check_share("drop_path", self.drop_path, "EfficientNet")
        check_spatial_groups(
            self.groups, {block.expanded for block in self.blocks}, f"EfficientNet of width {self.width:g}"
        )

    def scaled(self, channels: int) -> int:
        return round_channels(channels * self.width)

    @property
    def blocks(self) -> list[Block]:
        stages = [(replace(row, blocks=math.ceil(row.blocks * self.depth)),) for row in STAGES]
        return unroll(stages, self.scaled(STEM), self.width)

    def with_groups(self, groups: int) -> "EfficientNet":
        return replace(self, name=regrouped(self.name, groups, VARIANTS), groups=groups)


VARIANTS = {  # and the side of the image that each was scaled for
    "efficientnet_b0": EfficientNet("efficientnet_b0", width=1.0, depth=1.0),  # 224
    "efficientnet_b1": EfficientNet("efficientnet_b1", width=1.0, depth=1.1),  # 240
    "efficientnet_b2": EfficientNet("efficientnet_b2", width=1.1, depth=1.2),  # 260
    "efficientnet_b3": EfficientNet("efficientnet_b3", width=1.2, depth=1.4),  # 300
    "efficientnet_b4": EfficientNet("efficientnet_b4", width=1.4, depth=1.8),  # 380
    "efficientnet_b5": EfficientNet("efficientnet_b5", width=1.6, depth=2.2),  # 456
    "efficientnet_b6": EfficientNet("efficientnet_b6", width=1.8, depth=2.6),  # 528
    "efficientnet_b7": EfficientNet("efficientnet_b7", width=2.0, depth=3.1),  # 600
}


def build(config: EfficientNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    strides = 1 if small_stem else 2
    x = conv_norm(images, config.scaled(STEM), 3, strides, act="silu", name="conv_stem", norm_name="bn1")

    return trunk(x, config.blocks, config.drop_path, partial(inverted_residual, groups=config.groups))


def head(config: EfficientNet, features: Tensor) -> Tensor:
    """Vector (B, 1280 times the width) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    return global_average(conv_norm(features, config.scaled(HEAD), act="silu", name="conv_head", norm_name="bn2"))
