"""The process of one contender: a network in TensorFlow, or a file in its own runtime, called again and again.

Started as `python -P -m zoo.benchmarking.worker KIND`, KIND being "tensorflow" or a runtime; see `serving.py`.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.benchmarking.serving import Commands, serve
from zoo.environment import peak_memory_bytes, reset_peak_memory
from zoo.timing import call_seconds, repeated_seconds

# Kind of worker -> the module that it stands on, and its package.
RUNTIMES = {
    "tensorflow": ("tensorflow", "tensorflow"),
    "onnx": ("onnxruntime", "onnxruntime"),
    "litert": ("ai_edge_litert", "ai-edge-litert"),
    "openvino": ("openvino", "openvino"),
}
WARM_UP = 3  # calls before any is timed: the first traces the graph, the next fill caches
LONG = 5.0  # seconds of a call after which no further one warms up


class Timed:
    """One call that is timed on request.

    Example:
        >>> from zoo.benchmarking.worker import Timed
        >>> timed = Timed()
        >>> timed.prepare(lambda: (lambda: sum(range(100)), {"parameters": 1}))["parameters"]
        1
        >>> len(timed.take(seconds=0.0, fewest=2)["seconds"])
        2
    """

    def __init__(self) -> None:
        self.call: Callable[[], object] = lambda: None
        self.last_seconds = 0.0

    def prepare(self, build: Callable[[], tuple[Callable[[], object], dict[str, Any]]]) -> dict[str, Any]:
        """Build the call in place of the last one, and make the first ones; facts about it."""
        self.call = lambda: None
        gc.collect()
        start = time.perf_counter()
        self.call, facts = build()
        self.call()
        first = time.perf_counter() - start
        for _ in range(WARM_UP):
            self.last_seconds = call_seconds(self.call)
            if self.last_seconds > LONG:
                break
        gc.collect()
        return {**facts, "first_seconds": first, "peak_anew": reset_peak_memory()}

    def take(self, seconds: float, fewest: int = 1) -> dict[str, Any]:
        """Time calls for about so many seconds, after one that is not timed: threads and caches were another's."""
        if self.last_seconds < LONG:
            self.call()
        return {
            "seconds": repeated_seconds(self.call, seconds, fewest=fewest),
            "peak_memory_bytes": peak_memory_bytes(),
        }


def load(kind: str) -> tuple[Commands, dict[str, Any]]:
    """Import the framework; the commands of this worker, and what it says first. Raises ImportError."""
    module, package = RUNTIMES[kind]
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"No module named {module!r}")
    timed = Timed()
    greeting: dict[str, Any]
    if kind != "tensorflow":  # which has several packages, and tells its version itself
        greeting = {"versions": {package: metadata.version(package)}, "kernels": None}
        return {"prepare": lambda **request: _prepare_file(timed, kind, **request), "take": timed.take}, greeting
    from zoo import hardware, tensorflow_process

    tensorflow_process.prepare()
    import keras
    import tensorflow as tf

    from zoo.benchmarking import tensorflow_steps

    def prepare(**request: Any) -> dict[str, Any]:
        timed.call = lambda: None
        keras.backend.clear_session()
        size = request.pop("size")
        return timed.prepare(lambda: tensorflow_steps.step_of(size=size and tuple(size), **request))

    def export(**request: Any) -> dict[str, Any]:
        keras.backend.clear_session()
        size = request.pop("size")
        return tensorflow_steps.export(size=size and tuple(size), **request)

    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    greeting = {"versions": versions, "kernels": hardware.kernels(), "accelerators": hardware.accelerators()}
    return {"prepare": prepare, "take": timed.take, "export": export}, greeting


def _prepare_file(timed: Timed, kind: str, **request: Any) -> dict[str, Any]:
    return timed.prepare(lambda: file_call(kind, **request))


def file_call(
    kind: str, path: str, batch: int, size: list[int] | None, threads: int
) -> tuple[Callable[[], object], dict[str, Any]]:
    """A call of a file in its runtime on random images, and the size of these.

    Raises UserError or ValueError for a file that cannot be read, or takes other images.
    """
    import numpy as np

    network = _open(kind, Path(path), threads)
    name = Path(path).name
    own = network.size
    if size is None:
        if None in own:
            raise ValueError(f"{name} takes images of any size: give --size.")
        size = [axis for axis in own if axis is not None]
    if any(axis not in (None, wanted) for axis, wanted in zip(own, size, strict=True)):
        raise ValueError(f"{name} takes images of {own[0]} x {own[1]} pixels alone, not of {size[0]} x {size[1]}.")
    if network.shape[0] not in (None, batch):
        raise ValueError(f"{name} takes batches of {network.shape[0]} alone: give --batch {network.shape[0]}.")
    channels = network.channels or 3
    shape = (batch, channels, *size) if network.channels_first else (batch, *size, channels)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape).astype("uint8") if network.takes_levels else None
    images = random.standard_normal(shape, "float32") if images is None else images
    return lambda: network.call(images), {"size": list(size)}


def _open(kind: str, path: Path, threads: int) -> Any:
    if kind == "onnx":
        from zoo.prediction.runtimes.onnx import open_onnx

        return open_onnx(path, threads)
    if kind == "litert":
        from zoo.prediction.runtimes.litert import open_litert

        return open_litert(path, threads)
    from zoo.prediction.runtimes.openvino import open_openvino

    return open_openvino(path, threads)


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1]))
