"""One checkpoint as one file: safetensors, written a tensor at a time, and replaced as a whole.

The library's own writer takes all tensors as bytes at once, which would hold weights and optimizer twice in memory; and
the training waits for it, so that two threads share the work.
"""

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zoo.training.files import replacing
from zoo.weights.readers.safetensors import DTYPES
from zoo.weights.readers.training import CHECKSUM, FORMAT, NO_CHECKSUM, TENSOR_CHECKSUMS

FIRST_CHECKSUMS = f'"{TENSOR_CHECKSUMS}":"'.encode()
CODES = {name: code for code, name in DTYPES.items()}
THREADS = 2  # more do not copy faster
LARGE = 1 << 18  # entries of a tensor
SYNCED = 32 << 20  # bytes of a thread after which they go to disk, while the other thread goes on


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, tuple[tuple[int, ...], str]],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, Any],
) -> None:
    """Write a file that replaces `path` once it is whole and on disk.

    Args:
        tensors: name -> shape and dtype.
        read: gives the values of a tensor, when they are written; it is called in several threads.
        metadata: anything that JSON can hold.

    Raises:
        RecordError: the file cannot be written; one that was there is as it was.
    """
    header: dict[str, Any] = {}
    header["__metadata__"] = {"crc32": NO_CHECKSUM, TENSOR_CHECKSUMS: NO_CHECKSUM * len(tensors), "format": FORMAT}
    header["__metadata__"] |= {key: json.dumps(value) for key, value in metadata.items()}
    offsets, offset = {}, 0
    for name, (shape, dtype) in tensors.items():
        end = offset + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offsets[name], offset = offset, end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # values begin at a multiple of their size
    with replacing(path) as part, part.open("wb", buffering=0) as file:
        places = {name: 8 + len(text) + begin for name, begin in offsets.items()}
        unsynced: list[int] = []  # bytes of the tensors that were written since the last went to disk

        def write(name: str) -> str:
            values = np.ascontiguousarray(read(name)).reshape(-1).view(np.uint8).data
            _write(file.fileno(), values, places[name])
            unsynced.append(len(values))
            if sum(unsynced) >= SYNCED:
                unsynced.clear()
                os.fsync(file.fileno())
            return f"{zlib.crc32(values):08x}"

        large = [name for name, (shape, _) in tensors.items() if math.prod(shape) >= LARGE]
        with ThreadPoolExecutor(THREADS) as threads:
            checksums = dict(zip(large, threads.map(write, large), strict=True))
        # Of small ones there are hundreds, and handing one to a thread takes longer than writing it.
        checksums |= {name: write(name) for name in tensors if name not in checksums}
        prefix = bytearray(len(text).to_bytes(8, "little") + text)
        first = prefix.index(FIRST_CHECKSUMS) + len(FIRST_CHECKSUMS)
        prefix[first : first + len(NO_CHECKSUM) * len(tensors)] = "".join(checksums[name] for name in tensors).encode()
        prefix[8 + CHECKSUM.start : 8 + CHECKSUM.stop] = f"{zlib.crc32(prefix):08x}".encode()
        _write(file.fileno(), prefix, 0)


def _write(file: int, values: bytes | bytearray | memoryview, place: int) -> None:
    """All of `values`: the system writes as much of them as it likes, two gigabytes at most."""
    rest = memoryview(values)
    while rest:
        count = os.pwrite(file, rest, place)
        rest, place = rest[count:], place + count
