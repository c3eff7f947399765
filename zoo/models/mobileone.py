"""MobileOne. Layer names follow timm's `byobnet.py`; those of the plain form are what its `reparameterize_model`
leaves.
"""

from dataclasses import dataclass, replace

from zoo.checks import check_name, check_share, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "MobileOne: depthwise and pointwise convolutions, each trained as a sum of branches."
PAPERS = (Citation("Vasu et al.", 2023, "MobileOne: An Improved One Millisecond Mobile Backbone", arxiv="2206.04040"),)

CLASSIFIER = "head.fc"
DEPTHS = (2, 8, 10, 1)  # pairs of a depthwise and a pointwise block
WIDTHS = (64, 128, 256, 512)  # channels of each stage before scaling
SIZES = {  # factors of the widths, branches k, and pairs with squeeze-and-excitation at the end of each stage; table 2
    "s0": ((0.75, 1.0, 1.0, 2.0), 4, (0, 0, 0, 0)),
    "s1": ((1.5, 1.5, 2.0, 2.5), 1, (0, 0, 0, 0)),
    "s2": ((1.5, 2.0, 2.5, 4.0), 1, (0, 0, 0, 0)),
    "s3": ((2.0, 2.5, 3.0, 4.0), 1, (0, 0, 0, 0)),
    "s4": ((3.0, 3.5, 3.5, 4.0), 1, (0, 0, 5, 1)),
}
SQUEEZE = 1 / 16  # of a block's channels


@dataclass(frozen=True)
class MobileOne:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Vasu et al. 2023, MobileOne: An Improved One Millisecond Mobile Backbone, arXiv:2206.04040.

    Example:
        >>> from zoo.models.mobileone import MobileOne
        >>> MobileOne("s1").widths, MobileOne("s1", reparameterized=True).name
        ([96, 192, 512, 1280], 'mobileone_s1')
    """

    size: str = setting("s0", "letter and number in the paper: s0 is MobileOne-S0")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    reparameterized: bool = setting(False, "the plain form for inference: one convolution a block, no normalisation")
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        check_name("size", self.size, SIZES, "MobileOne")
        check_share("drop_path", self.drop_path, "MobileOne")
        inputs = [self.stem, *self.widths[:-1]]
        deeper = [width for depth, width in zip(DEPTHS, self.widths, strict=True) if depth > 1]
        check_spatial_groups(self.groups, {*inputs, *deeper}, f"MobileOne {self.size}")

    @property
    def name(self) -> str:
        return grouped_name(f"mobileone_{self.size}", self.groups)

    @property
    def widths(self) -> list[int]:
        return [round(width * factor) for width, factor in zip(WIDTHS, SIZES[self.size][0], strict=True)]

    @property
    def stem(self) -> int:
        return min(WIDTHS[0], self.widths[0])

    def with_groups(self, groups: int) -> "MobileOne":
        return replace(self, groups=groups)


VARIANTS = {
    "mobileone_s0": MobileOne("s0"),
    "mobileone_s1": MobileOne("s1"),
    "mobileone_s2": MobileOne("s2"),
    "mobileone_s3": MobileOne("s3"),
    "mobileone_s4": MobileOne("s4"),
}


def build(config: MobileOne, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import mobileone_block

    _, branches, squeezed_pairs = SIZES[config.size]
    x = mobileone_block(
        images,
        config.stem,
        strides=1 if small_stem else 2,
        reparameterized=config.reparameterized,
        name="stem",
    )
    features, done = [x], 0
    for stage, (pairs, width, squeezed) in enumerate(zip(DEPTHS, config.widths, squeezed_pairs, strict=True)):
        for block in range(2 * pairs):
            spatial, channels = block % 2 == 0, x.shape[-1]
            filters = channels if spatial else width
            x = mobileone_block(
                x,
                filters,
                kernel_size=3 if spatial else 1,
                strides=2 if block == 0 else 1,
                groups=(config.groups or channels) if spatial else 1,
                branches=branches,
                squeeze=round_channels(filters * SQUEEZE, floor=0) if block >= 2 * (pairs - squeezed) else 0,
                drop_path=config.drop_path * done / (2 * sum(DEPTHS) - 1),
                reparameterized=config.reparameterized,
                name=f"stages.{stage}.{block}",
            )
            done += 1
        features.append(x)
    return features


def head(config: MobileOne, features: Tensor) -> Tensor:
    """Vector (B, 1024 to 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
