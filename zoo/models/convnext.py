"""ConvNeXt. Layer names follow timm's `convnext.py`; the networks below "tiny", and those with an overlapping stem, are
timm's own.
"""

from dataclasses import dataclass, replace

from zoo.checks import (
    check_choice,
    check_name,
    check_positive,
    check_share,
    check_spatial_groups,
    regrouped,
    round_channels,
)
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "ConvNeXt: a residual network whose blocks are built like those of a vision transformer."
PAPERS = (Citation("Liu et al.", 2022, "A ConvNet for the 2020s", arxiv="2201.03545"),)

CLASSIFIER = "head.fc"
STEMS = ("patch", "overlap", "overlap_tiered")
NORMS = ("after", "before")


@dataclass(frozen=True)
class ConvNeXt:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Liu et al. 2022, A ConvNet for the 2020s, arXiv:2201.03545.

    Example:
        >>> from zoo.models.convnext import ConvNeXt
        >>> ConvNeXt("convnext_mine", depths=(2, 2, 6, 2), width=40).widths
        [40, 80, 160, 320]
    """

    name: str = setting("convnext_tiny", "the reference's")
    depths: tuple[int, ...] = setting((3, 3, 9, 3), "B in the paper: blocks of each stage")
    width: int = setting(96, "channels of the first stage, doubled by each further one: C in the paper")
    groups: int | None = setting(None, "of the 7x7 convolutions; None is depthwise, as in the paper")
    stem: str = setting(
        "patch", '4x4 of stride 4; "overlap": two 3x3 of stride 2; "overlap_tiered": the first half as wide'
    )
    dense: bool = setting(
        True, "the layers over the channels as dense ones, or as 1x1 convolutions, which compute the same"
    )
    head_norm: str = setting("after", '"after" the pooling, or "before"')
    head_width: int = setting(0, "> 0: a hidden layer of that many channels before the classifier")
    drop_path: float = setting(0.0, "stochastic depth: rate of the last block, growing linearly from 0")

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        check_name("stem", self.stem, STEMS, "ConvNeXt")
        check_name("head_norm", self.head_norm, NORMS, "ConvNeXt")
        check_positive("width", self.width, "ConvNeXt")
        check_share("drop_path", self.drop_path, "ConvNeXt")
        check_choice("the number of depths", len(self.depths), (4,), "ConvNeXt")
        check_spatial_groups(self.groups, self.widths, f"ConvNeXt of width {self.width}")

    @property
    def widths(self) -> list[int]:
        return [self.width * 2**stage for stage in range(4)]

    def with_groups(self, groups: int) -> "ConvNeXt":
        return replace(self, groups=groups, name=regrouped(self.name, groups, VARIANTS))


SMALL, NANO, TINY, LARGE = (2, 2, 6, 2), (2, 2, 8, 2), (3, 3, 9, 3), (3, 3, 27, 3)
_VARIANTS = (
    ConvNeXt("convnext_atto", SMALL, 40, dense=False),
    ConvNeXt("convnext_atto_ols", SMALL, 40, stem="overlap_tiered", dense=False),
    ConvNeXt("convnext_femto", SMALL, 48, dense=False),
    ConvNeXt("convnext_femto_ols", SMALL, 48, stem="overlap_tiered", dense=False),
    ConvNeXt("convnext_pico", SMALL, 64, dense=False),
    ConvNeXt("convnext_pico_ols", SMALL, 64, stem="overlap_tiered", dense=False),
    ConvNeXt("convnext_nano", NANO, 80, dense=False),
    ConvNeXt("convnext_nano_ols", NANO, 80, stem="overlap", dense=False),
    ConvNeXt("convnext_tiny", TINY, 96),
    ConvNeXt("convnext_tiny_hnf", TINY, 96, dense=False, head_norm="before"),
    ConvNeXt("convnext_small", LARGE, 96),
    ConvNeXt("convnext_base", LARGE, 128),
    ConvNeXt("convnext_large", LARGE, 192),
    ConvNeXt("convnext_large_mlp", LARGE, 192, head_width=1536),
    ConvNeXt("convnext_xlarge", LARGE, 256),
)
VARIANTS = {config.name: config for config in _VARIANTS}


def build(config: ConvNeXt, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8.

    The small stem's convolutions are 3x3 and keep the resolution.
    """
    from blocks import convnext_block, convolution
    from blocks.families.convnext import layer_norm
    from blocks.layers.dotted_names import Scope

    x = images
    for index, (filters, kernel_size, strides, padding) in enumerate(_stem(config, small_stem)):
        x = convolution(x, filters, kernel_size, strides, padding=padding, use_bias=True, name=f"stem.{index}")
    x = layer_norm(x, name=f"stem.{index + 1}")
    features, done = [], 0
    for stage, (depth, channels) in enumerate(zip(config.depths, config.widths, strict=True)):
        scope = Scope(f"stages.{stage}")
        if stage:
            x = layer_norm(x, name=scope("downsample.0"))
            x = convolution(x, channels, 2, 2, padding=0, use_bias=True, name=scope("downsample.1"))
        for block in range(depth):
            rate = config.drop_path * done / max(sum(config.depths) - 1, 1)
            x = convnext_block(x, config.groups, dense=config.dense, drop_path=rate, name=scope(f"blocks.{block}"))
            done += 1
        features.append(x)
    return features


def head(config: ConvNeXt, features: Tensor) -> Tensor:
    """Vector (B, 8 * width or head_width) that the classifier sees, from the last feature map."""
    from blocks import Dense, global_average
    from blocks.families.convnext import layer_norm

    if config.head_norm == "before":
        x = global_average(layer_norm(features, name="norm_pre"))
    else:
        x = layer_norm(global_average(features), name="head.norm")
    return Dense(config.head_width, "gelu", name="head.pre_logits.fc")(x) if config.head_width else x


def _stem(config: ConvNeXt, small: bool) -> list[tuple[int, int, int, int]]:
    """Filters, kernel size, strides and padding of the stem's convolutions."""
    if config.stem == "patch":
        return [(config.width, 3, 1, 1) if small else (config.width, 4, 4, 0)]
    first = round_channels(config.width // 2) if config.stem == "overlap_tiered" else config.width
    return [(filters, 3, 1 if small else 2, 1) for filters in (first, config.width)]
