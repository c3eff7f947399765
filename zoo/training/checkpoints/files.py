"""One checkpoint as one file: safetensors, written a few tensors at a time, and replaced as a whole.

The library's own writer takes all tensors as bytes at once, which would hold weights and optimizer twice in memory; and
the training waits for it, so that two threads share the work, and hundreds of small tensors are written by one call.
"""

import itertools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from zoo.training.checkpoints.folder import take_spare
from zoo.training.files import replacing
from zoo.weights.readers.safetensors import DTYPES
from zoo.weights.readers.training import CHECKSUM, FORMAT, NO_CHECKSUM, TENSOR_CHECKSUMS

FIRST_CHECKSUMS = f'"{TENSOR_CHECKSUMS}":"'.encode()
CODES = {name: code for code, name in DTYPES.items()}
THREADS = 2  # more do not copy faster
BATCH = 16 << 20  # bytes that one call writes
BUFFERS = 1024  # of one call; more the system does not take
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
    ends = list(itertools.accumulate(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in tensors.values()))
    begins = dict(zip(tensors, [0, *ends], strict=False))
    for (name, (shape, dtype)), end in zip(tensors.items(), ends, strict=True):
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [begins[name], end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # values begin at a multiple of their size
    with replacing(path) as part, _opened(part) as file:
        unsynced: list[int] = []  # bytes that were written since the last went to disk

        def write(names: Sequence[str]) -> list[str]:
            values = [np.ascontiguousarray(read(name)).reshape(-1).view(np.uint8).data for name in names]
            _write(file.fileno(), values, 8 + len(text) + begins[names[0]])
            unsynced.append(sum(map(len, values)))
            if sum(unsynced) >= SYNCED:
                unsynced.clear()
                os.fsync(file.fileno())
            return [f"{zlib.crc32(each):08x}" for each in values]

        with ThreadPoolExecutor(THREADS) as threads:
            checksums = itertools.chain.from_iterable(threads.map(write, _batches(begins)))
            joined = "".join(checksums).encode()
        prefix = bytearray(len(text).to_bytes(8, "little") + text)
        first = prefix.index(FIRST_CHECKSUMS) + len(FIRST_CHECKSUMS)
        prefix[first : first + len(joined)] = joined
        prefix[8 + CHECKSUM.start : 8 + CHECKSUM.stop] = f"{zlib.crc32(prefix):08x}".encode()
        _write(file.fileno(), [prefix], 0)
        file.truncate(len(prefix) + (ends[-1] if ends else 0))


def _opened(part: Path) -> FileIO:
    """The file to be written, which may have another checkpoint's bytes."""
    take_spare(part)
    return FileIO(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+")


def _batches(begins: Mapping[str, int]) -> Iterator[list[str]]:
    """The tensors that one call writes: neighbours, of about `BATCH` bytes together."""
    batch: list[str] = []
    for name, begin in begins.items():
        if batch and (begin - begins[batch[0]] >= BATCH or len(batch) == BUFFERS):
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch


def _write(file: int, buffers: Sequence[bytes | bytearray | memoryview], place: int) -> None:
    """All of `buffers`, one behind the other: the system writes as much as it likes, two gigabytes at most."""
    rest = [memoryview(buffer) for buffer in buffers if len(buffer)]
    while rest:
        count = os.pwritev(file, rest, place)
        place += count
        while rest and count >= len(rest[0]):
            count -= len(rest.pop(0))
        if count:
            rest[0] = rest[0][count:]
