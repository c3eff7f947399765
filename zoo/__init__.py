"""Grouped-convolution networks for Keras: `create`, `fuse`, `list_models`, `profile`.

Importing this package does not import Keras: the functions do when they are first used.
"""

import sys
from typing import TYPE_CHECKING

from zoo.registry import list_models

if TYPE_CHECKING:
    from zoo.complexity import profile
    from zoo.factory import create
    from zoo.folding import fuse

__all__ = ["create", "fuse", "list_models", "profile"]

if "keras" in sys.modules:
    # Someone who works with Keras may load a saved model next, and that needs the layers to be registered.
    import blocks  # noqa: F401


def __getattr__(name: str):
    if name == "create":
        from zoo.factory import create as value
    elif name == "fuse":
        from zoo.folding import fuse as value
    elif name == "profile":
        from zoo.complexity import profile as value
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    globals()[name] = value
    return value
