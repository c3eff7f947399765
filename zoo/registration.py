"""Registers the layers of this project with Keras once that is imported: now, or whenever it is.

A saved model that has them can then be loaded, and `import zoo` alone stays as fast as it is without Keras.
"""

import importlib
import importlib.abc
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any

HOMES = ("blocks", "zoo.input_pipeline")  # importing these registers what is in them


def register() -> None:
    """Import the layers if Keras is there; else have that done right after it has been imported."""
    if "keras" in sys.modules:
        _import_layers()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_layers() -> None:
    for home in HOMES:
        importlib.import_module(home)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras as the other finders do, for a loader that imports the layers behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        others = (each for each in sys.meta_path if each is not self and hasattr(each, "find_spec"))
        spec = next((spec for each in others if (spec := each.find_spec(fullname, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads Keras by its own loader, then the layers; the finder is not needed any more then."""

    def __init__(self, loader: importlib.abc.Loader, finder: _AfterKeras) -> None:
        self.loader, self.finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)  # for lookups of Keras's location, without importing it

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        assert module.__spec__ is not None  # Python has just made it of one
        module.__spec__.loader = module.__loader__ = self.loader  # what Keras says of itself stays as it is
        self.loader.exec_module(module)
        if self.finder in sys.meta_path:
            sys.meta_path.remove(self.finder)
        _import_layers()
