"""ShuffleNet v2. Layer names follow torchvision's `shufflenetv2.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_choice, check_spatial_groups, grouped_name
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "ShuffleNet v2: split the channels, convolve one half, concatenate, shuffle."
PAPERS = (
    Citation(
        "Ma et al.",
        2018,
        "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        where="table 5",
        arxiv="1807.11164",
    ),
)

CHANNELS = {  # outputs of stages 2, 3, 4 and of the last convolution, for each width
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
STEM = 24
UNITS = (4, 8, 4)
CLASSIFIER = "fc"


@dataclass(frozen=True)
class ShuffleNetV2:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Ma et al. 2018, table 5, arXiv:1807.11164.

    Example:
        >>> from zoo.models.shufflenet_v2 import ShuffleNetV2
        >>> ShuffleNetV2(width=1.5).name, ShuffleNetV2(width=1.5, groups=2).name
        ('shufflenet_v2_x1_5', 'shufflenet_v2_x1_5_g2')
    """

    width: float = setting(1.0, "scale of the channels in table 5 of the paper")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")

    def __post_init__(self) -> None:
        check_choice("width", self.width, CHANNELS, "ShuffleNet v2")
        halves = [channels // 2 for channels in CHANNELS[self.width][:3]]
        check_spatial_groups(self.groups, (STEM, *halves), f"ShuffleNet v2 x{self.width}")

    @property
    def name(self) -> str:
        return grouped_name(f"shufflenet_v2_x{self.width:.1f}".replace(".", "_"), self.groups)

    def with_groups(self, groups: int) -> "ShuffleNetV2":
        return replace(self, groups=groups)


VARIANTS = {
    "shufflenet_v2_x0_5": ShuffleNetV2(width=0.5),
    "shufflenet_v2_x1_0": ShuffleNetV2(width=1.0),
    "shufflenet_v2_x1_5": ShuffleNetV2(width=1.5),
    "shufflenet_v2_x2_0": ShuffleNetV2(width=2.0),
}


def build(config: ShuffleNetV2, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import PaddedPooling2D, conv_norm, shufflenet_v2_unit

    x = conv_norm(images, STEM, 3, 1 if small_stem else 2, act="relu", name="conv1.0", norm_name="conv1.1")
    features = [x]
    if not small_stem:
        x = PaddedPooling2D("max", 3, 2, 1, "channels_last", name="maxpool")(x)
    features.append(x)
    for stage, (units, filters) in enumerate(zip(UNITS, CHANNELS[config.width], strict=False), start=2):
        for unit in range(units):
            strides, last = 2 if unit == 0 else 1, unit == units - 1
            x = shufflenet_v2_unit(
                x, filters, strides, config.groups, return_halves=not last, name=f"stage{stage}.{unit}"
            )
        features.append(x)
    return features


def head(config: ShuffleNetV2, features: Tensor) -> Tensor:
    """Vector (B, 1024 or 2048) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    x = conv_norm(features, CHANNELS[config.width][3], act="relu", name="conv5.0", norm_name="conv5.1")
    return global_average(x)
