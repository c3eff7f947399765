"""MobileNet v3. Layer names follow timm's `mobilenetv3.py`; so does the classifier's hidden layer, which comes after
the pooling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import Block, Row, trunk, unroll
from zoo.typing import Tensor

SUMMARY = "MobileNet v3: inverted residuals with squeeze-and-excitation and h-swish, found by search."
PAPERS = (Citation("Howard et al.", 2019, "Searching for MobileNetV3", where="tables 1 and 2", arxiv="1905.02244"),)

STEM = 16
SE = 0.25  # channels in the squeeze-and-excitation, over the expanded ones
CLASSIFIER = "classifier"

RE, HS = "relu", "hard_silu"
# Blocks, kernel, strides, expansion (0: none), channels, SE, RE or HS; the last line is a 1x1 convolution alone.
LARGE = (
    (Row(1, 3, 1, 0, 16, act=RE),),
    (Row(1, 3, 2, 4, 24, act=RE), Row(1, 3, 1, 3, 24, act=RE)),
    (Row(3, 5, 2, 3, 40, SE, RE),),
    (Row(1, 3, 2, 6, 80, act=HS), Row(1, 3, 1, 2.5, 80, act=HS), Row(2, 3, 1, 2.3, 80, act=HS)),
    (Row(2, 3, 1, 6, 112, SE, HS),),
    (Row(3, 5, 2, 6, 160, SE, HS),),
    (Row(1, 1, 1, 0, 960, act=HS),),
)
SMALL = (
    (Row(1, 3, 2, 0, 16, SE, RE),),
    (Row(1, 3, 2, 4.5, 24, act=RE), Row(1, 3, 1, 3.67, 24, act=RE)),
    (Row(1, 5, 2, 4, 40, SE, HS), Row(2, 5, 1, 6, 40, SE, HS)),
    (Row(2, 5, 1, 3, 48, SE, HS),),
    (Row(3, 5, 2, 6, 96, SE, HS),),
    (Row(1, 1, 1, 0, 576, act=HS),),
)
SIZES = {"large": (LARGE, 1280), "small": (SMALL, 1024)}  # stages, hidden layer


def deepened(rows: Sequence[Row], multiplier: float) -> list[Row]:
    """The rows of one stage with `multiplier` times their blocks, rounded up, shared in proportion, the last first."""
    blocks = sum(row.blocks for row in rows)
    remaining, deepened_rows = math.ceil(blocks * multiplier), []
    for row in reversed(rows):
        deepened_rows.append(replace(row, blocks=max(1, round(row.blocks / blocks * remaining))))
        blocks, remaining = blocks - row.blocks, remaining - deepened_rows[-1].blocks
    return deepened_rows[::-1]


@dataclass(frozen=True)
class MobileNetV3:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Howard et al. 2019, Searching for MobileNetV3, tables 1 and 2, arXiv:1905.02244.

    Example:
        >>> from zoo.models.mobilenet_v3 import MobileNetV3
        >>> MobileNetV3("small", width=0.75).name
        'mobilenetv3_small_075'
        >>> MobileNetV3("tiny")
        Traceback (most recent call last):
            ...
        ValueError: size='tiny' is not allowed for MobileNet v3: known are large, small.
    """

    size: str = setting("large", '"large" or "small", the two searched networks')
    width: float = setting(1.0, "width multiplier")
    depth_multiplier: float = setting(1.0, 'of the blocks of a stage, rounded up: timm\'s "d" has 1.2')
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_name("size", self.size, SIZES, "MobileNet v3")
        check_share("drop_path", self.drop_path, "MobileNet v3")
        check_positive("width", self.width, "MobileNet v3")
        check_positive("depth_multiplier", self.depth_multiplier, "MobileNet v3")
        widths = {block.expanded for block in self.blocks if block.row.kernel != 1}
        check_spatial_groups(self.groups, widths, f"MobileNet v3 {self.size} of width {self.width:g}")

    @property
    def name(self) -> str:
        name = f"mobilenetv3_{self.size}_{round(self.width * 100):03d}" + ("d" if self.depth_multiplier != 1 else "")
        return grouped_name(name, self.groups)

    @property
    def stem(self) -> int:
        return STEM if self.width < 0.75 else round_channels(STEM * self.width)

    @property
    def blocks(self) -> list[Block]:
        """Every block, scaled."""
        stages = [deepened(rows, self.depth_multiplier) for rows in SIZES[self.size][0]]
        return unroll(stages, self.stem, self.width)

    def with_groups(self, groups: int) -> "MobileNetV3":
        return replace(self, groups=groups)


VARIANTS = {
    "mobilenetv3_large_075": MobileNetV3("large", width=0.75),
    "mobilenetv3_large_100": MobileNetV3("large", width=1.0),
    "mobilenetv3_large_150d": MobileNetV3("large", width=1.5, depth_multiplier=1.2),
    "mobilenetv3_small_050": MobileNetV3("small", width=0.5),
    "mobilenetv3_small_075": MobileNetV3("small", width=0.75),
    "mobilenetv3_small_100": MobileNetV3("small", width=1.0),
}


def build(config: MobileNetV3, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act=HS, name="conv_stem", norm_name="bn1")
    return trunk(x, config.blocks, config.drop_path, partial(_block, groups=config.groups))


def _block(x: Tensor, block: Block, *, groups: int | None, drop_path: float) -> Tensor:
    """The block that one line of the tables describes."""
    from blocks import conv_norm, mobilenet_v1_block, mobilenet_v3_block
    from blocks.layers.dotted_names import Scope

    row = block.row
    if row.kernel == 1:
        return conv_norm(x, block.channels, act=row.act, **Scope(block.name).names("conv", "bn1"))
    shared: dict[str, Any] = {
        "kernel_size": row.kernel,
        "act": row.act,
        "squeeze": round_channels(block.expanded * row.squeeze) if row.squeeze else 0,
        "drop_path": drop_path,
        "name": block.name,
    }
    if not row.expansion:
        return mobilenet_v1_block(x, block.channels, block.strides, groups, final_act=None, **shared)
    return mobilenet_v3_block(x, block.channels, block.expanded, block.strides, groups, **shared)


def head(config: MobileNetV3, features: Tensor) -> Tensor:
    """Vector (B, 1280 or 1024) that the classifier sees, from the last feature map."""
    from blocks import convolution, global_average
    from blocks.composites import activation, flatten

    x = global_average(features, keepdims=True)
    x = activation(convolution(x, SIZES[config.size][1], use_bias=True, name="conv_head"), HS)
    return flatten(x)
