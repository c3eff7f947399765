"""FBNet-C and Single-Path NAS. Layer names follow timm's `efficientnet.py`, and so does the reading of the papers'
figures. In FBNet an expansion of 1 keeps the 1x1 convolution in front.
"""

from dataclasses import dataclass, replace
from functools import partial

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import Block, Row, inverted_residual, trunk, unroll
from zoo.typing import Tensor

SUMMARY = "FBNet-C and Single-Path NAS: inverted residuals chosen by gradient descent over every block at once."
PAPERS = (
    Citation(
        "Wu et al.",
        2019,
        "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search",
        arxiv="1812.03443",
    ),
    Citation(
        "Stamoulis et al.",
        2019,
        "Single-Path NAS: Designing Hardware-Efficient ConvNets in less than 4 Hours",
        arxiv="1904.02877",
    ),
)

CLASSIFIER = "classifier"

FBNET_C = (  # blocks, kernel, strides, expansion, channels; one tuple for each stage
    (Row(1, 3, 1, 1, 16),),
    (Row(1, 3, 2, 6, 24), Row(2, 3, 1, 1, 24)),
    (Row(1, 5, 2, 6, 32), Row(1, 5, 1, 3, 32), Row(1, 5, 1, 6, 32), Row(1, 3, 1, 6, 32)),
    (Row(1, 5, 2, 6, 64), Row(1, 5, 1, 3, 64), Row(2, 5, 1, 6, 64)),
    (Row(3, 5, 1, 6, 112), Row(1, 5, 1, 3, 112)),
    (Row(4, 5, 2, 6, 184),),
    (Row(1, 3, 1, 6, 352),),
)
SINGLE_PATH = (
    (Row(1, 3, 1, 0, 16, skip=False),),
    (Row(3, 3, 2, 3, 24),),
    (Row(1, 5, 2, 6, 40), Row(3, 3, 1, 3, 40)),
    (Row(1, 5, 2, 6, 80), Row(3, 3, 1, 3, 80)),
    (Row(1, 5, 1, 6, 96), Row(3, 5, 1, 3, 96)),
    (Row(4, 5, 2, 6, 192),),
    (Row(1, 3, 1, 6, 320, skip=False),),
)
NETWORKS = {"fbnetc": (FBNET_C, 16, 1984), "spnasnet": (SINGLE_PATH, 32, 1280)}  # stages, stem, last convolution


@dataclass(frozen=True)
class FBNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Wu et al. 2019, arXiv:1812.03443.

    Example:
        >>> from zoo.models.fbnet import FBNet
        >>> FBNet(width=0.5).name, FBNet(width=0.5).stem
        ('fbnetc_050', 8)
    """

    network: str = setting("fbnetc", '"fbnetc" or "spnasnet", the searched networks')
    width: float = setting(1.0, "width multiplier")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the papers")
    drop_path: float = setting(0.0, "stochastic depth: of n blocks, block i has i / n of it, as in timm's builder")
    epsilon: float = setting(
        1e-5, "of the normalisations; timm's published weights of fbnetc_100 were trained with 1e-3"
    )

    def __post_init__(self) -> None:
        check_name("network", self.network, NETWORKS, "FBNet")
        check_share("drop_path", self.drop_path, "FBNet")
        check_positive("width", self.width, "FBNet")
        check_positive("epsilon", self.epsilon, "FBNet")
        check_spatial_groups(
            self.groups, {block.expanded for block in self.blocks}, f"{self.network} of width {self.width:g}"
        )

    @property
    def name(self) -> str:
        return grouped_name(f"{self.network}_{round(self.width * 100):03d}", self.groups)

    @property
    def stem(self) -> int:
        return round_channels(NETWORKS[self.network][1] * self.width)

    @property
    def blocks(self) -> list[Block]:
        return unroll(NETWORKS[self.network][0], self.stem, self.width)

    def with_groups(self, groups: int) -> "FBNet":
        return replace(self, groups=groups)


VARIANTS = {
    "fbnetc_100": FBNet("fbnetc", width=1.0),
    "spnasnet_100": FBNet("spnasnet", width=1.0),
}


def build(config: FBNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm

    x = conv_norm(
        images,
        config.stem,
        3,
        1 if small_stem else 2,
        act="relu",
        epsilon=config.epsilon,
        name="conv_stem",
        norm_name="bn1",
    )

    make = partial(inverted_residual, groups=config.groups, epsilon=config.epsilon)
    return trunk(x, config.blocks, config.drop_path, make)


def head(config: FBNet, features: Tensor) -> Tensor:
    """Vector (B, 1984 or 1280) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    filters = NETWORKS[config.network][2]
    x = conv_norm(features, filters, act="relu", epsilon=config.epsilon, name="conv_head", norm_name="bn2")
    return global_average(x)
