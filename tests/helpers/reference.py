"""Fixtures of the reference implementations, and the weights that they were computed with.

A fixture holds the names and shapes of a reference's checkpoint, its complexity, and the logits (in float64) of two
fixed images under weights that follow from each tensor's name alone. Made with timm 1.0.31, torchvision 0.28 and
pytorchcv 0.0.74.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from helpers.paths import GOLDENS

NAMES = sorted(path.name.removesuffix(".json.gz") for path in GOLDENS.glob("*.json.gz"))
COUNTS = json.loads((GOLDENS / "counts.json").read_text())  # parameters and more of every network


def fixture(name: str) -> dict:
    return json.loads(gzip.decompress((GOLDENS / f"{name}.json.gz").read_bytes()))


def tensor(name: str, shape, gain: float) -> np.ndarray:
    """The weights that the fixtures were made with, in the reference's layout."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith(".index"):  # CondenseNet's learned permutation of channels
        return draw.permutation(shape[0])
    noise = draw.standard_normal(shape)
    if name.endswith("running_var"):
        value = 0.6 + 0.2 * np.abs(noise)
    elif len(shape) >= 2:
        value = noise * gain * np.sqrt(2.0 / np.prod(shape[1:]))
    elif name.endswith(("weight", "gamma")):
        value = 1.0 + 0.1 * noise
    else:
        value = 0.02 * noise
    return value.astype("float32")


def images(size: int) -> np.ndarray:
    """The two images that the fixtures were made with: (2, size, size, 3)."""
    draw = np.random.RandomState(0)
    coarse = draw.standard_normal((2, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (coarse + 0.5 * draw.standard_normal((2, size, size, 3))).astype("float32")


def write_checkpoint(path: Path, state_dict: list, gain: float = 1.0) -> Path:
    """A `.safetensors` file with those weights, of the names and shapes of `state_dict`."""
    save_file({name: tensor(name, shape, gain) for name, shape in state_dict}, path, metadata={"format": "pt"})
    return path
