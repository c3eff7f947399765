"""Convolutions of the zoo's networks at 128 x 128 pixels, to be timed alone. Imports no framework.

The tests hold every line against the layer of that name in the network that `zoo.create` builds.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Shape:
    """One convolution without bias, padded by kernel // 2 on every side."""

    network: str
    layer: str
    size: int  # height and width of the input, pixels
    channels: int
    filters: int
    kernel: int
    strides: int
    groups: int

    @property
    def kind(self) -> str:
        if self.groups == 1:
            return "dense"
        return "depthwise" if self.groups == self.channels else "grouped"

    @property
    def name(self) -> str:
        return f"{self.network} {self.layer}"

    @property
    def positions(self) -> int:
        """Of the output, for one image."""
        return (-(-self.size // self.strides)) ** 2

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass, for one image."""
        return self.positions * self.filters * self.kernel**2 * self.channels // self.groups

    def __str__(self) -> str:
        groups = f", {self.groups} groups" if self.kind == "grouped" else ""
        stride = f"/{self.strides}" if self.strides > 1 else ""
        return (
            f"{self.kind} {self.kernel}x{self.kernel}{stride} {self.size}x{self.size}x{self.channels}"
            f" -> {self.filters}{groups}"
        )

    def settings(self) -> dict:
        """What a worker needs to build it."""
        return {key: value for key, value in asdict(self).items() if key not in ("network", "layer")}


SHAPES = (
    # Stems.
    Shape("resnext50_32x4d", "conv1", 128, 3, 64, 7, 2, 1),
    Shape("mobilenetv2_100", "conv_stem", 128, 3, 32, 3, 2, 1),
    # Dense pointwise convolutions, stage by stage.
    Shape("mobilenetv2_100", "blocks.1.0.conv_pw", 64, 16, 96, 1, 1, 1),
    Shape("resnext50_32x4d", "layer1.0.conv3", 32, 128, 256, 1, 1, 1),
    Shape("resnext50_32x4d", "layer2.0.downsample.0", 32, 256, 512, 1, 2, 1),
    Shape("mobilenetv2_100", "blocks.2.1.conv_pwl", 16, 192, 32, 1, 1, 1),
    Shape("shufflenet_v2_x1_0", "stage3.0.branch2.0", 16, 116, 116, 1, 1, 1),
    Shape("resnext50_32x4d", "layer3.1.conv1", 8, 1024, 512, 1, 1, 1),
    Shape("mobilenetv2_100", "blocks.4.1.conv_pw", 8, 96, 576, 1, 1, 1),
    Shape("resnext50_32x4d", "layer4.1.conv1", 4, 2048, 1024, 1, 1, 1),
    # Grouped 3x3: ResNeXt has 4, 8, 16 and 32 channels a group, RegNet always 16.
    Shape("resnext50_32x4d", "layer1.0.conv2", 32, 128, 128, 3, 1, 32),
    Shape("resnext50_32x4d", "layer2.0.conv2", 32, 256, 256, 3, 2, 32),
    Shape("resnext50_32x4d", "layer2.1.conv2", 16, 256, 256, 3, 1, 32),
    Shape("resnext50_32x4d", "layer3.0.conv2", 16, 512, 512, 3, 2, 32),
    Shape("resnext50_32x4d", "layer3.1.conv2", 8, 512, 512, 3, 1, 32),
    Shape("resnext50_32x4d", "layer4.0.conv2", 8, 1024, 1024, 3, 2, 32),
    Shape("resnext50_32x4d", "layer4.1.conv2", 4, 1024, 1024, 3, 1, 32),
    Shape("regnety_008", "s1.b1.conv2.conv", 64, 64, 64, 3, 2, 4),
    Shape("regnety_008", "s2.b1.conv2.conv", 32, 128, 128, 3, 2, 8),
    Shape("regnety_008", "s3.b2.conv2.conv", 8, 320, 320, 3, 1, 20),
    # Grouped pointwise convolutions of ShuffleNet v1.
    Shape("shufflenet_g3_w1", "features.stage1.unit2.compress_conv1", 16, 240, 60, 1, 1, 3),
    Shape("shufflenet_g3_w1", "features.stage1.unit2.expand_conv3", 16, 60, 240, 1, 1, 3),
    Shape("shufflenet_g3_w1", "features.stage2.unit2.compress_conv1", 8, 480, 120, 1, 1, 3),
    Shape("shufflenet_g3_w1", "features.stage3.unit2.expand_conv3", 4, 240, 960, 1, 1, 3),
    # Depthwise 3x3.
    Shape("mobilenetv2_100", "blocks.0.0.conv_dw", 64, 32, 32, 3, 1, 32),
    Shape("mobilenetv2_100", "blocks.1.0.conv_dw", 64, 96, 96, 3, 2, 96),
    Shape("mobilenetv2_100", "blocks.1.1.conv_dw", 32, 144, 144, 3, 1, 144),
    Shape("shufflenet_v2_x1_0", "stage2.0.branch2.3", 32, 58, 58, 3, 2, 58),
    Shape("mobilenetv2_100", "blocks.3.0.conv_dw", 16, 192, 192, 3, 2, 192),
    Shape("mobilenetv2_100", "blocks.4.1.conv_dw", 8, 576, 576, 3, 1, 576),
    Shape("mobilenetv2_100", "blocks.5.1.conv_dw", 4, 960, 960, 3, 1, 960),
    # Depthwise 5x5.
    Shape("mobilenetv3_large_100", "blocks.2.0.conv_dw", 32, 72, 72, 5, 2, 72),
    Shape("mobilenetv3_large_100", "blocks.2.1.conv_dw", 16, 120, 120, 5, 1, 120),
    Shape("mobilenetv3_large_100", "blocks.5.0.conv_dw", 8, 672, 672, 5, 2, 672),
    Shape("mobilenetv3_large_100", "blocks.5.1.conv_dw", 4, 960, 960, 5, 1, 960),
)


def chosen(shapes: Iterable[Shape], text: str) -> list[Shape]:
    """The shapes whose network, layer or kind contains `text`. Raises ValueError where none does."""
    matching = [shape for shape in shapes if text in f"{shape.name} {shape.kind}"]
    if not matching:
        raise ValueError(f"No shape contains {text!r}: give a part of a network's name, dense, grouped or depthwise.")
    return matching
