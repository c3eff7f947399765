"""ShuffleNet v1. Layer names follow pytorchcv's `shufflenet.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_choice, check_positive, width_name
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "ShuffleNet v1: grouped pointwise convolutions, and a channel shuffle between them."
PAPERS = (
    Citation(
        "Zhang et al.",
        2018,
        "ShuffleNet: An Extremely Efficient CNN for Mobile Devices",
        where="table 1",
        arxiv="1707.01083",
    ),
)

CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # outputs of the first stage, for each number of groups
STEM = 24
UNITS = (4, 8, 4)
CLASSIFIER = "output"


def nearest_multiple(value: int, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, at least one; halves go up.

    Example:
        >>> from zoo.models.shufflenet_v1 import nearest_multiple
        >>> nearest_multiple(20, 8), nearest_multiple(3, 8)
        (24, 8)
    """
    return max(divisor, (2 * value + divisor) // (2 * divisor) * divisor)


@dataclass(frozen=True)
class ShuffleNetV1:
    """What makes one network of this family.

    Raises:
        ValueError: for other groups than 1, 2, 3, 4 or 8, or a width that is not above 0.

    Source: Zhang et al. 2018, ShuffleNet: An Extremely Efficient CNN for Mobile Devices, table 1, arXiv:1707.01083.

    Example:
        >>> from zoo.models.shufflenet_v1 import ShuffleNetV1
        >>> ShuffleNetV1(groups=8, width=0.5).channels
        (192, 384, 768)
    """

    groups: int = setting(3, "of the pointwise convolutions, g in the paper")
    width: float = setting(1.0, "width multiplier, s in the paper")

    def __post_init__(self) -> None:
        check_choice("groups", self.groups, CHANNELS, "ShuffleNet v1")
        check_positive("width", self.width, "ShuffleNet v1")

    @property
    def name(self) -> str:
        return f"shufflenet_g{self.groups}_{width_name(self.width)}"

    @property
    def stem(self) -> int:
        """Channels of the first convolution. All of them concatenate with grouped outputs, so g divides them."""
        return nearest_multiple(int(STEM * self.width), self.groups)

    @property
    def channels(self) -> tuple[int, ...]:
        """Outputs of the three stages: pytorchcv's where g divides them and their quarter, else the nearest."""
        first = nearest_multiple(int(CHANNELS[self.groups] * self.width), 4 * self.groups)
        return first, 2 * first, 4 * first

    def with_groups(self, groups: int) -> "ShuffleNetV1":
        return replace(self, groups=groups)


VARIANTS = {
    "shufflenet_g1_w1": ShuffleNetV1(groups=1),
    "shufflenet_g2_w1": ShuffleNetV1(groups=2),
    "shufflenet_g3_w1": ShuffleNetV1(groups=3),
    "shufflenet_g4_w1": ShuffleNetV1(groups=4),
    "shufflenet_g8_w1": ShuffleNetV1(groups=8),
    "shufflenet_g1_w3d4": ShuffleNetV1(groups=1, width=0.75),
    "shufflenet_g2_w3d4": ShuffleNetV1(groups=2, width=0.75),
    "shufflenet_g3_w3d4": ShuffleNetV1(groups=3, width=0.75),
    "shufflenet_g4_w3d4": ShuffleNetV1(groups=4, width=0.75),
    "shufflenet_g8_w3d4": ShuffleNetV1(groups=8, width=0.75),
    "shufflenet_g1_wd2": ShuffleNetV1(groups=1, width=0.5),
    "shufflenet_g2_wd2": ShuffleNetV1(groups=2, width=0.5),
    "shufflenet_g3_wd2": ShuffleNetV1(groups=3, width=0.5),
    "shufflenet_g4_wd2": ShuffleNetV1(groups=4, width=0.5),
    "shufflenet_g8_wd2": ShuffleNetV1(groups=8, width=0.5),
    "shufflenet_g1_wd4": ShuffleNetV1(groups=1, width=0.25),
    "shufflenet_g2_wd4": ShuffleNetV1(groups=2, width=0.25),
    "shufflenet_g3_wd4": ShuffleNetV1(groups=3, width=0.25),
    "shufflenet_g4_wd4": ShuffleNetV1(groups=4, width=0.25),
    "shufflenet_g8_wd4": ShuffleNetV1(groups=8, width=0.25),
}


def build(config: ShuffleNetV1, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import PaddedPooling2D, conv_norm, shufflenet_v1_unit

    x = conv_norm(
        images,
        config.stem,
        3,
        1 if small_stem else 2,
        act="relu",
        name="features.init_block.conv",
        norm_name="features.init_block.bn",
    )
    features = [x]
    if not small_stem:
        x = PaddedPooling2D("max", 3, 2, 1, "channels_last", name="features.init_block.pool")(x)
    features.append(x)
    for stage, (units, filters) in enumerate(zip(UNITS, config.channels, strict=True), start=1):
        for unit in range(1, units + 1):
            x = shufflenet_v1_unit(
                x,
                filters,
                config.groups,
                strides=2 if unit == 1 else 1,
                group_first=(stage, unit) != (1, 1),
                name=f"features.stage{stage}.unit{unit}",
            )
        features.append(x)
    return features


def head(config: ShuffleNetV1, features: Tensor) -> Tensor:
    """Vector (B, 4 * first stage) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
