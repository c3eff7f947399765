"""Fixtures of the reference implementations, and the weights that they were computed with.

A fixture holds the names and shapes of a reference's checkpoint, its complexity, and the logits (in float64) of two
fixed images under weights that follow from each tensor's name alone. Made with timm 1.0.31, torchvision 0.28 and
pytorchcv 0.0.74.
"""

import gzip
import json
import zlib
from pathlib import Path

import keras
import numpy as np

import blocks

FOLDER = Path(__file__).parent / "goldens"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


def fixture(name: str) -> dict:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def tensor(name: str, shape, gain: float) -> np.ndarray:
    """The weights that the fixtures were made with, in the reference's layout."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        value = 0.6 + 0.2 * np.abs(noise)
    elif len(shape) >= 2:
        value = noise * gain * np.sqrt(2.0 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        value = 1.0 + 0.1 * noise
    else:
        value = 0.02 * noise
    return value.astype("float32")


def images(size: int) -> np.ndarray:
    """The two images that the fixtures were made with: (2, size, size, 3)."""
    draw = np.random.RandomState(0)
    coarse = draw.standard_normal((2, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (coarse + 0.5 * draw.standard_normal((2, size, size, 3))).astype("float32")


def checkpoint_names(model: keras.Model) -> dict[str, tuple[keras.Variable, tuple[int, ...]]]:
    """Every variable by its name in the reference's checkpoint, with the axes that turn that layout into Keras's."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, blocks.GroupedConv2D):
            found[f"{layer.name}.weight"] = layer.kernel, (2, 3, 1, 0)
        elif isinstance(layer, keras.layers.Dense):
            found[f"{layer.name}.weight"] = layer.kernel, (1, 0)
        elif isinstance(layer, keras.layers.BatchNormalization):
            pairs = zip(("weight", "bias", "running_mean", "running_var"), layer.weights, strict=True)
            found |= {f"{layer.name}.{key}": (weight, (0,)) for key, weight in pairs}
        else:
            assert not layer.weights, f"{layer.name} holds weights that no rule maps"
        if getattr(layer, "bias", None) is not None:
            found[f"{layer.name}.bias"] = layer.bias, (0,)
    return found
