"""GhostNet. Layer names follow timm's `ghostnet.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_choice, check_positive, check_spatial_groups, grouped_name, round_channels
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = (
    "GhostNet: half of every feature map is computed, the other half derived from it by a cheap depthwise convolution."
)
PAPERS = (
    Citation("Han et al.", 2020, "GhostNet: More Features from Cheap Operations", where="table 1", arxiv="1911.11907"),
    Citation("Tang et al.", 2022, "GhostNetV2: Enhance Cheap Operation with Long-Range Attention", arxiv="2211.12905"),
)

STEM, HEAD = 16, 1280
SQUEEZE = 0.25  # of the expanded channels
STAGES = (  # kernel, expansion size, channels, squeeze-and-excitation, stride of each bottleneck: table 1 of the paper
    ((3, 16, 16, False, 1),),
    ((3, 48, 24, False, 2),),
    ((3, 72, 24, False, 1),),
    ((5, 72, 40, True, 2),),
    ((5, 120, 40, True, 1),),
    ((3, 240, 80, False, 2),),
    (
        (3, 200, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
    ),
    ((5, 672, 160, True, 2),),
    2 * ((5, 960, 160, False, 1), (5, 960, 160, True, 1)),
)
LAST = 960  # channels of the last convolution before the pooling
PLAIN = 2  # bottlenecks of version 2 that have no attention, the first ones
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class GhostNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Han et al. 2020, GhostNet: More Features from Cheap Operations, table 1, arXiv:1911.11907.

    Example:
        >>> from zoo.models.ghostnet import GhostNet
        >>> GhostNet(width=0.5, version=2).name
        'ghostnetv2_050'
    """

    width: float = setting(1.0, "width multiplier, alpha in the paper")
    version: int = setting(1, "2 has attention in all bottlenecks but the first two")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")

    def __post_init__(self) -> None:
        check_positive("width", self.width, "GhostNet")
        check_choice("version", self.version, (1, 2), "GhostNet")
        check_spatial_groups(self.groups, self.spatial_widths, f"GhostNet of width {self.width:g}")

    @property
    def name(self) -> str:
        return grouped_name(f"ghostnet{'v2' if self.version == 2 else ''}_{round(self.width * 100):03d}", self.groups)

    def scaled(self, channels: int) -> int:
        return round_channels(channels * self.width, 4)

    @property
    def spatial_widths(self) -> set[int]:
        """Channels of the spatial convolutions: cheap operations, those of stride 2, shortcuts and attention."""
        widths, channels = set(), self.scaled(STEM)
        for bottleneck, (_, expanded, outputs, _, strides) in enumerate(row for rows in STAGES for row in rows):
            expanded, outputs = self.scaled(expanded), self.scaled(outputs)
            widths |= {expanded // 2, outputs // 2}
            widths |= {expanded} if strides == 2 or (self.version == 2 and bottleneck >= PLAIN) else set()
            widths |= {channels} if strides == 2 or channels != outputs else set()
            channels = outputs
        return widths

    def with_groups(self, groups: int) -> "GhostNet":
        return replace(self, groups=groups)


VARIANTS = {
    "ghostnet_050": GhostNet(width=0.5),
    "ghostnet_100": GhostNet(width=1.0),
    "ghostnet_130": GhostNet(width=1.3),
    "ghostnetv2_100": GhostNet(width=1.0, version=2),
    "ghostnetv2_130": GhostNet(width=1.3, version=2),
    "ghostnetv2_160": GhostNet(width=1.6, version=2),
}


def build(config: GhostNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16.

    Version 2 halves the last of them again inside, so that one has to be of 2 pixels a side at least.
    """
    from blocks import conv_norm, ghost_bottleneck
    from blocks.layers.dotted_names import Scope

    x = conv_norm(images, config.scaled(STEM), 3, 1 if small_stem else 2, act="relu", name="conv_stem", norm_name="bn1")
    features, bottleneck = [], 0
    for stage, rows in enumerate(STAGES):
        for block, (kernel, expanded, channels, squeeze, strides) in enumerate(rows):
            if strides == 2:
                features.append(x)  # the last map of its resolution
            expanded = config.scaled(expanded)
            x = ghost_bottleneck(
                x,
                config.scaled(channels),
                expanded,
                kernel,
                strides,
                config.groups,
                squeeze=round_channels(expanded * SQUEEZE, 4) if squeeze else 0,
                attention=config.version == 2 and bottleneck >= PLAIN,
                name=f"blocks.{stage}.{block}",
            )
            bottleneck += 1
    last = Scope(f"blocks.{len(STAGES)}.0")
    x = conv_norm(x, config.scaled(LAST), act="relu", **last.names("conv", "bn1"))
    return [*features, x]


def head(config: GhostNet, features: Tensor) -> Tensor:
    """Vector (B, 1280) that the classifier sees, from the last feature map."""
    from blocks import convolution, global_average
    from blocks.composites import activation, flatten

    x = convolution(global_average(features, keepdims=True), HEAD, use_bias=True, name="conv_head")
    return flatten(activation(x, "relu"))
