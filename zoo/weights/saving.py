"""The weights of a network as a file that PyTorch's libraries load."""

import os
import tempfile
from pathlib import Path

import keras
import numpy as np

from zoo.registry import family
from zoo.weights.checkpoint import MODEL_KEY
from zoo.weights.layout import names_of, slots

# Families whose reference ends in a 1x1 convolution, which is a dense layer here.
CONVOLUTIONAL_CLASSIFIERS = ("dpn",)


def save_torch(model: keras.Model, path: str | os.PathLike) -> None:
    """Write the weights of `model` as `.safetensors`, with the names and layouts that its reference has.

    `timm.create_model(name, checkpoint_path=path)` loads the file, and so does `zoo.create(name, weights=path)`.
    An existing file is replaced once the new one is complete.

    Raises:
        ValueError: `path` does not end in .safetensors, or a weight has no counterpart in PyTorch.
    """
    from safetensors.numpy import save_file

    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"{str(path)!r} must end in .safetensors, the format that is written.")
    convolutional = _convolutional_classifier(model.name)
    found = slots(model)
    tensors = {name: _plain(slot.to_torch()) for name, slot in found.items()}
    for name in names_of(convolutional, tensors) if convolutional else ():
        if tensors[name].ndim == 2:
            tensors[name] = tensors[name][:, :, None, None]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        complete = Path(folder) / target.name
        save_file(tensors, complete, metadata={"format": "pt", MODEL_KEY: model.name})
        os.replace(complete, target)


def _plain(values: np.ndarray) -> np.ndarray:
    """float32, or the 64-bit integers of PyTorch's indices."""
    return values.astype("int64" if values.dtype.kind in "iu" else "float32", copy=False)


def _convolutional_classifier(name: str) -> str | None:
    """The name of the last layer where the reference of this network has a 1x1 convolution there."""
    modules = map(family, CONVOLUTIONAL_CLASSIFIERS)
    return next((module.CLASSIFIER for module in modules if name in module.VARIANTS), None)
