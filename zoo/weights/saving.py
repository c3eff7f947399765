"""The weights of a network as a file that PyTorch's libraries load."""

import json
import os
import tempfile
from pathlib import Path

import keras
import numpy as np

from zoo.registry import family_key, family_of, named
from zoo.weights.checkpoint import MODEL_KEY, SETTINGS, SETTINGS_KEY
from zoo.weights.layout import names_of, setting, slots

# Families whose reference ends in a 1x1 convolution, which is a dense layer here.
CONVOLUTIONAL_CLASSIFIERS = ("dpn",)


def save_torch(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write the weights of `model` as `.safetensors`, with the names and layouts that its reference has.

    `timm.create_model(name, checkpoint_path=path)` loads the file, and so does `zoo.create(name, weights=path)`.
    An existing file is replaced once the new one is complete. The zoo finds in it of which network it is, and a
    setting of its normalisations that the network of that name does not have. Kernels that LoRA adapts are written
    merged, as `model.save` writes them.

    Raises:
        ValueError: `path` does not end in .safetensors, or a weight has no counterpart in PyTorch, as quantised ones
            have none.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/lcnet.safetensors"
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> zoo.save_torch(model, path)
        >>> zoo.create(weights=path, input_shape=(32, 32, 3)).output.shape
        (None, 10)
    """
    from safetensors.numpy import save_file

    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"{str(path)!r} must end in .safetensors, the format that is written.")
    convolutional = _convolutional_classifier(model.name)
    slots_by_name = slots(model)
    tensors = {name: _plain(slot.to_torch()) for name, slot in slots_by_name.items()}
    for name in names_of(convolutional, tensors) if convolutional else ():
        if tensors[name].ndim == 2:
            tensors[name] = tensors[name][:, :, None, None]
    metadata = {"format": "pt", MODEL_KEY: model.name}
    if settings := _unusual_settings(model):
        metadata[SETTINGS_KEY] = json.dumps(settings)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        complete = Path(folder) / target.name
        save_file(tensors, complete, metadata=metadata)
        os.replace(complete, target)


def _plain(values: np.ndarray) -> np.ndarray:
    """float32, or the 64-bit integers of PyTorch's indices."""
    return values.astype("int64" if values.dtype.kind in "iu" else "float32", copy=False)


def _unusual_settings(model: keras.Model) -> dict[str, float]:
    """The settings of `model` that the network of its name has otherwise."""
    config = named(model.name)
    values_by_setting = {name: setting(model, name) for name in SETTINGS if hasattr(config, name)}
    return {
        name: float(*values)
        for name, values in values_by_setting.items()
        if len(values) == 1 and getattr(config, name) not in values
    }


def _convolutional_classifier(name: str) -> str | None:
    """The name of the last layer where the reference of this network has a 1x1 convolution there."""
    config = named(name)
    if config is None or family_key(config) not in CONVOLUTIONAL_CLASSIFIERS:
        return None
    return family_of(config).CLASSIFIER
