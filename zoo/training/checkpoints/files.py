"""One checkpoint as one file: safetensors, written a tensor at a time, replaced as a whole, verified when it is read.

The library's own writer takes all tensors as bytes at once, which would hold weights and optimizer twice in memory.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np

from zoo.errors import UserError
from zoo.training.files import replacing
from zoo.weights.readers.safetensors import DTYPES

FORMAT = "zoo.training 1"  # in the metadata of the file; other files of that suffix are no checkpoints
CODES = {name: code for code, name in DTYPES.items()}
# The checksum is of the whole file with zeros in its place, which is the same in every file.
BEFORE_CHECKSUM, NO_CHECKSUM = '{"__metadata__":{"crc32":"', "00000000"
CHECKSUM = slice(len(BEFORE_CHECKSUM), len(BEFORE_CHECKSUM) + len(NO_CHECKSUM))
LARGEST_HEADER = 100_000_000  # bytes, as the library has it
CHUNK = 1 << 20  # bytes that are read at once


class CheckpointError(UserError):
    """A checkpoint cannot be used, in one sentence."""


@dataclass(frozen=True)
class TensorInfo:
    """Where the values of a tensor lie: `offset` bytes behind the file's begin."""

    shape: tuple[int, ...]
    dtype: str
    offset: int


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint that has been verified: what it says, and tensors to be read one by one."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]

    def read(self, name: str) -> np.ndarray:
        """The values of a tensor. Raises CheckpointError where the file cannot be read any more."""
        tensor = self.tensors[name]
        count = math.prod(tensor.shape)
        try:
            values = np.fromfile(self.path, np.dtype(tensor.dtype), count, offset=tensor.offset)
        except OSError as error:
            raise _unusable(self.path, error.strerror or str(error)) from error
        if len(values) != count:
            raise _unusable(self.path, f"it ends in the middle of {name}")
        return values.reshape(tensor.shape)


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


def open_checkpoint(path: Path) -> CheckpointFile:
    """A checkpoint whose every byte has been verified.

    Raises:
        CheckpointError: the file is missing, empty, cut off, damaged, or no checkpoint of a training.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise _unusable(path, "it is empty")
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > LARGEST_HEADER:
                raise _foreign(path)
            text = file.read(length)
            if not text.startswith(BEFORE_CHECKSUM.encode()):
                raise _foreign(path)
            if len(text) < length:
                raise _cut_off(path, size)
            noted = text[CHECKSUM]
            text = text[: CHECKSUM.start] + NO_CHECKSUM.encode() + text[CHECKSUM.stop :]
            checksum = zlib.crc32(prefix + text)
            metadata, header = _header(path, text)
            end = 8 + length + max((each["data_offsets"][1] for each in header.values()), default=0)
            if size < end:
                raise _cut_off(path, size, end)
            while chunk := file.read(CHUNK):
                checksum = zlib.crc32(chunk, checksum)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if noted != f"{checksum:08x}".encode():
        raise _unusable(path, "it is damaged, its checksum is another")
    tensors = {
        name: TensorInfo(tuple(each["shape"]), DTYPES[each["dtype"]], 8 + length + each["data_offsets"][0])
        for name, each in header.items()
    }
    return CheckpointFile(path, metadata, tensors)


def _header(path: Path, text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and tensors. The header begins as ours do: what is wrong in it is damage, or a later version."""
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__")
        version = metadata.pop("format")
        if version != FORMAT:
            later = version.startswith(FORMAT.split()[0])
            raise _unusable(path, "a later version of this program wrote it: update it") if later else _foreign(path)
        for each in header.values():
            begin, end = each["data_offsets"]
            if end - begin != math.prod(each["shape"]) * np.dtype(DTYPES[each["dtype"]]).itemsize:
                raise ValueError
        return {key: json.loads(value) for key, value in metadata.items() if key != "crc32"}, header
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unusable(path, "it is damaged, its header cannot be read") from None


def summarised(names: Iterable[str], most: int = 3) -> str:
    """Some names in words: the first few, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _unusable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint {path} cannot be used: {why}.")


def _cut_off(path: Path, size: int, whole: int | None = None) -> CheckpointError:
    of = f" of {whole:,}" if whole else ""
    return _unusable(path, f"it is cut off after {size:,}{of} bytes")


def _foreign(path: Path) -> CheckpointError:
    return _unusable(
        path, "it is no checkpoint of a training; weights alone are what weights=PATH and zoo.create(weights=) take"
    )
