"""AlexNet. Layer names follow pytorchcv's `alexnet.py`, whose `alexnet` has one group everywhere: it is `alexnet_g1`
here.

Local response normalisation is where the paper has it (section 3.3), with its constants, and alpha divided by the
size of the window, as the reference has it. The paper's numbers are those of images of 227 pixels; at 224 the
windows of the first pooling reach over the edge by one pixel, and every map but the first has the paper's size.
"""

from dataclasses import dataclass, replace

from zoo.checks import check_groups, grouped_name
from zoo.models.description import Citation, setting
from zoo.typing import Tensor

SUMMARY = "AlexNet: where grouped convolution began, as two halves of a network on two graphics cards."
PAPERS = (
    Citation(
        "Krizhevsky et al.",
        2012,
        "ImageNet Classification with Deep Convolutional Neural Networks",
        where="section 3 and figure 2",
    ),
)

CHANNELS = (96, 256, 384, 384, 256)  # of the five convolutions
HIDDEN = 4096  # of the two hidden dense layers
MAP = 6  # height and width of the last map of images of 224 or 227 pixels, which the dense layers see
DROPOUT = 0.5  # behind each hidden layer, section 4.2
SMALLEST, SMALLEST_WITH_SMALL_STEM = 39, 4  # pixels that leave one pixel for the last map
CLASSIFIER = "output.fc3"


@dataclass(frozen=True)
class AlexNet:
    """What makes one network of this family.

    Raises:
        ValueError: for settings that the family does not have, or groups that do not divide their channels.

    Source: Krizhevsky et al. 2012, section 3 and figure 2.

    Example:
        >>> from zoo.models.alexnet import AlexNet
        >>> AlexNet().name, AlexNet(groups=1).name, AlexNet(groups=4).name
        ('alexnet', 'alexnet_g1', 'alexnet_g4')
    """

    groups: int = setting(2, "of the second, fourth and fifth convolution; the third sees both halves")

    def __post_init__(self) -> None:
        check_groups(self.groups, (CHANNELS[0], CHANNELS[1], *CHANNELS[3:]), "grouped convolution of AlexNet")

    @property
    def name(self) -> str:
        return grouped_name("alexnet", self.groups, published=2)

    def with_groups(self, groups: int) -> "AlexNet":
        return replace(self, groups=groups)


VARIANTS = {
    "alexnet": AlexNet(groups=2),
    "alexnet_g1": AlexNet(groups=1),
}


def build(config: AlexNet, images: Tensor, small_stem: bool = False) -> list[Tensor]:
    """Feature maps at strides 4, 8, 16, 32 of `images` (B, H, W, C); with the small stem at 1, 1, 2, 4.

    The first convolution, 11x11 of stride 4 without padding, is one of 3x3 in the small stem.

    Raises:
        ValueError: for images too small to leave anything for the last map.
    """
    from blocks import LocalResponseNormalization, PaddedPooling2D, convolution
    from blocks.composites import activation

    smallest = SMALLEST_WITH_SMALL_STEM if small_stem else SMALLEST
    sizes = [size for size in images.shape[1:3] if size is not None]
    if sizes and min(sizes) < smallest:
        raise ValueError(
            f"Images of {min(sizes)} pixels are too small for AlexNet{' with the small stem' if small_stem else ''}: "
            f"give at least {smallest}{'' if small_stem else ', or small_stem=True, which takes 4'}."
        )

    def unit(
        x: Tensor,
        channels: int,
        kernel_size: int,
        name: str,
        groups: int = 1,
        strides: int = 1,
        padding: int | None = None,
    ) -> Tensor:
        """Convolution with bias, and ReLU."""
        name = f"features.{name}.conv"
        x = convolution(x, channels, kernel_size, strides, groups, padding=padding, use_bias=True, name=name)
        return activation(x, "relu")

    def pooled(x: Tensor) -> Tensor:
        """Overlapping pooling, whose last window may reach over the edge: sizes are rounded up."""
        return PaddedPooling2D("max", 3, 2, ((0, 1), (0, 1)), "channels_last")(x)

    groups = config.groups
    if small_stem:
        first = unit(images, CHANNELS[0], 3, "stage1.unit1")
    else:
        first = unit(images, CHANNELS[0], 11, "stage1.unit1", strides=4, padding=0)
    first = LocalResponseNormalization()(first)
    second = unit(first if small_stem else pooled(first), CHANNELS[1], 5, "stage2.unit1", groups)
    second = LocalResponseNormalization()(second)
    x = unit(pooled(second), CHANNELS[2], 3, "stage3.unit1")
    x = unit(x, CHANNELS[3], 3, "stage3.unit2", groups)
    x = unit(x, CHANNELS[4], 3, "stage3.unit3", groups)
    return [first, second, x, pooled(x)]


def head(config: AlexNet, features: Tensor) -> Tensor:
    """Vector (B, 4096) that the classifier sees, from the last feature map.

    Maps of other sizes than 6x6, that is, of images of other sizes, are averaged to 6x6.
    """
    from keras import layers

    from blocks import AdaptiveAveragePooling2D, Dense
    from blocks.composites import flatten

    x = features
    if tuple(x.shape[1:3]) != (MAP, MAP):
        x = AdaptiveAveragePooling2D(MAP)(x)
    x = layers.Permute((3, 1, 2))(x)  # the order in which the reference's dense layer reads it
    x = flatten(x)
    for name in ("output.fc1.fc", "output.fc2.fc"):
        x = Dense(HIDDEN, activation="relu", kernel_initializer="he_normal", name=name)(x)
        x = layers.Dropout(DROPOUT)(x)
    return x
