"""Checkpoints of PyTorch: `.pth`, `.pt`, and the archives that pytorchcv packs them in.

They are pickles, which can run any code; `torch.load(weights_only=True)` builds tensors alone and refuses the rest.
"""

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from zoo.weights.checkpoint import Checkpoint, Entry, counted, damaged

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training scripts put the weights
PREFIXES = ("module.", "_orig_mod.")  # what wrappers of a module write before every name
LARGEST_RATIO = 20  # of what an archive unpacks to; weights hardly compress
ARCHIVE_ERRORS = (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, RuntimeError, zlib.error)


@contextlib.contextmanager
def open_torch_file(path: Path, source: str) -> Iterator[Checkpoint]:
    """The weights may lie under a key of WRAPPERS, the running average first, as timm reads them.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: a file that is damaged, that holds more than tensors, or that unpacks to far more than its size.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{source} is a file of PyTorch, which is not installed: pip install torch, "
            "or give the same weights as .safetensors."
        ) from error
    with _unpacked(path, source) as inner:
        mapped = inner == path and zipfile.is_zipfile(path)  # then tensors are read from the file when they are needed
        try:
            content = torch.load(inner, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # of many kinds, for each way in which a file can be wrong
            why = str(error) or type(error).__name__
            if "weights_only" in why:
                why = "it holds more than tensors, which may be code and is not loaded"
            raise damaged(source, why) from error
        tensors = _tensors(content, source, torch)

        def read(name: str) -> np.ndarray:
            tensor = tensors[name].detach()
            return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

        entries = {
            name: Entry(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in tensors.items()
        }
        yield Checkpoint(source, entries, read)


@contextlib.contextmanager
def _unpacked(path: Path, source: str) -> Iterator[Path]:
    """The file to load: `path` itself, or the one member of a `.zip`, for as long as it is needed."""
    _check_size(path, source)
    if path.suffix.lower() != ".zip":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "weights.pth"
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) != 1 or not names[0].lower().endswith((".pth", ".pt")):
                    raise zipfile.BadZipFile("it must hold one file, whose name ends in .pth or .pt")
                with archive.open(names[0]) as packed, inner.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
        except ARCHIVE_ERRORS as error:
            raise damaged(source, error) from error
        _check_size(inner, source)
        yield inner


def _check_size(path: Path, source: str) -> None:
    """Raise ValueError for an archive, as PyTorch's own files are, that claims to unpack to far more than its size."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except ARCHIVE_ERRORS as error:
        raise damaged(source, error) from error
    if size > LARGEST_RATIO * path.stat().st_size:
        raise damaged(source, f"it would unpack to over {LARGEST_RATIO} times its size")


def _tensors(content, source: str, torch) -> dict:
    """The tensors of what a file holds, by their names in the network itself."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise damaged(source, f"it holds no table of tensors, but a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise damaged(source, f"{name!r} in it is no tensor but a {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise damaged(source, f"{name!r} in it is no plain tensor of numbers")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return {name: value for name, value in content.items() if not counted(name)}
