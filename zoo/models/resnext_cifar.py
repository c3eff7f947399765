"""ResNeXt for images of 32 x 32 pixels. Layer names follow pytorchcv's `resnext_cifar.py`."""

from dataclasses import dataclass, replace

from zoo.checks import check_choice, check_name, check_positive
from zoo.models.description import Citation, setting
from zoo.models.residual import EXPANSION, RESNET_WIDTH, SAME_SIZE, GroupWidth, block_weights, equal_width
from zoo.typing import Tensor

SUMMARY = "ResNeXt for images of 32 x 32 pixels: three stages, no stride and no pooling in the stem."
PAPERS = (
    Citation(
        "Xie et al.",
        2017,
        "Aggregated Residual Transformations for Deep Neural Networks",
        where="section 5.3",
        arxiv="1611.05431",
    ),
)

STAGES = 3
DEPTHS = tuple(9 * blocks + 2 for blocks in range(1, 34))  # three layers a block, the same number of blocks each stage
CLASSES = {"cifar10": 10, "cifar100": 100, "svhn": 10}
CLASSIFIER = "output"
LAYER_NAMES = tuple((f"body.conv{number}.conv", f"body.conv{number}.bn") for number in (1, 2, 3))
SHORTCUT_NAMES = ("identity_conv.conv", "identity_conv.bn")


@dataclass(frozen=True)
class ResNeXtCIFAR(GroupWidth):
    """What makes one network of this family.

    `width_per_group` left at None keeps the size of the paper's widest, 16x64d, whatever the groups: `equal_width`.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Xie et al. 2017, section 5.3, arXiv:1611.05431.

    Example:
        >>> from zoo.models.resnext_cifar import ResNeXtCIFAR
        >>> ResNeXtCIFAR(29, groups=16, width_per_group=64, dataset="cifar100").name
        'resnext29_16x64d_cifar100'
    """

    depth: int = setting(29, "layers, as the paper counts them")
    groups: int = setting(32, f"cardinality, C in the paper; {SAME_SIZE}")
    width_per_group: int | None = setting(4, "d in the paper: channels of a group at the first stage")
    dataset: str = setting("cifar10", "what the published network was trained on")

    def __post_init__(self) -> None:
        check_choice("depth", self.depth, DEPTHS, "ResNeXt for CIFAR")
        check_positive("groups", self.groups, "ResNeXt for CIFAR")
        check_name("dataset", self.dataset, CLASSES, "ResNeXt for CIFAR")
        if self.width_per_group is None:
            object.__setattr__(self, "width_per_group", equal_width(self.groups, block_weights(16, RESNET_WIDTH)))
        check_positive("width_per_group", self.group_width, "ResNeXt for CIFAR")

    @property
    def name(self) -> str:
        return f"resnext{self.depth}_{self.groups}x{self.width_per_group}d_{self.dataset}"

    @property
    def num_classes(self) -> int:
        """Outputs of the published network."""
        return CLASSES[self.dataset]

    def with_groups(self, groups: int) -> "ResNeXtCIFAR":
        """This network with another cardinality and, as nearly as can be, the same size."""
        width = equal_width(groups, block_weights(self.groups, self.group_width))
        return replace(self, groups=groups, width_per_group=width)


SHAPES = (  # every one of them exists for every data set
    (20, 16, 4),
    (20, 32, 2),
    (20, 32, 4),
    (29, 32, 4),
    (29, 16, 64),
    (272, 1, 64),
    (272, 2, 32),
)
VARIANTS = {config.name: config for dataset in CLASSES for config in (ResNeXtCIFAR(*each, dataset) for each in SHAPES)}


def build(config: ResNeXtCIFAR, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 1, 2, 4 of `images` (B, H, W, C), whatever the stem: it is small already."""
    from blocks import conv_norm, resnext_block
    from blocks.layers.dotted_names import Scope

    stem = Scope("features.init_block")
    x = conv_norm(images, RESNET_WIDTH, 3, act="relu", **stem.names("conv", "bn"))
    features = []
    for stage in range(STAGES):
        for unit in range((config.depth - 2) // (3 * STAGES)):
            x = resnext_block(
                x,
                RESNET_WIDTH * EXPANSION * 2**stage,
                config.group_width * config.groups * 2**stage,
                config.groups,
                strides=2 if stage > 0 and unit == 0 else 1,
                layer_names=LAYER_NAMES,
                shortcut_names=SHORTCUT_NAMES,
                name=f"features.stage{stage + 1}.unit{unit + 1}",
            )
        features.append(x)
    return features


def head(config: ResNeXtCIFAR, features: Tensor) -> Tensor:
    """Vector (B, 1024) that the classifier sees, from the last feature map."""
    from blocks import global_average

    return global_average(features)
