"""Xception, aligned. Layer names follow timm's `xception_aligned.py`, to which the preactivated variants (p) belong."""

from dataclasses import dataclass, field, replace
from typing import Any

from zoo.checks import check_name, check_positive, check_share, check_spatial_groups, regrouped
from zoo.models.description import Citation, meaning, setting
from zoo.typing import Tensor

SUMMARY = (
    "Xception, aligned: separable convolutions throughout, strided ones in place of the pooling of the first Xception."
)
PAPERS = (
    Citation("Chollet", 2017, "Xception: Deep Learning with Depthwise Separable Convolutions", arxiv="1610.02357"),
    Citation(
        "Chen et al.",
        2018,
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        where="section 3.2 and figure 4",
        arxiv="1802.02611",
    ),
)

STEM = (32, 64)
MIDDLE = 728
ENTRY = {  # (channels, stride) of the modules of the entry flow
    "short": ((128, 2), (256, 2), (MIDDLE, 2)),
    "long": ((128, 2), (256, 1), (256, 2), (MIDDLE, 1), (MIDDLE, 2)),
}
EXIT = (((728, 1024, 1024), 2), ((1536, 1536, 2048), 1))
CLASSIFIER = "head.fc"


@dataclass(frozen=True)
class Xception:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Chollet 2017, Xception: Deep Learning with Depthwise Separable Convolutions, arXiv:1610.02357.

    Example:
        >>> from zoo.models.xception import Xception
        >>> Xception("xception_mine", middle=2).modules[-2:]
        [((728, 1024, 1024), 2), ((1536, 1536, 2048), 1)]
    """

    name: str = field(metadata=meaning("the reference's"))
    middle: int = field(metadata=meaning("modules of the middle flow"))
    entry: str = setting("short", '"short", or "long" with two modules more')
    preactivated: bool = setting(False, "a normalisation and a ReLU before each separable convolution: the p of a name")
    epsilon: float = setting(1e-3, "of the normalisations")
    groups: int | None = setting(None, "of the spatial convolutions; None is depthwise, as in the paper")
    drop_path: float = setting(0.0, "stochastic depth: rate of the last module, growing linearly from 0")

    def __post_init__(self) -> None:
        check_name("entry", self.entry, ENTRY, "Xception")
        check_positive("middle", self.middle, "Xception")
        check_positive("epsilon", self.epsilon, "Xception")
        check_share("drop_path", self.drop_path, "Xception")
        widths = {STEM[1], *(width for filters, _ in self.modules for width in filters[:2])}
        check_spatial_groups(self.groups, widths, "Xception")

    @property
    def modules(self) -> list[tuple[tuple[int, int, int], int]]:
        """(filters of the three separable convolutions, stride) of every module."""
        flow = [*ENTRY[self.entry], *self.middle * ((MIDDLE, 1),)]
        return [*(((width,) * 3, strides) for width, strides in flow), *EXIT]

    def with_groups(self, groups: int) -> "Xception":
        return replace(self, name=regrouped(self.name, groups, VARIANTS), groups=groups)


VARIANTS = {
    config.name: config
    for config in (
        Xception("xception41", middle=8),
        Xception("xception65", middle=16),
        Xception("xception71", middle=16, entry="long"),
        Xception("xception41p", middle=8, preactivated=True, epsilon=1e-5),
        Xception("xception65p", middle=16, preactivated=True),
    )
}


def build(config: Xception, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 2, 4, 8, 16.

    The last map of a resolution is the input of the convolution that halves it, within a module.
    """
    from blocks import conv_norm, convolution, preactivated_xception_module, xception_module

    module = preactivated_xception_module if config.preactivated else xception_module
    shared: dict[str, Any] = {"act": "relu", "epsilon": config.epsilon}
    x = conv_norm(images, STEM[0], 3, 1 if small_stem else 2, name="stem.0.conv", norm_name="stem.0.bn", **shared)
    if config.preactivated:
        x = convolution(x, STEM[1], 3, name="stem.1")
    else:
        x = conv_norm(x, STEM[1], 3, name="stem.1.conv", norm_name="stem.1.bn", **shared)
    features = []
    last = len(config.modules) - 1
    for index, (filters, strides) in enumerate(config.modules):
        x, tap = module(
            x,
            filters,
            strides,
            config.groups,
            skip=index < last,
            drop_path=config.drop_path * index / last,
            epsilon=config.epsilon,
            name=f"blocks.{index}",
        )
        if strides == 2:
            features.append(tap)
    return [*features, x]


def head(config: Xception, features: Tensor) -> Tensor:
    """Vector (B, 2048) that the classifier sees, from the last feature map."""
    from blocks import global_average
    from blocks.composites import activation

    return global_average(activation(features, "relu" if config.preactivated else None))
