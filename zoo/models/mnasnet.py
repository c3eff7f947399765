"""MnasNet. Layer names follow timm's `efficientnet.py`; its semnasnet is A1, its mnasnet B1, found without
squeeze-and-excitation.
"""

from dataclasses import dataclass, replace
from functools import partial

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import Block, Row, inverted_residual, trunk, unroll
from zoo.typing import Tensor

SUMMARY = "MnasNet: inverted residuals of mixed kernels and expansions, searched for the latency of a phone."
PAPERS = (
    Citation(
        "Tan et al.",
        2019,
        "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
        where="figure 7 (A1)",
        arxiv="1807.11626",
    ),
)

HEAD = 1280
SQUEEZE = 0.25  # of the block's input channels
CLASSIFIER = "classifier"

B1 = (  # blocks, kernel, strides, expansion, channels; one line a stage
    Row(1, 3, 1, 0, 16, skip=False),
    Row(3, 3, 2, 3, 24),
    Row(3, 5, 2, 3, 40),
    Row(3, 5, 2, 6, 80),
    Row(2, 3, 1, 6, 96),
    Row(4, 5, 2, 6, 192),
    Row(1, 3, 1, 6, 320, skip=False),
)
A1 = (
    Row(1, 3, 1, 0, 16, skip=False),
    Row(2, 3, 2, 6, 24),
    Row(3, 5, 2, 3, 40, SQUEEZE),
    Row(4, 3, 2, 6, 80),
    Row(2, 3, 1, 6, 112, SQUEEZE),
    Row(3, 5, 2, 6, 160, SQUEEZE),
    Row(1, 3, 1, 6, 320),
)
SMALL = (
    Row(1, 3, 1, 0, 8),
    Row(1, 3, 2, 3, 16),
    Row(2, 3, 2, 6, 16),
    Row(4, 5, 2, 6, 32, SQUEEZE),
    Row(3, 3, 1, 6, 32, SQUEEZE),
    Row(3, 5, 2, 6, 88, SQUEEZE),
    Row(1, 3, 1, 6, 144),
)
NETWORKS = {"mnasnet": (B1, 32), "semnasnet": (A1, 32), "mnasnet_small": (SMALL, 8)}  # stages, channels of the stem


@dataclass(frozen=True)
class MnasNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Tan et al. 2019, figure 7 (A1), arXiv:1807.11626.

    Example:
        >>> from zoo.models.mnasnet import MnasNet
        >>> MnasNet("semnasnet", width=0.75, groups=2).name
        'semnasnet_075_g2'
    """

    network: str = setting("mnasnet", '"mnasnet", "semnasnet" or "mnasnet_small", the searched networks')
    width: float = setting(1.0, "width multiplier")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")

    def __post_init__(self) -> None:
        check_name("network", self.network, NETWORKS, "MnasNet")
        check_share("drop_path", self.drop_path, "MnasNet")
        check_positive("width", self.width, "MnasNet")
        check_spatial_groups(
            self.groups, {block.expanded for block in self.blocks}, f"{self.network} of width {self.width:g}"
        )

    @property
    def name(self) -> str:
        alone = self.network == "mnasnet_small" and self.width == 1  # the reference has no other width of it
        return grouped_name(self.network + ("" if alone else f"_{round(self.width * 100):03d}"), self.groups)

    @property
    def stem(self) -> int:
        return round_channels(NETWORKS[self.network][1] * self.width)

    @property
    def blocks(self) -> list[Block]:
        return unroll([(row,) for row in NETWORKS[self.network][0]], self.stem, self.width)

    def with_groups(self, groups: int) -> "MnasNet":
        return replace(self, groups=groups)


VARIANTS = {
    "mnasnet_050": MnasNet("mnasnet", width=0.5),
    "mnasnet_075": MnasNet("mnasnet", width=0.75),
    "mnasnet_100": MnasNet("mnasnet", width=1.0),
    "mnasnet_140": MnasNet("mnasnet", width=1.4),
    "mnasnet_small": MnasNet("mnasnet_small", width=1.0),
    "semnasnet_050": MnasNet("semnasnet", width=0.5),
    "semnasnet_075": MnasNet("semnasnet", width=0.75),
    "semnasnet_100": MnasNet("semnasnet", width=1.0),
    "semnasnet_140": MnasNet("semnasnet", width=1.4),
}


def build(config: MnasNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act="relu", name="conv_stem", norm_name="bn1")

    return trunk(x, config.blocks, config.drop_path, partial(inverted_residual, groups=config.groups))


def head(config: MnasNet, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    return global_average(conv_norm(features, HEAD, act="relu", name="conv_head", norm_name="bn2"))
