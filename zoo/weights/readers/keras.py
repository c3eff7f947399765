"""Files of Keras: `.keras` of `model.save`, and `.weights.h5` of `model.save_weights`, which lies in that too.

They are read here and not by `load_weights`, which leaves a network half filled where a file does not fit it.
"""

import contextlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from zoo.registry import named
from zoo.weights.checkpoint import Checkpoint, Entry, damaged
from zoo.weights.readers.archive import ARCHIVE_ERRORS, check_size, unpacked

# What such a file may hold beside weights: the state of a training run, and of the random numbers of dropout.
OTHER_STATE = ("optimizer", "seed_generator", "loss", "metrics", "_loss_tracker", "_compile_metrics", "_metrics")
MODEL_CONFIG = "config.json"
MODEL_WEIGHTS = "model.weights.h5"


@contextlib.contextmanager
def open_keras_model(path: Path, source: str) -> Iterator[Checkpoint]:
    """The weights in a `.keras`; of the model's configuration what it says of itself is read, and no object is made.

    Raises ValueError for a file that is damaged or has none, and for a quantised model.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.weights.readers.keras import open_keras_model
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.keras"
        >>> images = keras.Input((8, 8, 4))
        >>> keras.Model(images, blocks.convolution(images, 8, 3, name="conv")).save(path)
        >>> with open_keras_model(path, "net.keras") as checkpoint:
        ...     checkpoint.image_shape, checkpoint.entries["conv.0"].shape
        ((8, 8, 4), (3, 3, 4, 8))
    """
    check_size(path, source)
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read(MODEL_CONFIG))
        modes = sorted(set(_quantizations(saved)))
        name, settings, layers = saved_model(saved)
    except (*ARCHIVE_ERRORS, KeyError, TypeError, RecursionError) as error:
        why = f"{MODEL_CONFIG} in it does not describe a model" if isinstance(error, (KeyError, TypeError)) else error
        raise damaged(source, why) from error
    if modes:
        raise ValueError(
            f"{source} is a model quantised to {', '.join(modes)}, whose weights fit no network that is not: "
            "read it with keras.models.load_model, or give weights that were saved before model.quantize."
        )
    with unpacked(path, source, _weights_member, MODEL_WEIGHTS) as inner, open_keras_file(inner, source) as checkpoint:
        yield replace(checkpoint, model=name, settings=settings, layers=layers)


def saved_model(saved: Any) -> tuple[str | None, dict[str, float], dict[str, dict[str, Any]]]:
    """What Keras's description of a model says: the network of the zoo that it is, settings of it, and its layers.

    Raises KeyError, TypeError or ValueError for what describes no model.

    Example:
        >>> from zoo.weights.readers.keras import saved_model
        >>> saved = keras.saving.serialize_keras_object(zoo.create("lcnet_035", 10, (32, 32, 3)))
        >>> saved_model(saved)[:2]
        ('lcnet_035', {'epsilon': 1e-05})
    """
    config = saved["config"] if saved["class_name"] == "Functional" else {"name": None, "layers": []}
    layers = {str(layer["config"]["name"]): dict(layer["config"]) for layer in config["layers"]}
    name = str(config["name"])
    epsilons = {float(each["epsilon"]) for each in layers.values() if "moving_mean_initializer" in each}
    if named(name) is None:
        return None, {}, layers
    return name, {"epsilon": epsilons.pop()} if len(epsilons) == 1 else {}, layers


def _quantizations(config: Any) -> Iterator[str]:
    """How layers are quantised: the mode of every type policy that has one, as "int8", in the JSON of a model."""
    if isinstance(config, dict):
        settings = config.get("config")
        if config.get("module") == "keras.dtype_policies" and isinstance(settings, dict) and "mode" in settings:
            yield str(settings["mode"]).partition("/")[0]  # of "int4/128": without the size of a block
    for each in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _quantizations(each)


def _weights_member(members: list[str]) -> str:
    if MODEL_WEIGHTS not in members:
        raise ValueError(f"it has no {MODEL_WEIGHTS}")
    return MODEL_WEIGHTS


@contextlib.contextmanager
def open_keras_file(path: Path, source: str) -> Iterator[Checkpoint]:
    """The weights in a `.weights.h5`. Raises ValueError for a file that is damaged, or that refers to other files.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.weights.readers.keras import open_keras_file
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.weights.h5"
        >>> images = keras.Input((8, 8, 4))
        >>> keras.Model(images, blocks.convolution(images, 8, 3, name="conv")).save_weights(path)
        >>> with open_keras_file(path, "net.weights.h5") as checkpoint:
        ...     checkpoint.read("conv.0").shape
        (3, 3, 4, 8)
    """
    import h5py

    try:
        file = h5py.File(path, mode="r")
    except OSError as error:
        raise damaged(source, error) from error
    with file:
        try:
            datasets = dict(_weights(file, h5py))
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise damaged(source, error) from error

        def read(name: str) -> np.ndarray:
            try:
                values = datasets[name][()]
            except (OSError, RuntimeError, MemoryError) as error:
                raise damaged(source, error) from error
            return values.view(ml_dtypes.bfloat16) if values.dtype.kind == "V" else values

        entries = {name: Entry(dataset.shape, _dtype(dataset)) for name, dataset in datasets.items()}
        yield Checkpoint(source, entries, read, of_keras=True)


def _weights(group: Any, h5py: Any) -> Iterator[tuple[Any, ...]]:
    """Name, as `zoo.weights.layout.keras_slots` has it, and dataset of every weight below `group`."""
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{key} lies in another file or place")
        if key in OTHER_STATE:
            continue
        child = group[key]
        if isinstance(child, h5py.Group):
            yield from _weights(child, h5py)
        elif child.external or child.is_virtual:
            raise ValueError(f"{child.name} lies in another file")
        elif "name" not in group.attrs:
            raise ValueError(f"{child.name} is of a layer without a name; Keras writes names since version 3.4")
        else:
            yield f"{group.attrs['name']}.{key}", child


def _dtype(dataset: Any) -> str:
    return "bfloat16" if dataset.attrs.get("dtype") == "bfloat16" else dataset.dtype.name
