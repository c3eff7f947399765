"""Weights as they lie in a file: names and shapes first, values one tensor at a time.

A file is never trusted: what it says of itself is checked, and reading it runs no code that it brings along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes  # noqa: F401  (numpy knows "bfloat16" by name once this is imported)
import numpy as np

from zoo.registry import variants

MODEL_KEY = "grouped_convolution_zoo.model"  # of the metadata of a .safetensors: the network that it is of
SETTINGS_KEY = "grouped_convolution_zoo.settings"  # the same: how that differs from the network of its name, in JSON
SETTINGS = ("epsilon",)  # what may be said there: attributes of normalisations that no tensor shows
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Entry:
    """What a file says of one tensor; `dtype` by numpy's name.

    Example:
        >>> from zoo.weights.checkpoint import Entry
        >>> Entry((64, 3, 7, 7), "bfloat16").is_float, Entry((), "uint8").is_integer
        (True, True)
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_integer(self) -> bool:
        return self.dtype.removeprefix("u").startswith("int")

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS


@dataclass(frozen=True)
class Checkpoint:
    """An open file of weights.

    source: how messages call it.
    entries: its tensors by name, `num_batches_tracked` left out: PyTorch counts batches there, Keras does not.
    read: the values of a tensor, in the type of the file.
    of_keras: whether it is a file of Keras, with its names and layouts, and not one of PyTorch.
    model: the network that it says it is of.
    settings: fields of that network's configuration that it was trained with, where they are not the usual ones.
    layers: the configuration of each layer by its name, of a model that was saved whole.
    data_config: how it sees pictures, as `DataConfig.to_json` has it, of a checkpoint of a training.

    Example:
        >>> from zoo.weights.checkpoint import Checkpoint, Entry
        >>> tensors = {"fc.weight": np.zeros((10, 512), "float32")}
        >>> checkpoint = Checkpoint("net.pth", {"fc.weight": Entry((10, 512), "float32")}, tensors.get)
        >>> checkpoint.classes("fc"), checkpoint.read("fc.weight").shape
        (10, (10, 512))
    """

    source: str
    entries: dict[str, Entry]
    read: Callable[[str], np.ndarray]
    of_keras: bool = False
    model: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data_config: str | None = None

    @property
    def image_shape(self) -> tuple[int | None, int | None, int] | None:
        """(height, width, channels) of the images that the saved model takes; None where the file does not say it."""
        shapes = [layer["batch_shape"] for layer in self.layers.values() if isinstance(layer.get("batch_shape"), list)]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            return None
        sizes, channels = shapes[0][1:3], shapes[0][3]
        known = all(size is None or (type(size) is int and size > 0) for size in sizes)
        return (*sizes, channels) if known and type(channels) is int and channels > 0 else None

    def classes(self, classifier: str) -> int | None:
        """The outputs of the dense layer called `classifier`; None where the file does not have it."""
        entry = self.entries.get(f"{classifier}.0" if self.of_keras else f"{classifier}.weight")
        return None if entry is None or len(entry.shape) < 2 else entry.shape[-1 if self.of_keras else 0]


def creation(model: str | None, source: str) -> str:
    """The end of a sentence that says how these weights are used, where they are of a network of the zoo.

    Example:
        >>> from zoo.weights.checkpoint import creation
        >>> creation("dpn68", "dpn.pth")
        ": use zoo.create('dpn68', weights='dpn.pth')"
        >>> creation("my_network", "mine.pth")
        ''
    """
    return f": use zoo.create({model!r}, weights={source!r})" if model in variants() else ""


def damaged(source: str, why: object) -> ValueError:
    """The error for a file that cannot be read, in one sentence.

    Example:
        >>> from zoo.weights.checkpoint import damaged
        >>> print(damaged("net.pth", "it ends after 12 bytes"))
        net.pth cannot be read as a file of weights: it ends after 12 bytes.
    """
    lines = str(why).strip().splitlines() or [repr(why)]
    return ValueError(f"{source} cannot be read as a file of weights: {lines[0].rstrip('.')}.")
