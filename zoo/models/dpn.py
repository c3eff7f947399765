"""DPN, dual path networks. Layer names follow timm's `dpn.py`, to which dpn48b belongs."""

from dataclasses import dataclass, field, replace
from typing import Any

from zoo.checks import check_groups, check_positive, regrouped
from zoo.models.description import Citation, meaning, setting
from zoo.typing import Tensor

SUMMARY = "DPN, dual path networks: a residual and a dense path through the same grouped bottlenecks."
PAPERS = (Citation("Chen et al.", 2017, "Dual Path Networks", where="section 4 and table 1", arxiv="1707.01629"),)

CLASSIFIER = "classifier"
EPSILON = 1e-3


@dataclass(frozen=True)
class DPN:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Chen et al. 2017, Dual Path Networks, section 4 and table 1, arXiv:1707.01629.

    Example:
        >>> from zoo.models.dpn import DPN
        >>> DPN("dpn_mine", depths=(1, 1, 1, 1), growth=(16, 32, 32, 64), width=64).with_groups(16).name
        'dpn_mine_g16'
    """

    name: str = field(metadata=meaning("the reference's"))
    depths: tuple[int, int, int, int] = field(metadata=meaning("blocks of each stage"))
    growth: tuple[int, int, int, int] = field(
        metadata=meaning("channels that a block appends to the dense path, (+k) in table 1")
    )
    width: int = field(
        metadata=meaning("channels of the 3x3 convolutions at the first stage; they double with every stage")
    )
    groups: int = setting(32, "of the 3x3 convolutions, G in the paper")
    stem: int = setting(64, "channels of the first convolution")
    small: bool = setting(
        False, "residual path of 64 channels, not 256, at the first stage, and a stem of 3x3, not 7x7"
    )
    separate: bool = setting(False, 'the "b" of a name: the last convolution of a block is one for each path')
    act: str = setting("relu", "of the first and the last normalisation; the blocks have ReLU")

    def __post_init__(self) -> None:
        for symbol, value in (("width", self.width), ("stem", self.stem)):
            check_positive(symbol, value, "DPN")
        for symbol, values in (("depths", self.depths), ("growth", self.growth)):
            if len(values) != 4 or min(values) < 1:
                raise ValueError(
                    f"{symbol}={tuple(values)} is not allowed for DPN: give four numbers of at least 1, one a stage."
                )
        check_groups(self.groups, (self.width,), f"3x3 convolution of a DPN of width {self.width}")

    @property
    def residual(self) -> int:
        """Channels of the residual path at the first stage; they double with every stage."""
        return 64 if self.small else 256

    def with_groups(self, groups: int) -> "DPN":
        return replace(self, name=regrouped(self.name, groups, VARIANTS), groups=groups)


SMALL: dict[str, Any] = {"width": 128, "groups": 32, "stem": 10, "small": True}
VARIANTS = {
    config.name: config
    for config in (
        DPN("dpn48b", (3, 4, 6, 3), (16, 32, 32, 64), **SMALL, separate=True, act="silu"),
        DPN("dpn68", (3, 4, 12, 3), (16, 32, 32, 64), **SMALL),
        DPN("dpn68b", (3, 4, 12, 3), (16, 32, 32, 64), **SMALL, separate=True),
        DPN("dpn92", (3, 4, 20, 3), (16, 32, 24, 128), width=96, groups=32, stem=64),
        DPN("dpn98", (3, 6, 20, 3), (16, 32, 32, 128), width=160, groups=40, stem=96),
        DPN("dpn107", (4, 8, 20, 3), (20, 64, 64, 128), width=200, groups=50, stem=128),
        DPN("dpn131", (4, 8, 28, 3), (16, 32, 32, 128), width=160, groups=40, stem=128),
    )
}


def build(config: DPN, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4, 8."""
    from blocks import PaddedPooling2D, conv_norm, dual_path_block

    x = conv_norm(
        images,
        config.stem,
        3 if small_stem or config.small else 7,
        1 if small_stem else 2,
        act=config.act,
        epsilon=EPSILON,
        name="features.conv1_1.conv",
        norm_name="features.conv1_1.bn",
    )
    features = [x]
    if not small_stem:
        x = PaddedPooling2D("max", 3, 2, 1, "channels_last", name="features.conv1_pool")(x)
    for stage, (blocks, growth) in enumerate(zip(config.depths, config.growth, strict=True)):
        for block in range(blocks):
            x = dual_path_block(
                x,
                width=config.width * 2**stage,
                residual=config.residual * 2**stage,
                growth=growth,
                groups=config.groups,
                strides=2 if stage > 0 and block == 0 else 1,
                project=block == 0,
                separate=config.separate,
                name=f"features.conv{stage + 2}_{block + 1}",
            )
        features.append(x)
    return features


def head(config: DPN, features: Tensor) -> Tensor:
    """Vector (B, channels of both paths) that the classifier sees: normalised, activated and averaged."""
    from blocks import global_average, normalization

    x = normalization(features, act=config.act, epsilon=EPSILON, name="features.conv5_bn_ac.bn")
    return global_average(x)
