"""Grouped-convolution networks for Keras, with the weights that are published for them.

Importing this package does not import Keras: the functions do when they are first used.

The examples of all docstrings can be pasted into a Python prompt after `import numpy as np`, `import keras`,
`import blocks` and `import zoo`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo import moved
from zoo.registration import register
from zoo.registry import list_models

if TYPE_CHECKING:
    from zoo.backbone import FeatureInfo, feature_info, freeze, unfreeze
    from zoo.complexity import profile
    from zoo.exporting import export
    from zoo.factory import create
    from zoo.folding import fuse
    from zoo.information import info
    from zoo.input_pipeline import preprocessing
    from zoo.weights.loading import load_weights
    from zoo.weights.saving import save_torch

__all__ = [
    "FeatureInfo",
    "create",
    "export",
    "feature_info",
    "freeze",
    "fuse",
    "info",
    "list_models",
    "load_weights",
    "preprocessing",
    "profile",
    "save_torch",
    "unfreeze",
]

HOMES = {
    "FeatureInfo": "zoo.backbone",
    "create": "zoo.factory",
    "export": "zoo.exporting",
    "feature_info": "zoo.backbone",
    "freeze": "zoo.backbone",
    "fuse": "zoo.folding",
    "info": "zoo.information",
    "load_weights": "zoo.weights.loading",
    "preprocessing": "zoo.input_pipeline",
    "profile": "zoo.complexity",
    "save_torch": "zoo.weights.saving",
    "unfreeze": "zoo.backbone",
}

register()  # someone who works with Keras may load a saved model next
moved.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":  # of the installed distribution; a copy that is not installed has none
        from zoo.environment import own_version

        return own_version() or "0+unknown"
    if name not in HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value
