"""Which networks of the other libraries a network of the zoo is compared with. Imports no framework."""

from collections.abc import Mapping

DEFAULT = (
    "resnext50_32x4d",
    "shufflenet_g3_w1",
    "shufflenet_v2_x1_0",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "regnety_008",
)

# keras.applications: the class, and the arguments that make it the same network on images normalised beforehand.
APPLICATIONS: Mapping[str, tuple[str, Mapping]] = {
    "mobilenetv1_100": ("MobileNet", {"dropout": 0.0}),
    "mobilenetv2_100": ("MobileNetV2", {}),
    "mobilenetv3_large_100": ("MobileNetV3Large", {"include_preprocessing": False, "dropout_rate": 0.0}),
    "mobilenetv3_small_100": ("MobileNetV3Small", {"include_preprocessing": False, "dropout_rate": 0.0}),
    "convnext_tiny": ("ConvNeXtTiny", {"include_preprocessing": False}),
}


# Published in a paper, or of a width or a number of groups that lies between published ones, but in no library.
WITHOUT_REFERENCE = (
    "alexnet",
    "mobilenetv1_025",
    "mobilenetv1_050",
    "mobilenetv1_075",
    "resnext50_32x8d",
    "resnext50_64x4d",
    *(f"shufflenet_g{groups}_{width}" for groups in (2, 4, 8) for width in ("w3d4", "wd2", "wd4")),
)


SMALL_IMAGES = ("_cifar10", "_cifar100", "_svhn")  # data sets of 32 x 32 pixels: ends of names


def smallest_of_families() -> list[str]:
    """Of each family the network for ImageNet with the fewest multiply-accumulates that PyTorch has too, in the
    families' order.
    """
    from zoo.costs import costs
    from zoo.registry import FAMILIES, family

    known = [
        [name for name in family(each).VARIANTS if torch_network(name) and not name.endswith(SMALL_IMAGES)]
        for each in FAMILIES
    ]
    return [min(names, key=lambda name: costs(name).macs) for names in known if names]


def torch_network(model: str) -> tuple[str, str] | None:
    """The library and the name of the network in PyTorch: the zoo's names are the references' own. None has none."""
    if model in WITHOUT_REFERENCE:
        return None
    if model == "alexnet_g1":
        return "pytorchcv", "alexnet"
    if model.startswith("shufflenet_v2"):
        return "torchvision", model
    if model.startswith(("shufflenet_g", "condensenet", "igcv3")) or model.endswith(SMALL_IMAGES):
        return "pytorchcv", model
    return "timm", model
