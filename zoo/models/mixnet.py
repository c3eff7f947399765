"""MixNet. Layer names follow timm's `efficientnet.py`; so do the networks wider and deeper than MixNet-L, which the
paper lacks.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, regrouped, round_channels
from zoo.models.description import Citation, meaning, setting
from zoo.models.inverted_residual_table import Block, Row, inverted_residual, trunk, unroll
from zoo.typing import Tensor

SUMMARY = "MixNet: inverted residuals whose depthwise convolution mixes kernels from 3x3 to 11x11."
PAPERS = (
    Citation(
        "Tan and Le", 2019, "MixConv: Mixed Depthwise Convolutional Kernels", where="section 4", arxiv="1907.09595"
    ),
)

HEAD = 1536
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Mixed(Row):
    """One line of the paper's figure."""

    expand: int = 1  # shares of the channels that the 1x1 convolution in front keeps apart
    project: int = 1  # the same for the last


RE, SW = "relu", "silu"
K5, K7, K9, K11 = (3, 5), (3, 5, 7), (3, 5, 7, 9), (3, 5, 7, 9, 11)  # the kernels up to each size
SMALL = (  # blocks, kernels, strides, expansion, channels, squeeze, activation; one tuple for each stage
    (Row(1, 3, 1, 0, 16),),
    (Mixed(1, 3, 2, 6, 24, 0, RE, expand=2, project=2), Mixed(1, 3, 1, 3, 24, 0, RE, expand=2, project=2)),
    (Mixed(1, K7, 2, 6, 40, 0.5, SW), Mixed(3, K5, 1, 6, 40, 0.5, SW, expand=2, project=2)),
    (Mixed(1, K7, 2, 6, 80, 0.25, SW, project=2), Mixed(2, K5, 1, 6, 80, 0.25, SW, project=2)),
    (
        Mixed(1, K7, 1, 6, 120, 0.5, SW, expand=2, project=2),
        Mixed(2, K9, 1, 3, 120, 0.5, SW, expand=2, project=2),
    ),
    (Mixed(1, K11, 2, 6, 200, 0.5, SW), Mixed(2, K9, 1, 6, 200, 0.5, SW, project=2)),
)
MEDIUM = (
    (Row(1, 3, 1, 0, 24),),
    (Mixed(1, K7, 2, 6, 32, 0, RE, expand=2, project=2), Mixed(1, 3, 1, 3, 32, 0, RE, expand=2, project=2)),
    (Mixed(1, K9, 2, 6, 40, 0.5, SW), Mixed(3, K5, 1, 6, 40, 0.5, SW, expand=2, project=2)),
    (Mixed(1, K7, 2, 6, 80, 0.25, SW), Mixed(3, K9, 1, 6, 80, 0.25, SW, expand=2, project=2)),
    (Mixed(1, 3, 1, 6, 120, 0.5, SW), Mixed(3, K9, 1, 3, 120, 0.5, SW, expand=2, project=2)),
    (Mixed(1, K9, 2, 6, 200, 0.5, SW), Mixed(3, K9, 1, 6, 200, 0.5, SW, project=2)),
)
NETWORKS = {"small": (SMALL, 16), "medium": (MEDIUM, 24)}  # stages, channels of the stem


@dataclass(frozen=True)
class MixNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Tan and Le 2019, MixConv: Mixed Depthwise Convolutional Kernels, section 4, arXiv:1907.09595.

    Example:
        >>> from zoo.models.mixnet import MixNet
        >>> sorted(MixNet("mixnet_mine", "small", width=0.5).spatial_widths)[:4]
        [8, 32, 48, 72]
    """

    name: str = field(metadata=meaning("the reference's"))
    network: str = setting("medium", '"small" or "medium", the searched networks')
    width: float = setting(1.0, "width multiplier")
    depth: float = setting(1.0, "of the blocks of a stage, rounded and shared out among its rows")
    groups: int | None = setting(None, "of every spatial convolution; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_name("network", self.network, NETWORKS, "MixNet")
        check_share("drop_path", self.drop_path, "MixNet")
        check_positive("width", self.width, "MixNet")
        check_positive("depth", self.depth, "MixNet")
        check_spatial_groups(self.groups, self.spatial_widths, f"MixNet {self.network} of width {self.width:g}")

    @property
    def stem(self) -> int:
        return round_channels(NETWORKS[self.network][1] * self.width)

    @property
    def blocks(self) -> list[Block]:
        stages = [deepened(rows, self.depth) for rows in NETWORKS[self.network][0]]
        return unroll(stages, self.stem, self.width)

    @property
    def spatial_widths(self) -> set[int]:
        """Channels of the spatial convolutions; the first of a block has what an equal share leaves over."""
        widths = set()
        for block in self.blocks:
            count = 1 if isinstance(block.row.kernel, int) else len(block.row.kernel)
            share, rest = divmod(block.expanded, count)
            widths |= {share + rest, share}
        return widths

    def with_groups(self, groups: int) -> "MixNet":
        return replace(self, name=regrouped(self.name, groups, VARIANTS), groups=groups)


def deepened(rows: tuple[Row, ...], depth: float) -> list[Row]:
    """The rows of a stage with `depth` times as many blocks in all, rounded.

    Each row, from the last to the first, gets its part of the blocks that are left, at least one: the first, which
    reduces the resolution, is the last to be repeated.
    """
    before = sum(row.blocks for row in rows)
    after = max(1, round(before * depth))
    scaled: list[Row] = []
    for row in reversed(rows):
        blocks = max(1, round(row.blocks / before * after))
        scaled.insert(0, replace(row, blocks=blocks))
        before, after = before - row.blocks, after - blocks
    return scaled


VARIANTS = {
    "mixnet_s": MixNet("mixnet_s", "small"),
    "mixnet_m": MixNet("mixnet_m", "medium"),
    "mixnet_l": MixNet("mixnet_l", "medium", width=1.3),
    "mixnet_xl": MixNet("mixnet_xl", "medium", width=1.6, depth=1.2),
    "mixnet_xxl": MixNet("mixnet_xxl", "medium", width=2.4, depth=1.3),
}


def build(config: MixNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act=RE, name="conv_stem", norm_name="bn1")
    return trunk(x, config.blocks, config.drop_path, partial(mixed, groups=config.groups))


def mixed(x: Tensor, block: Block, *, groups: int | None, drop_path: float) -> Tensor:
    """The block that `block` describes; that without expansion is a plain one."""
    from blocks import mixnet_block

    row = block.row
    if not isinstance(row, Mixed):
        return inverted_residual(x, block, groups=groups, drop_path=drop_path)
    return mixnet_block(
        x,
        block.channels,
        block.expanded,
        row.kernel,
        block.strides,
        groups,
        expand_parts=row.expand,
        project_parts=row.project,
        act=row.act,
        squeeze=block.squeeze,
        drop_path=drop_path,
        name=block.name,
    )


def head(config: MixNet, features: Tensor) -> Tensor:
    """Vector (B, 1536) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    return global_average(conv_norm(features, HEAD, act=RE, name="conv_head", norm_name="bn2"))
