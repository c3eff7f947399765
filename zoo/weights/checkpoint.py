"""Weights as they lie in a file: names and shapes first, values one tensor at a time.

A file is never trusted: what it says of itself is checked, and reading it runs no code that it brings along.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import ml_dtypes  # noqa: F401  (numpy knows "bfloat16" by name once this is imported)
import numpy as np

from zoo.registry import variants

TORCH_SUFFIXES = (".pth", ".pt", ".zip", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", ".weights.h5", *TORCH_SUFFIXES, ".keras")
RUN_MODEL = "model.keras"  # in the folder of a run of train.py
MODEL_KEY = "grouped_convolution_zoo.model"  # of the metadata of a .safetensors: the network that it is of
SETTINGS_KEY = "grouped_convolution_zoo.settings"  # the same: how that differs from the network of its name, in JSON
SETTINGS = ("epsilon",)  # what may be said there: attributes of normalisations that no tensor shows
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Entry:
    """What a file says of one tensor; `dtype` by numpy's name."""

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
    """

    source: str
    entries: dict[str, Entry]
    read: Callable[[str], np.ndarray]
    of_keras: bool = False
    model: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Mapping] = field(default_factory=dict)

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


@contextlib.contextmanager
def open_weights(source: str | os.PathLike, model: str | None = None, *, use_ema: bool = True) -> Iterator[Checkpoint]:
    """Open a file by its path, the model of a run by its folder, or what is published under a tag such as
    "timm/resnext50_32x4d.a1h_in1k".

    Args:
        model: the network that the weights are wanted for; None is not known.
        use_ema: whether to take the running average of the weights, where a checkpoint of PyTorch has both.

    Raises:
        ValueError: the file is not one of weights, or is damaged, or is known to be of another network; an unknown
            tag, or one of another network, of which nothing is fetched.
        TypeError: `source` is neither a path nor a tag.
        ImportError: the file needs a package that is not installed.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"weights={source!r} is neither the path of a file nor a tag: give one of them, as a string.")
    path = Path(source)
    if not isinstance(source, str) or path.exists() or source.lower().endswith(SUFFIXES):
        with _open(path, str(source), use_ema) as checkpoint:
            check_network(model, checkpoint.model, checkpoint.source)
            yield checkpoint
        return
    from zoo.weights.published import fetch, resolve

    published = resolve(source)
    check_network(model, published.model, published.tag)
    with _open(fetch(published), published.tag, use_ema) as checkpoint:
        yield replace(checkpoint, model=published.model, settings=published.settings)


def check_network(wanted: str | None, found: str | None, source: str) -> None:
    """Raise ValueError where the weights are of another network: shapes do not tell all of them apart."""
    if wanted is not None and found not in (None, wanted):
        raise ValueError(f"{source} has weights of {found}, and {wanted} is wanted{creation(found, source)}.")


def creation(model: str | None, source: str) -> str:
    """The end of a sentence that says how these weights are used, where they are of a network of the zoo."""
    return f": use zoo.create({model!r}, weights={source!r})" if model in variants() else ""


def damaged(source: str, why: object) -> ValueError:
    """The error for a file that cannot be read, in one sentence."""
    lines = str(why).strip().splitlines() or [repr(why)]
    return ValueError(f"{source} cannot be read as a file of weights: {lines[0].rstrip('.')}.")


@contextlib.contextmanager
def _open(path: Path, source: str, use_ema: bool) -> Iterator[Checkpoint]:
    if (path / RUN_MODEL).is_file():
        path = path / RUN_MODEL
    if not path.is_file():
        why = f": it is a folder, and has no {RUN_MODEL}." if path.is_dir() else "."
        raise ValueError(f"There is no file {source!r}{why}")
    name = path.name.lower()
    if name.endswith(".safetensors"):
        from zoo.weights.readers.safetensors import open_safetensors

        opened = open_safetensors(path, source)
    elif name.endswith(".weights.h5"):
        from zoo.weights.readers.keras import open_keras_file

        opened = open_keras_file(path, source)
    elif name.endswith(".keras"):
        from zoo.weights.readers.keras import open_keras_model

        opened = open_keras_model(path, source)
    elif name.endswith(TORCH_SUFFIXES):
        from zoo.weights.readers.torch import open_torch_file

        opened = open_torch_file(path, source, use_ema)
    else:
        raise ValueError(f"{source!r} is of no kind that can be read: its name must end in {', '.join(SUFFIXES)}.")
    with opened as checkpoint:
        yield checkpoint
