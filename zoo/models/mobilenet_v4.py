"""MobileNet v4. Layer names follow timm's `mobilenetv3.py`; so does the classifier's hidden layer, which comes after
the pooling, and so do the narrow networks, which keep the stem, and those that average where they reduce the resolution
(aa).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import trunk
from zoo.typing import Tensor

SUMMARY = "MobileNet v4: inverted residuals in which each of two spatial convolutions may be left out."
PAPERS = (
    Citation(
        "Qin et al.",
        2024,
        "MobileNetV4: Universal Models for the Mobile Ecosystem",
        where="the tables of its appendix",
        arxiv="2404.10518",
        remark="The convolutional networks only; the hybrid ones have attention.",
    ),
)

HIDDEN = 1280
ACT = "relu"
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Conv:
    """A line of the tables: a convolution, normalised and activated."""

    kernel: int
    strides: int
    channels: int


@dataclass(frozen=True)
class Fused:
    """A line of the tables: an inverted residual whose dense 3x3 convolution expands."""

    strides: int
    expansion: float
    channels: int


@dataclass(frozen=True)
class Universal:
    """A line of the tables: a universal inverted bottleneck."""

    start: int  # kernel of the spatial convolution before the expansion; 0 is none
    middle: int  # kernel of the one after it; 0 is none
    strides: int
    expansion: float  # over the input's channels
    channels: int  # of the output


Row: TypeAlias = Conv | Fused | Universal


def repeat(count: int, row: Universal) -> tuple[Universal, ...]:
    """`count` blocks, of which the first alone has the strides."""
    return (row,) + (count - 1) * (replace(row, strides=1),)


U = Universal
SMALL = (  # one tuple for each stage of timm
    (Conv(3, 2, 32), Conv(1, 1, 32)),
    (Conv(3, 2, 96), Conv(1, 1, 64)),
    (U(5, 5, 2, 3, 96), *repeat(4, U(0, 3, 1, 2, 96)), U(3, 0, 1, 4, 96)),
    (U(3, 3, 2, 6, 128), U(5, 5, 1, 4, 128), U(0, 5, 1, 4, 128), U(0, 5, 1, 3, 128), *repeat(2, U(0, 3, 1, 4, 128))),
    (Conv(1, 1, 960),),
)
MEDIUM = (
    (Fused(2, 4, 48),),
    (U(3, 5, 2, 4, 80), U(3, 3, 1, 2, 80)),
    (
        *(U(3, 5, 2, 6, 160), *repeat(2, U(3, 3, 1, 4, 160)), U(3, 5, 1, 4, 160), U(3, 3, 1, 4, 160)),
        *(U(3, 0, 1, 4, 160), U(0, 0, 1, 2, 160), U(3, 0, 1, 4, 160)),
    ),
    (
        *(U(5, 5, 2, 6, 256), U(5, 5, 1, 4, 256), *repeat(2, U(3, 5, 1, 4, 256)), U(0, 0, 1, 4, 256)),
        *(U(3, 0, 1, 4, 256), U(3, 5, 1, 2, 256), U(5, 5, 1, 4, 256), *repeat(2, U(0, 0, 1, 4, 256))),
        U(5, 0, 1, 2, 256),
    ),
    (Conv(1, 1, 960),),
)
LARGE = (
    (Fused(2, 4, 48),),
    (U(3, 5, 2, 4, 96), U(3, 3, 1, 4, 96)),
    (
        *(U(3, 5, 2, 4, 192), *repeat(3, U(3, 3, 1, 4, 192)), U(3, 5, 1, 4, 192), *repeat(5, U(5, 3, 1, 4, 192))),
        U(3, 0, 1, 4, 192),
    ),
    (
        *(*repeat(4, U(5, 5, 2, 4, 512)), U(5, 0, 1, 4, 512), U(5, 3, 1, 4, 512), *repeat(2, U(5, 0, 1, 4, 512))),
        *(U(5, 3, 1, 4, 512), U(5, 5, 1, 4, 512), *repeat(3, U(5, 0, 1, 4, 512))),
    ),
    (Conv(1, 1, 960),),
)
SIZES: dict[str, tuple[Sequence[Sequence[Row]], int]] = {
    "small": (SMALL, 32),
    "medium": (MEDIUM, 32),
    "large": (LARGE, 24),
}  # stages, channels of the stem


@dataclass(frozen=True)
class Block:
    """One block, in numbers of channels."""

    name: str
    row: Row
    inputs: int
    expanded: int
    channels: int

    @property
    def strides(self) -> int:
        return self.row.strides


@dataclass(frozen=True)
class MobileNetV4:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Qin et al. 2024, the tables of its appendix, arXiv:2404.10518.

    Example:
        >>> from zoo.models.mobilenet_v4 import MobileNetV4
        >>> MobileNetV4("medium", antialias=True).name, MobileNetV4("small").stem
        ('mobilenetv4_conv_aa_medium', 32)
    """

    size: str = setting("small", '"small", "medium" or "large", the paper\'s MNv4-Conv-S, M and L')
    width: float = setting(1.0, "width multiplier; below 1 the stem keeps its channels")
    antialias: bool = setting(False, "reduce the resolution by averaging after the convolution")
    groups: int | None = setting(
        None, "of the universal bottlenecks' spatial convolutions; None is depthwise, as in the paper"
    )
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_name("size", self.size, SIZES, "MobileNet v4")
        check_share("drop_path", self.drop_path, "MobileNet v4")
        check_positive("width", self.width, "MobileNet v4")
        check_spatial_groups(self.groups, self.spatial_widths, f"MobileNet v4 {self.size} of width {self.width:g}")

    @property
    def name(self) -> str:
        width = "" if self.width == 1 else f"_{round(self.width * 100):03d}"
        return grouped_name(f"mobilenetv4_conv_{'aa_' if self.antialias else ''}{self.size}{width}", self.groups)

    @property
    def stem(self) -> int:
        channels = SIZES[self.size][1]
        return channels if self.width < 1 else round_channels(channels * self.width)

    @property
    def blocks(self) -> list[Block]:
        channels, blocks = self.stem, []
        for stage, rows in enumerate(SIZES[self.size][0]):
            for number, row in enumerate(rows):
                inputs, channels = channels, round_channels(row.channels * self.width)
                expanded = channels if isinstance(row, Conv) else round_channels(inputs * row.expansion)
                blocks.append(Block(f"blocks.{stage}.{number}", row, inputs, expanded, channels))
        return blocks

    @property
    def spatial_widths(self) -> set[int]:
        """Channels of the spatial convolutions that are depthwise in the paper."""
        universal = [(block, block.row) for block in self.blocks if isinstance(block.row, Universal)]
        starts = {block.inputs for block, row in universal if row.start}
        return starts | {block.expanded for block, row in universal if row.middle}

    def with_groups(self, groups: int) -> "MobileNetV4":
        return replace(self, groups=groups)


