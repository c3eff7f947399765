"""Files of the format safetensors: a header of names, types and shapes, then the values."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from zoo.weights.checkpoint import MODEL_KEY, SETTINGS, SETTINGS_KEY, Checkpoint, Entry, damaged
from zoo.weights.names import plain_names

DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip


@contextlib.contextmanager
def open_safetensors(path: Path, source: str) -> Iterator[Checkpoint]:
    """The library checks the header. The values are read from the open file, for which it maps the whole file into
    memory: that would count twice while a network fills, and end the process where the file shrinks meanwhile.

    Raises ValueError for a file that is damaged, or two tensors of one name.

    Example:
        >>> import pathlib, tempfile
        >>> from safetensors.numpy import save_file
        >>> from zoo.weights.readers.safetensors import open_safetensors
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.safetensors"
        >>> save_file({"module.fc.bias": np.ones(3, "float32")}, path)
        >>> with open_safetensors(path, "net.safetensors") as checkpoint:
        ...     checkpoint.entries, checkpoint.read("fc.bias")
        ({'fc.bias': Entry(shape=(3,), dtype='float32')}, array([1., 1., 1.], dtype=float32))
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
    ours = MODEL_KEY in metadata  # then no wrapper has written into the names
    places = {name: name for name in header} if ours else plain_names(header, source)
    entries = {
        plain: Entry(tuple(header[name]["shape"]), DTYPES.get(header[name]["dtype"], header[name]["dtype"]))
        for plain, name in places.items()
    }
    with path.open("rb") as file:

        def read(name: str) -> np.ndarray:
            entry = entries[name]
            try:
                file.seek(8 + size + header[places[name]]["data_offsets"][0])
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
        settings = json.loads(metadata.get(SETTINGS_KEY, "{}"))
        if all(name in SETTINGS and isinstance(value, float) for name, value in settings.items()):
            return settings
    except (ValueError, AttributeError, RecursionError):
        pass
    raise damaged(source, f"{SETTINGS_KEY} in it is not one of {', '.join(SETTINGS)} and a number")
