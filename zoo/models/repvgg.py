"""RepVGG. Layer names follow timm's `byobnet.py`; those of the plain form are what its `reparameterize_model`
leaves.
"""

from dataclasses import dataclass, replace
from typing import Any

from zoo.checks import check_groups, check_name, check_share
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "RepVGG: plain 3x3 convolutions that are trained as sums of three branches."
PAPERS = (Citation("Ding et al.", 2021, "RepVGG: Making VGG-style ConvNets Great Again", arxiv="2101.03697"),)

CLASSIFIER = "head.fc"
WIDTHS = (64, 128, 256, 512)  # channels of each stage before scaling
SHALLOW, MIDDLE, DEEP = (2, 4, 14, 1), (4, 6, 16, 1), (8, 14, 24, 1)  # blocks of each stage
SIZES = {  # depths, and the factors of the widths: a for the first three stages, b for the last; tables 2 and 3
    "a0": (SHALLOW, 0.75, 2.5),
    "a1": (SHALLOW, 1, 2.5),
    "a2": (SHALLOW, 1.5, 2.75),
    "b0": (MIDDLE, 1, 2.5),
    "b1": (MIDDLE, 2, 4),
    "b2": (MIDDLE, 2.5, 5),
    "b3": (MIDDLE, 3, 5),
    "d2se": (DEEP, 2.5, 5),  # of the authors' code, as its squeeze-and-excitation
}
SQUEEZE = 16  # channels of a block over those of its squeeze-and-excitation


@dataclass(frozen=True)
class RepVGG:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Ding et al. 2021, RepVGG: Making VGG-style ConvNets Great Again, arXiv:2101.03697.

    Example:
        >>> from zoo.models.repvgg import RepVGG
        >>> RepVGG("b1", groups=4).name, RepVGG("b1").widths
        ('repvgg_b1g4', [128, 256, 512, 2048])
    """

    size: str = setting("a0", "letter and number in the paper: a0 is RepVGG-A0")
    groups: int = setting(1, "of every second block of a stage, g in the paper")
    reparameterized: bool = setting(False, "the plain form for inference: one convolution a block, no normalisation")
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        check_name("size", self.size, SIZES, "RepVGG")
        check_share("drop_path", self.drop_path, "RepVGG")
        grouped = [width for depth, width in zip(self.depths, self.widths, strict=True) if depth > 1]
        check_groups(self.groups, grouped, f"grouped convolution of RepVGG {self.size}")

    @property
    def name(self) -> str:
        return f"repvgg_{self.size}" + (f"g{self.groups}" if self.groups > 1 else "")

    @property
    def depths(self) -> tuple[int, ...]:
        return SIZES[self.size][0]

    @property
    def widths(self) -> list[int]:
        _, a, b = SIZES[self.size]
        return [int(width * factor) for width, factor in zip(WIDTHS, (a, a, a, b), strict=True)]

    @property
    def stem(self) -> int:
        return min(WIDTHS[0], self.widths[0])

    def squeezed(self, channels: int) -> int:
        return channels // SQUEEZE if self.size.endswith("se") else 0

    def with_groups(self, groups: int) -> "RepVGG":
        return replace(self, groups=groups)


VARIANTS = {
    "repvgg_a0": RepVGG("a0"),
    "repvgg_a1": RepVGG("a1"),
    "repvgg_a2": RepVGG("a2"),
    "repvgg_b0": RepVGG("b0"),
    "repvgg_b1": RepVGG("b1"),
    "repvgg_b1g4": RepVGG("b1", groups=4),
    "repvgg_b2": RepVGG("b2"),
    "repvgg_b2g4": RepVGG("b2", groups=4),
    "repvgg_b3": RepVGG("b3"),
    "repvgg_b3g4": RepVGG("b3", groups=4),
    "repvgg_d2se": RepVGG("d2se"),
}


def build(config: RepVGG, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import repvgg_block

    strides = 1 if small_stem else 2
    shared: dict[str, Any] = {"squeeze": config.squeezed(config.stem), "reparameterized": config.reparameterized}
    x = repvgg_block(images, config.stem, strides, name="stem", **shared)
    features, total, done = [x], sum(config.depths), 0
    for stage, (depth, channels) in enumerate(zip(config.depths, config.widths, strict=True)):
        for block in range(depth):
            x = repvgg_block(
                x,
                channels,
                strides=2 if block == 0 else 1,
                groups=config.groups if block % 2 else 1,
                squeeze=config.squeezed(channels),
                drop_path=config.drop_path * done / (total - 1),
                reparameterized=config.reparameterized,
                name=f"stages.{stage}.{block}",
            )
            done += 1
        features.append(x)
    return features


def head(config: RepVGG, features: Tensor) -> Tensor:
    """Vector (B, 1280 to 2560) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
