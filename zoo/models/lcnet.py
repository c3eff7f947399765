"""PP-LCNet. Layer names follow timm's `mobilenetv3.py`; so does the classifier's hidden layer, which comes after the
pooling.
"""

from dataclasses import dataclass, replace

from zoo.checks import check_positive, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.models.inverted_residual_table import Block, Row, trunk, unroll
from zoo.typing import Tensor

SUMMARY = (
    "PP-LCNet: depthwise separable convolutions without shortcuts, h-swish throughout, large kernels only at the end."
)
PAPERS = (
    Citation(
        "Cui et al.",
        2021,
        "PP-LCNet: A Lightweight CPU Convolutional Neural Network",
        where="section 3",
        arxiv="2109.15099",
    ),
)

STEM, HIDDEN = 16, 1280
SQUEEZE = 0.25
HS = "hard_silu"
CLASSIFIER = "classifier"

STAGES = (  # blocks, kernel, strides, no expansion, channels; one tuple for each stage of timm
    (Row(1, 3, 1, 0, 32, act=HS),),
    (Row(2, 3, 2, 0, 64, act=HS),),
    (Row(2, 3, 2, 0, 128, act=HS),),
    (Row(1, 3, 2, 0, 256, act=HS), Row(1, 5, 1, 0, 256, act=HS)),
    (Row(4, 5, 1, 0, 256, act=HS),),
    (Row(2, 5, 2, 0, 512, SQUEEZE, act=HS),),
)


@dataclass(frozen=True)
class LCNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Cui et al. 2021, PP-LCNet: A Lightweight CPU Convolutional Neural Network, section 3, arXiv:2109.15099.

    Example:
        >>> from zoo.models.lcnet import LCNet
        >>> [block.name for block in LCNet(width=0.5).blocks][:3], LCNet(width=0.5).stem
        (['blocks.0.0', 'blocks.1.0', 'blocks.1.1'], 8)
    """

    width: float = setting(1.0, "scale of the channels in the paper")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "LCNet")
        check_spatial_groups(self.groups, {block.expanded for block in self.blocks}, f"LCNet of width {self.width:g}")

    @property
    def name(self) -> str:
        return grouped_name(f"lcnet_{round(self.width * 100):03d}", self.groups)

    @property
    def stem(self) -> int:
        return round_channels(STEM * self.width)

    @property
    def blocks(self) -> list[Block]:
        return unroll(STAGES, self.stem, self.width)

    def with_groups(self, groups: int) -> "LCNet":
        return replace(self, groups=groups)


VARIANTS = {
    "lcnet_035": LCNet(width=0.35),
    "lcnet_050": LCNet(width=0.5),
    "lcnet_075": LCNet(width=0.75),
    "lcnet_100": LCNet(width=1.0),
    "lcnet_150": LCNet(width=1.5),
}


def build(config: LCNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, mobilenet_v1_block

    def make(x: Tensor, block: Block, drop_path: float) -> Tensor:
        assert isinstance(block.row.kernel, int)  # a tuple is MixNet's
        return mobilenet_v1_block(
            x,
            block.channels,
            block.strides,
            config.groups,
            kernel_size=block.row.kernel,
            act=HS,
            final_act=HS,
            squeeze=block.squeeze,
            name=block.name,
        )

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act=HS, name="conv_stem", norm_name="bn1")
    return trunk(x, config.blocks, 0.0, make)


def head(config: LCNet, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import convolution, global_average
    from blocks.composites import activation, flatten

    x = global_average(features, keepdims=True)
    x = activation(convolution(x, HIDDEN, use_bias=True, name="conv_head"), HS)
    return flatten(x)
