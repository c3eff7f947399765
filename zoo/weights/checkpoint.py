"""Weights as they lie in a file: names and shapes first, values one tensor at a time.

A file is never trusted: what it says of itself is checked, and reading it runs no code that it brings along.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import ml_dtypes  # noqa: F401  (numpy knows "bfloat16" by name once this is imported)
import numpy as np

from zoo.registry import variants

SUFFIXES = (".safetensors", ".weights.h5", ".pth", ".pt", ".zip")
MODEL_KEY = "grouped_convolution_zoo.model"  # of the metadata of a .safetensors: the network that it is of
SETTINGS_KEY = "grouped_convolution_zoo.settings"  # the same: how that differs from the network of its name, in JSON
SETTINGS = ("epsilon",)  # what may be said there: attributes of normalisations that no tensor shows
FLOATS = ("float16", "bfloat16", "float32", "float64")
SAFETENSORS_DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip


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
    """

    source: str
    entries: dict[str, Entry]
    read: Callable[[str], np.ndarray]
    of_keras: bool = False
    model: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    def classes(self, classifier: str) -> int | None:
        """The outputs of the dense layer called `classifier`; None where the file does not have it."""
        entry = self.entries.get(f"{classifier}.0" if self.of_keras else f"{classifier}.weight")
        return None if entry is None or len(entry.shape) < 2 else entry.shape[-1 if self.of_keras else 0]


@contextlib.contextmanager
def open_weights(source: str | os.PathLike, model: str | None = None) -> Iterator[Checkpoint]:
    """Open a file by its path, or the published one of a tag such as "timm/resnext50_32x4d.a1h_in1k".

    Args:
        model: the network that the weights are wanted for; None is not known.

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
        with _open(path, str(source)) as checkpoint:
            _check_network(model, checkpoint.model, checkpoint.source)
            yield checkpoint
        return
    from zoo.weights.published import fetch, resolve

    published = resolve(source)
    _check_network(model, published.model, published.tag)
    with _open(fetch(published), published.tag) as checkpoint:
        yield replace(checkpoint, model=published.model, settings=published.settings)


def _check_network(wanted: str | None, found: str | None, source: str) -> None:
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
def _open(path: Path, source: str) -> Iterator[Checkpoint]:
    if not path.is_file():
        raise ValueError(f"There is no file {source!r}" + (": it is a folder." if path.is_dir() else "."))
    name = path.name.lower()
    if name.endswith(".safetensors"):
        opened = _open_safetensors(path, source)
    elif name.endswith(".weights.h5"):
        from zoo.weights.keras_file import open_keras_file

        opened = open_keras_file(path, source)
    elif name.endswith((".pth", ".pt", ".zip")):
        from zoo.weights.torch_file import open_torch_file

        opened = open_torch_file(path, source)
    else:
        raise ValueError(f"{source!r} is of no kind that can be read: its name must end in {', '.join(SUFFIXES)}.")
    with opened as checkpoint:
        yield checkpoint


def counted(name: str) -> bool:
    """Whether `name` is the number of batches that a normalisation of PyTorch has seen."""
    return name.rpartition(".")[2] == "num_batches_tracked"


@contextlib.contextmanager
def _open_safetensors(path: Path, source: str) -> Iterator[Checkpoint]:
    """The library checks the header. The values are read from the open file, for which it maps the whole file into
    memory: that would count twice while a network fills, and end the process where the file shrinks meanwhile.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as checked, path.open("rb") as file:
            metadata = checked.metadata() or {}
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(source, error) from error
    header.pop("__metadata__", None)
    entries = {
        name: Entry(tuple(each["shape"]), SAFETENSORS_DTYPES.get(each["dtype"], each["dtype"]))
        for name, each in header.items()
        if not counted(name)
    }
    with path.open("rb") as file:

        def read(name: str) -> np.ndarray:
            entry = entries[name]
            try:
                file.seek(8 + size + header[name]["data_offsets"][0])
                values = np.fromfile(file, np.dtype(entry.dtype).newbyteorder("<"), math.prod(entry.shape))
            except (OSError, ValueError) as error:
                raise damaged(source, error) from error
            if len(values) != math.prod(entry.shape):
                raise damaged(source, f"it ends in the middle of {name}")
            return values.reshape(entry.shape)

        yield Checkpoint(source, entries, read, model=metadata.get(MODEL_KEY), settings=_settings(metadata, source))


def _settings(metadata: Mapping[str, str], source: str) -> dict[str, float]:
    """The settings that the metadata of a file has. Raises ValueError for what is none."""
    try:
        found = json.loads(metadata.get(SETTINGS_KEY, "{}"))
        if all(name in SETTINGS and isinstance(value, float) for name, value in found.items()):
            return found
    except (ValueError, AttributeError, RecursionError):
        pass
    raise damaged(source, f"{SETTINGS_KEY} in it is not one of {', '.join(SETTINGS)} and a number")
