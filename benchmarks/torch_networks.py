"""The networks of timm, torchvision and pytorchcv that those of the zoo are compared with."""

import importlib.util
from pathlib import Path

import torch
from networks import torch_network

CLASSES = 1000
OPERATORS = (  # of torchvision's compiled part; none is used here
    "nms",
    "qnms",
    "roi_align",
    "_roi_align_backward",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "roi_pool",
    "_roi_pool_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "qroi_align",
    "deform_conv2d",
    "_deform_conv2d_backward",
)
_declared: list[torch.library.Library] = []  # a library's operators vanish with it


def create(model: str) -> torch.nn.Module:
    """The counterpart of a network of the zoo, with random weights and 1000 logits.

    Raises ValueError for a network without a counterpart, ImportError where its library is not installed, and what the
    library raises for an unknown name.
    """
    reference = torch_network(model)
    if reference is None:
        raise ValueError(f"{model} has no counterpart in timm, torchvision or pytorchcv.")
    library, name = reference
    make_torchvision_importable()  # timm and pytorchcv import it too
    if library == "pytorchcv":
        from pytorchcv.model_provider import get_model

        network = get_model(name)
        if isinstance(getattr(network.features, "final_pool", None), torch.nn.AvgPool2d):
            network.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)  # its window fits 224 x 224 pixels alone
        return network
    if library == "torchvision":
        import torchvision

        return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    import timm

    return timm.create_model(name, num_classes=CLASSES)


def make_torchvision_importable() -> None:
    """Declare torchvision's operators where its compiled part does not load beside this torch.

    Its import describes each operator, and stops where one is unknown: so it is with the wheel of PyPI, which is
    built for CUDA, beside a torch for the CPU.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _declared:
        return
    for library in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return
    _declared.append(torch.library.Library("torchvision", "FRAGMENT"))
    for operator in OPERATORS:
        _declared[0].define(operator + "(Tensor a) -> Tensor")
