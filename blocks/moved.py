"""Former module paths, for one version: an import of one warns, and gives the names that lived there."""

import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

MOVED = {  # former path -> the modules that have its names now
    "blocks.alexnet": "blocks.layers.local_response_norm blocks.layers.pooling",
    "blocks.arguments": "blocks.ops.arguments blocks.ops.geometry",
    "blocks.base_convolution": "blocks.layers.grouped_conv",
    "blocks.compose": "blocks.composites",
    "blocks.condensenet": "blocks.families.condensenet blocks.layers.channel_selection",
    "blocks.convnext": "blocks.families.convnext blocks.layers.layer_scale",
    "blocks.convolution": "blocks.layers.grouped_conv blocks.composites",
    "blocks.dotted": "blocks.layers.dotted_names",
    "blocks.dpn": "blocks.families.dpn",
    "blocks.excitation": "blocks.layers.squeeze_excite",
    "blocks.exporting": "blocks.ops.exporting",
    "blocks.formulations": "blocks.ops.implementation",
    "blocks.ghostnet": "blocks.families.ghostnet blocks.layers.resize",
    "blocks.grouped": "blocks.ops.grouped_conv",
    "blocks.igcv3": "blocks.families.igcv3",
    "blocks.initializers": "blocks.layers.initializers",
    "blocks.inputs": "blocks.layers.real_inputs blocks.ops.inputs",
    "blocks.kernels.flops": "blocks.kernels.tensorflow.flops",
    "blocks.kernels.gradients": "blocks.kernels.tensorflow.gradients",
    "blocks.mixnet": "blocks.families.mixnet",
    "blocks.mobilenet": "blocks.families.mobilenet",
    "blocks.mobilenet_v4": "blocks.families.mobilenet_v4",
    "blocks.names": "blocks.layers.dotted_names",
    "blocks.normalization": "blocks.layers.batch_norm blocks.ops.activations blocks.composites",
    "blocks.pooling": "blocks.layers.pooling",
    "blocks.regnet": "blocks.families.regnet",
    "blocks.reparameterized": "blocks.families.reparameterized",
    "blocks.res2net": "blocks.families.res2net",
    "blocks.resnest": "blocks.families.resnest",
    "blocks.resnet": "blocks.families.resnet",
    "blocks.resnext": "blocks.families.resnext",
    "blocks.selective_kernel": "blocks.families.selective_kernel",
    "blocks.separable": "blocks.layers.separable_conv",
    "blocks.shuffle": "blocks.layers.channel_shuffle",
    "blocks.shufflenet": "blocks.families.shufflenet",
    "blocks.tensorflow_formulations": "blocks.ops.tensorflow.conv2d blocks.ops.tensorflow.epilogue",
    "blocks.tensorflow_ops": (
        "blocks.ops.tensorflow.runtime blocks.ops.tensorflow.conv2d "
        "blocks.ops.tensorflow.batch_norm blocks.ops.tensorflow.channel_shuffle blocks.ops.tensorflow.gates "
        "blocks.ops.tensorflow.guards"
    ),
    "blocks.tensorflow_pooling": "blocks.ops.tensorflow.pooling",
    "blocks.tensorflow_resizing": "blocks.ops.tensorflow.resize",
    "blocks.tensorflow_volumes": "blocks.ops.tensorflow.conv3d",
    "blocks.uneven": "blocks.ops.group_sizes",
    "blocks.xception": "blocks.families.xception",
}


class MovedModule(types.ModuleType):
    """A former module, whose names are looked up in those that have them now."""

    def __init__(self, name: str, homes: list[str]) -> None:
        super().__init__(name)
        self.homes = homes

    def __getattr__(self, name: str) -> Any:
        for home in [] if name.startswith("__") else self.homes:  # Python asks for __path__ and the like
            if hasattr(module := importlib.import_module(home), name):
                return getattr(module, name)
        raise AttributeError(f"{self.__name__} has no {name!r}, and neither has {' or '.join(self.homes)}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Of a path that is a function of `blocks` as well, such as `blocks.convolution`: once the path is imported,
        Python puts this module in its place.
        """
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Loader(Loader):
    def __init__(self, homes: list[str]) -> None:
        self.homes = homes

    def create_module(self, spec: ModuleSpec) -> MovedModule:
        return MovedModule(spec.name, self.homes)

    def exec_module(self, module: types.ModuleType) -> None:
        message = f"{module.__name__} has moved to {' and '.join(self.homes)}; this path works in this version only."
        warnings.warn(message, DeprecationWarning, stacklevel=2)


def spec_of(path: str, homes: str) -> ModuleSpec | None:
    """How a former module is imported; `homes` are the paths of those that have its names now, divided by spaces."""
    return importlib.util.spec_from_loader(path, _Loader(homes.split()))


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_of(fullname, MOVED[fullname]) if fullname in MOVED else None


def install() -> None:
    """Let the former paths be imported; Python asks here last, where no other finder knows a module."""
    sys.meta_path.append(_Finder())
