"""Latencies that have been measured on this machine, kept in a folder: a file of JSON each, written whole."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo import environment, hardware
from zoo.errors import UserError

VERSION = 1
DISTRIBUTION = "grouped-convolution-zoo"
# What a latency follows from; the rest of the project does not compute while it is measured.
SOURCES = ("blocks", "zoo/models", "zoo/folding", "zoo/exporting", "zoo/benchmarking")
SUFFIXES = (".py", ".cc", ".h")
RUNTIMES = {
    "onnx": ("onnxruntime", "tf2onnx"),
    "litert": ("ai-edge-litert",),
    "litert-int8": ("ai-edge-litert",),
}  # packages that measure a format, beside TensorFlow


@dataclass(frozen=True)
class Latency:
    """Seconds of a call for a batch, over `timings` calls, and how busy other programs kept the machine then.

    Example:
        >>> from zoo.choosing.measured import Latency
        >>> Latency(median=0.004, p90=0.005, timings=100, others=0.02).median
        0.004
    """

    median: float
    p90: float
    timings: int
    others: float


@dataclass(frozen=True)
class Conditions:
    """All that a latency depends on but the network: machine, format, threads, batch, versions.

    Example:
        >>> from zoo.choosing.measured import conditions
        >>> conditions("fused", threads=2, batch=1).format
        'fused'
    """

    processor: str
    instructions: tuple[str, ...]
    cores: int
    format: str
    threads: int
    batch: int
    versions: dict[str, str | None]
    variables: dict[str, str]

    def digest(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def conditions(format: str, threads: int, batch: int) -> Conditions:
    """Those of this machine and this project.

    Example:
        >>> from zoo.choosing.measured import conditions
        >>> conditions("onnx", 1, 1).digest() == conditions("onnx", 2, 1).digest()
        False
    """
    versions: dict[str, str | None] = {"project": _version(DISTRIBUTION), "sources": sources_digest()}
    versions |= environment.versions()
    versions |= {package: _version(package) for package in RUNTIMES.get(format, ())}
    names = ("BLOCKS_KERNELS", "BLOCKS_KERNELS_FLAGS", "BLOCKS_KERNELS_LEVEL", "CXX")
    variables = environment.variables() | {name: os.environ[name] for name in names if name in os.environ}
    return Conditions(
        hardware.processor(),
        tuple(hardware.instructions()),
        hardware.cores(),
        format,
        threads,
        batch,
        versions,
        variables,
    )


@functools.cache
def sources_digest() -> str:
    """Of all files that compute a network: a copy of the project under development has one version for long.

    Example:
        >>> from zoo.choosing.measured import sources_digest
        >>> len(sources_digest())
        16
    """
    root = Path(__file__).resolve().parents[2]
    text = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                text.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return text.hexdigest()[:16]


def cache_folder() -> Path:
    """Where latencies are kept: ~/.cache/grouped-convolution-zoo/latency, or under XDG_CACHE_HOME.

    Example:
        >>> from zoo.choosing.measured import cache_folder
        >>> cache_folder().name
        'latency'
    """
    return environment.cache_folder() / "latency"


class Cache:
    """Latencies under some conditions, by network and size of image.

    Args:
        say: called with a sentence for each entry that is damaged, which is measured again.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.choosing.measured import Cache, Latency, conditions
        >>> cache = Cache(conditions("fused", 1, 1), print, pathlib.Path(tempfile.mkdtemp()))
        >>> cache.put("lcnet_035", 32, Latency(0.001, 0.002, 9, 0.0))
        >>> cache.get("lcnet_035", 32).median, cache.get("lcnet_035", 64)
        (0.001, None)
    """

    def __init__(self, conditions: Conditions, say: Callable[[str], None], folder: Path | None = None) -> None:
        self.conditions, self._say = conditions, say
        self.folder = (folder or cache_folder()) / conditions.digest()
        self.is_read_only = False

    def path(self, model: str, size: int) -> Path:
        return self.folder / f"{model}-{size}.json"

    def get(self, model: str, size: int) -> Latency | None:
        """What has been measured; None where nothing has, or the entry is damaged."""
        path = self.path(model, size)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is cut off or no JSON"
            self._say(f"{path}: {reason}; {model} is measured again.")
            return None
        try:
            return self._checked(entry, model, size)
        except ValueError as error:
            self._say(f"{path}: {error}; {model} is measured again.")
            return None

    def put(self, model: str, size: int, latency: Latency) -> None:
        """Keep a latency, unless the cache is only read. Raises UserError where the file cannot be written."""
        if self.is_read_only:
            return
        path = self.path(model, size)
        entry = {"version": VERSION, "model": model, "size": size, **asdict(latency)}
        entry["conditions"] = asdict(self.conditions)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=self.folder, prefix=".part-")
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    file.write(json.dumps(entry, indent=1, allow_nan=False) + "\n")
                os.replace(part, path)
            except OSError:  # the disk may be full
                with suppress(OSError):
                    os.unlink(part)
                raise
        except OSError as error:
            raise UserError(
                f"Cannot write {path}: {error.strerror or error}; XDG_CACHE_HOME names another cache folder."
            ) from error

    def _checked(self, entry: Any, model: str, size: int) -> Latency:
        if not isinstance(entry, dict):
            raise ValueError("it holds no object")
        if entry.get("version") != VERSION:
            raise ValueError(f"it is of version {entry.get('version')!r}, and {VERSION} is read")
        expected = json.loads(json.dumps(asdict(self.conditions)))
        if (entry.get("model"), entry.get("size"), entry.get("conditions")) != (model, size, expected):
            raise ValueError("it was measured of something else")
        values = {key: entry.get(key) for key in ("median", "p90", "timings", "others")}
        for key, value in values.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or (value <= 0 if key != "others" else not 0 <= value <= 1):  # type: ignore[operator]
                raise ValueError(f"its {key} is {value!r}")
        return Latency(**values)  # type: ignore[arg-type]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
