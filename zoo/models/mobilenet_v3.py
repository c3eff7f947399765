"""MobileNet v3: inverted residuals with squeeze-and-excitation and h-swish, found by search.

Howard et al. 2019, Searching for MobileNetV3, tables 1 and 2, arXiv:1905.02244.
Layer names follow timm's `mobilenetv3.py`; so does the classifier's hidden layer, which comes after the pooling.
"""

from dataclasses import dataclass, replace

from zoo.checks import check_positive, check_spatial_groups, close_matches, round_channels

STEM = 16
SQUEEZE = 0.25  # of the expanded channels
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Row:
    """One line of the paper's tables."""

    kernel: int
    expansion: float  # over the input's channels
    channels: int
    squeeze: bool
    act: str  # RE or HS in the paper
    strides: int


RE, HS = "relu", "hard_silu"
LARGE = (  # one tuple for each stage of timm
    (Row(3, 1, 16, False, RE, 1),),
    (Row(3, 4, 24, False, RE, 2), Row(3, 3, 24, False, RE, 1)),
    (Row(5, 3, 40, True, RE, 2),) + 2 * (Row(5, 3, 40, True, RE, 1),),
    (Row(3, 6, 80, False, HS, 2), Row(3, 2.5, 80, False, HS, 1)) + 2 * (Row(3, 2.3, 80, False, HS, 1),),
    2 * (Row(3, 6, 112, True, HS, 1),),
    (Row(5, 6, 160, True, HS, 2),) + 2 * (Row(5, 6, 160, True, HS, 1),),
)
SMALL = (
    (Row(3, 1, 16, True, RE, 2),),
    (Row(3, 4.5, 24, False, RE, 2), Row(3, 3.67, 24, False, RE, 1)),
    (Row(5, 4, 40, True, HS, 2),) + 2 * (Row(5, 6, 40, True, HS, 1),),
    2 * (Row(5, 3, 48, True, HS, 1),),
    (Row(5, 6, 96, True, HS, 2),) + 2 * (Row(5, 6, 96, True, HS, 1),),
)
SIZES = {"large": (LARGE, 960, 1280), "small": (SMALL, 576, 1024)}  # stages, last convolution, hidden layer


@dataclass(frozen=True)
class MobileNetV3:
    """What makes one network of this family."""

    size: str = "large"  # "large" or "small", the two searched networks
    width: float = 1.0  # width multiplier
    groups: int | None = None  # of the spatial convolutions; None is depthwise, as in the paper

    def __post_init__(self):
        if self.size not in SIZES:
            raise ValueError(f"size={self.size!r} is not allowed for MobileNet v3: {close_matches(self.size, SIZES)}")
        check_positive("width", self.width, "MobileNet v3")
        widths = {expanded for _, _, _, expanded, _ in self.blocks}
        check_spatial_groups(self.groups, widths, f"MobileNet v3 {self.size} of width {self.width:g}")

    @property
    def name(self) -> str:
        return f"mobilenetv3_{self.size}_{round(self.width * 100):03d}"

    def scaled(self, channels: int) -> int:
        return round_channels(channels * self.width)

    @property
    def stem(self) -> int:
        return STEM if self.width < 0.75 else self.scaled(STEM)

    @property
    def blocks(self) -> list[tuple[int, int, Row, int, int]]:
        """(stage, block, row, expanded channels, output channels) of every block, scaled."""
        channels, found = self.stem, []
        for stage, rows in enumerate(SIZES[self.size][0]):
            for block, row in enumerate(rows):
                expanded = channels if row.expansion == 1 else round_channels(channels * row.expansion)
                channels = self.scaled(row.channels)
                found.append((stage, block, row, expanded, channels))
        return found

    def with_groups(self, groups: int) -> "MobileNetV3":
        return replace(self, groups=groups)


VARIANTS = {
    "mobilenetv3_large_075": MobileNetV3("large", width=0.75),
    "mobilenetv3_large_100": MobileNetV3("large", width=1.0),
    "mobilenetv3_small_050": MobileNetV3("small", width=0.5),
    "mobilenetv3_small_075": MobileNetV3("small", width=0.75),
    "mobilenetv3_small_100": MobileNetV3("small", width=1.0),
}


def build(config: MobileNetV3, images, small_stem: bool = False) -> list:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16."""
    from blocks import conv_norm, mobilenet_v1_block, mobilenet_v3_block

    x = conv_norm(images, config.stem, 3, 1 if small_stem else 2, act=HS, name="conv_stem", norm_name="bn1")
    features = []
    for stage, block, row, expanded, channels in config.blocks:
        if row.strides == 2:
            features.append(x)  # the last map of its resolution
        shared = {
            "kernel_size": row.kernel,
            "act": row.act,
            "squeeze": round_channels(expanded * SQUEEZE) if row.squeeze else 0,
            "name": f"blocks.{stage}.{block}",
        }
        if row.expansion == 1:
            x = mobilenet_v1_block(x, channels, row.strides, config.groups, final_act=None, **shared)
        else:
            x = mobilenet_v3_block(x, channels, expanded, row.strides, config.groups, **shared)
    last = config.scaled(SIZES[config.size][1])
    stage += 1
    x = conv_norm(x, last, act=HS, name=f"blocks.{stage}.0.conv", norm_name=f"blocks.{stage}.0.bn1")
    return [*features, x]


def head(config: MobileNetV3, features):
    """Vector (B, 1280 or 1024) that the classifier sees, from the last feature map."""
    from keras import layers

    from blocks import convolution, global_average
    from blocks.compose import activation

    x = global_average(features, keepdims=True)
    x = activation(convolution(x, SIZES[config.size][2], use_bias=True, name="conv_head"), HS)
    return layers.Flatten(data_format="channels_last")(x)
