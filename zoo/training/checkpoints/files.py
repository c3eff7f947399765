"""One checkpoint as one file: safetensors, written a tensor at a time, and replaced as a whole.

The library's own writer takes all tensors as bytes at once, which would hold weights and optimizer twice in memory.
"""

import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.training.files import replacing
from zoo.weights.readers.safetensors import DTYPES
from zoo.weights.readers.training import CHECKSUM, FORMAT, NO_CHECKSUM

CODES = {name: code for code, name in DTYPES.items()}


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, tuple[tuple[int, ...], str]],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, Any],
) -> None:
    """Write a file that replaces `path` once it is whole and on disk.

    Args:
        tensors: name -> shape and dtype.
        read: gives the values of a tensor, when they are written.
        metadata: anything that JSON can hold.

    Raises:
        RecordError: the file cannot be written; one that was there is as it was.
    """
    header: dict[str, Any] = {}
    header["__metadata__"] = {"crc32": NO_CHECKSUM, "format": FORMAT}
    header["__metadata__"] |= {key: json.dumps(value) for key, value in metadata.items()}
    offset = 0
    for name, (shape, dtype) in tensors.items():
        end = offset + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # values begin at a multiple of their size
    with replacing(path) as part, part.open("wb") as file:
        prefix = len(text).to_bytes(8, "little") + text
        file.write(prefix)
        checksum = zlib.crc32(prefix)
        for name in tensors:
            values = np.ascontiguousarray(read(name)).reshape(-1).view(np.uint8).data
            file.write(values)
            checksum = zlib.crc32(values, checksum)
        file.seek(8 + CHECKSUM.start)
        file.write(f"{checksum:08x}".encode())
