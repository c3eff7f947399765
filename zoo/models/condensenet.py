"""CondenseNet. Layer names follow pytorchcv's `condensenet.py`. Which channels a group sees is a weight of the network,
loaded with a checkpoint; in a new network it is even over the layers before it (`blocks.ChannelSelection`).
"""

from dataclasses import dataclass, replace

from zoo.checks import check_groups, check_positive
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "CondenseNet: a DenseNet of learned group convolutions, as it is once they have been learned and condensed."
PAPERS = (
    Citation(
        "Huang et al.", 2018, "CondenseNet: An Efficient DenseNet using Learned Group Convolutions", arxiv="1711.09224"
    ),
)

BOTTLENECK = 4  # channels between the two convolutions of a unit, over its growth
SELECTED = 0.5  # share of the channels that the classifier sees
CLASSIFIER = "output.linear"


@dataclass(frozen=True)
class CondenseNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Huang et al. 2018, arXiv:1711.09224.

    Example:
        >>> from zoo.models.condensenet import CondenseNet
        >>> CondenseNet(depths=(4, 6, 8, 10, 8), growth=8, groups=2).name
        'condensenet74_c2_g2'
    """

    depths: tuple[int, ...] = setting((4, 6, 8, 10, 8), "units of each stage")
    growth: int = setting(8, "channels that a unit adds, k0 in the paper; doubled from stage to stage (section 3.2)")
    groups: int = setting(4, "of all convolutions but the first: G, and the condensation factor C")

    def __post_init__(self) -> None:
        if len(self.depths) != 5 or min(self.depths) < 1:
            raise ValueError(f"depths={self.depths} is not allowed for CondenseNet: give 5 numbers, each at least 1.")
        check_positive("growth", self.growth, "CondenseNet")
        check_groups(self.groups, (self.growth,), f"convolution but the first of CondenseNet of growth {self.growth}")

    @property
    def name(self) -> str:
        return f"condensenet{2 * sum(self.depths) + 2}_c{self.groups}_g{self.groups}"

    def with_groups(self, groups: int) -> "CondenseNet":
        return replace(self, groups=groups)


VARIANTS = {
    "condensenet74_c4_g4": CondenseNet(groups=4),
    "condensenet74_c8_g8": CondenseNet(groups=8),
}


def build(config: CondenseNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16.

    They are what the stem and the units so far have computed, before the normalisation of whatever reads them.
    """
    from blocks import PaddedPooling2D, condensenet_unit, convolution

    x = convolution(images, 2 * config.growth, 3, 1 if small_stem else 2, name="features.init_block.conv")
    features = []
    for stage, units in enumerate(config.depths, start=1):
        if stage > 1:
            pool = f"features.stage{stage}.trans{stage}.pool"
            x = PaddedPooling2D("average", 2, 2, "valid", "channels_last", name=pool)(x)
        for unit in range(1, units + 1):
            x = condensenet_unit(
                x,
                config.growth * 2 ** (stage - 1),
                config.groups,
                bottleneck=BOTTLENECK,
                name=f"features.stage{stage}.unit{unit}",
            )
        features.append(x)
    return features


def head(config: CondenseNet, features: Tensor) -> Tensor:
    """Vector (B, half of the channels) that the classifier sees, from the last feature map."""
    from blocks import ChannelSelection, global_average, normalization

    x = global_average(normalization(features, act="relu", name="features.post_activ.bn"))
    return ChannelSelection(int(x.shape[-1] * SELECTED), name="output")(x)