VARIANTS = {
    "mobilenetv4_conv_small_035": MobileNetV4("small", width=0.35),
    "mobilenetv4_conv_small_050": MobileNetV4("small", width=0.5),
    "mobilenetv4_conv_small": MobileNetV4("small", width=1.0),
    "mobilenetv4_conv_medium": MobileNetV4("medium", width=1.0),
    "mobilenetv4_conv_large": MobileNetV4("large", width=1.0),
    "mobilenetv4_conv_aa_medium": MobileNetV4("medium", width=1.0, antialias=True),
    "mobilenetv4_conv_aa_large": MobileNetV4("large", width=1.0, antialias=True),
}


def build(config: MobileNetV4, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, fused_inverted_bottleneck, universal_inverted_bottleneck
    from blocks.layers.dotted_names import Scope

    def make(x: Tensor, block: Block, drop_path: float) -> Tensor:
        row = block.row
        if isinstance(row, Conv):
            names = Scope(block.name).names("conv", "bn1")
            return conv_norm(x, block.channels, row.kernel, row.strides, act=ACT, **names)
        shared: dict[str, Any] = {"act": ACT, "antialias": config.antialias, "drop_path": drop_path, "name": block.name}
        if isinstance(row, Fused):
            return fused_inverted_bottleneck(x, block.channels, block.expanded, row.strides, **shared)
        return universal_inverted_bottleneck(
            x,
            block.channels,
            block.expanded,
            row.strides,
            config.groups,
            start_kernel=row.start,
            middle_kernel=row.middle,
            **shared,
        )

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act=ACT, name="conv_stem", norm_name="bn1")
    return trunk(x, config.blocks, config.drop_path, make)


def head(config: MobileNetV4, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average
    from blocks.composites import flatten

    x = global_average(features, keepdims=True)
    x = conv_norm(x, HIDDEN, act=ACT, name="conv_head", norm_name="norm_head")
    return flatten(x)
