"""Checkpoints of a training: safetensors with all that a training consists of, verified when they are read."""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np

from zoo.errors import UserError
from zoo.weights.checkpoint import Checkpoint, Entry
from zoo.weights.readers.keras import saved_model
from zoo.weights.readers.safetensors import DTYPES

TENSOR_CHECKSUMS = "tensors_crc32"  # in the metadata: of each tensor, in their order
FORMAT = "zoo.training 1"  # in the metadata of the file; other files of that suffix are no checkpoints
WEIGHTS = "model"  # the section of the weights: the names of their tensors begin with it, and a slash
AVERAGED = "averaged"  # the section of their averages, where the training has some; what it trains for
MODEL = "network"  # in the metadata: Keras's description of the model
DATA_CONFIG = "data_config"  # in the metadata: how it sees pictures
# That of the file's begin, with zeros in its place, which is the same in every file.
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
            if noted != f"{zlib.crc32(prefix + text):08x}".encode():
                raise _damaged(path)
            metadata, checksums, header = _header(path, text)
            end = 8 + length + max((each["data_offsets"][1] for each in header.values()), default=0)
            if size < end:
                raise _cut_off(path, size, end)
            for number, each in enumerate(header.values()):
                if _checksum(file, *each["data_offsets"]) != checksums[8 * number : 8 * number + 8]:
                    raise _damaged(path)
            if file.read(1):
                raise _damaged(path)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    tensors = {
        name: TensorInfo(tuple(each["shape"]), DTYPES[each["dtype"]], 8 + length + each["data_offsets"][0])
        for name, each in header.items()
    }
    return CheckpointFile(path, metadata, tensors)


def _checksum(file: BinaryIO, begin: int, end: int) -> str:
    """Of the next `end - begin` bytes, or of what there is of them."""
    checksum, left = 0, end - begin
    while left and (chunk := file.read(min(left, CHUNK))):
        checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    return f"{checksum:08x}"


def _header(path: Path, text: bytes) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Metadata, the tensors' checksums, and the tensors. What is wrong in it is damage, or a later version."""
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
        del metadata["crc32"]
        checksums = metadata.pop(TENSOR_CHECKSUMS)
        return {key: json.loads(value) for key, value in metadata.items()}, checksums, header
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unusable(path, "it is damaged, its header cannot be read") from None


def summarised(names: Iterable[str], most: int = 3) -> str:
    """Some names in words: the first few, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _unusable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint {path} cannot be used: {why}.")


def _damaged(path: Path) -> CheckpointError:
    return _unusable(path, "it is damaged, its checksum is another")


def _cut_off(path: Path, size: int, whole: int | None = None) -> CheckpointError:
    of = f" of {whole:,}" if whole else ""
    return _unusable(path, f"it is cut off after {size:,}{of} bytes")


def _foreign(path: Path) -> CheckpointError:
    return _unusable(
        path, "it is no checkpoint of a training; weights alone are what weights=PATH and zoo.create(weights=) take"
    )


def is_training_checkpoint(path: Path) -> bool:
    """Whether a file begins as one of ours does, whatever follows.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.weights.readers.training import is_training_checkpoint
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.safetensors"
        >>> zoo.save_torch(zoo.create("lcnet_035", 10, (32, 32, 3)), path)
        >>> is_training_checkpoint(path)
        False
    """
    try:
        with path.open("rb") as file:
            return file.read(8 + len(BEFORE_CHECKSUM))[8:] == BEFORE_CHECKSUM.encode()
    except OSError:  # of which its reader tells
        return False


@contextmanager
def open_training(path: Path, source: str) -> Iterator[Checkpoint]:
    """The weights in a checkpoint of a training, or their averages, as a file of Keras has them.

    Raises ValueError for a file that is damaged.
    """
    try:
        opened = open_checkpoint(path)
        name, settings, layers = saved_model(opened.metadata[MODEL])
    except (CheckpointError, KeyError, TypeError) as error:
        raise ValueError(str(error) if isinstance(error, CheckpointError) else str(_foreign(path))) from error
    counts: Counter[str] = Counter()
    tensors = {}
    sections = {tensor.partition("/")[0] for tensor in opened.tensors}
    wanted = AVERAGED if AVERAGED in sections else WEIGHTS
    for tensor in opened.tensors:
        section, _, place = tensor.partition("/")
        if section == wanted:
            layer = place.partition("/")[0]
            tensors[f"{layer}.{counts[layer]}"] = tensor
            counts[layer] += 1
    entries = {
        plain: Entry(opened.tensors[tensor].shape, opened.tensors[tensor].dtype) for plain, tensor in tensors.items()
    }

    def read(plain: str) -> np.ndarray:
        try:
            return opened.read(tensors[plain])
        except CheckpointError as error:
            raise ValueError(str(error)) from error

    yield Checkpoint(
        source,
        entries,
        read,
        of_keras=True,
        model=name,
        settings=settings,
        layers=layers,
        data_config=opened.metadata.get(DATA_CONFIG),
    )
