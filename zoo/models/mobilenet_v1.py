"""MobileNet v1. Layer names follow timm's `mobilenetv3.py` / `efficientnet.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_positive, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "MobileNet v1: a plain stack of depthwise separable convolutions."
PAPERS = (
    Citation(
        "Howard et al.",
        2017,
        "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        where="table 1",
        arxiv="1704.04861",
    ),
)

STEM, HEAD = 32, 1024
STAGES = ((1, 1, 64), (2, 2, 128), (2, 2, 256), (6, 2, 512), (2, 2, 1024))  # blocks, stride of the first, channels
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class MobileNetV1:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Howard et al. 2017, table 1, arXiv:1704.04861.

    Example:
        >>> from zoo.models.mobilenet_v1 import MobileNetV1
        >>> MobileNetV1(width=0.5).scaled(1024), zoo.create(MobileNetV1(width=0.25), 0, (32, 32, 3)).output.shape
        (512, (None, 256))
    """

    width: float = setting(1.0, "width multiplier, alpha in the paper")
    head_conv: bool = setting(False, 'timm\'s "h": a 1x1 convolution of 1024 channels or more before the pooling')
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "MobileNet v1")
        widths = [self.scaled(channels) for _, _, channels in STAGES]
        check_spatial_groups(self.groups, (self.scaled(STEM), *widths), f"MobileNet v1 of width {self.width:g}")

    @property
    def name(self) -> str:
        return grouped_name(f"mobilenetv1_{round(self.width * 100):03d}" + ("h" if self.head_conv else ""), self.groups)

    def scaled(self, channels: int) -> int:
        return round_channels(channels * self.width)

    def with_groups(self, groups: int) -> "MobileNetV1":
        return replace(self, groups=groups)


VARIANTS = {
    "mobilenetv1_025": MobileNetV1(width=0.25),
    "mobilenetv1_050": MobileNetV1(width=0.5),
    "mobilenetv1_075": MobileNetV1(width=0.75),
    "mobilenetv1_100": MobileNetV1(width=1.0),
    "mobilenetv1_100h": MobileNetV1(width=1.0, head_conv=True),
    "mobilenetv1_125": MobileNetV1(width=1.25),
}


def build(config: MobileNetV1, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, mobilenet_v1_block

    x = conv_norm(
        images, config.scaled(STEM), 3, 1 if small_stem else 2, act="relu6", name="conv_stem", norm_name="bn1"
    )
    features = []
    for stage, (blocks, strides, channels) in enumerate(STAGES):
        for block in range(blocks):
            x = mobilenet_v1_block(
                x, config.scaled(channels), strides if block == 0 else 1, config.groups, name=f"blocks.{stage}.{block}"
            )
        features.append(x)
    return features


def head(config: MobileNetV1, features: Tensor) -> Tensor:
    """Vector (B, 1024 * width) that the classifier sees, from the last feature map."""
    from blocks import conv_norm, global_average

    if config.head_conv:
        channels = max(HEAD, config.scaled(HEAD))
        features = conv_norm(features, channels, act="relu6", name="conv_head", norm_name="bn2")
    return global_average(features)
