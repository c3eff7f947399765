"""What can be measured of a network: its contenders, what each needs, and the command of its process."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MODES = ("inference", "training")
ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}  # for a process that must not see a GPU
BATCHES = {"inference": 1, "training": 32}  # where none is asked for


@dataclass(frozen=True)
class Contender:
    """One way to compute a network.

    kind: of its worker's process, of `zoo.benchmarking.worker.RUNTIMES`.
    title: in words.
    format: of `zoo.exporting.FORMATS`, where a file of it is measured; else it is a model in TensorFlow.
    trains: whether it can.
    variables: of the environment, which its process needs.

    Example:
        >>> from zoo.benchmarking.contenders import CONTENDERS
        >>> CONTENDERS["stock"].variables, CONTENDERS["onnx"].trains
        ({'BLOCKS_KERNELS': 'off'}, False)
    """

    kind: str
    title: str
    format: str | None = None
    trains: bool = False
    variables: Mapping[str, str] | None = None


CONTENDERS = {
    "float32": Contender("tensorflow", "TensorFlow with the kernels of blocks, float32", trains=True),
    "bfloat16": Contender("tensorflow", "the same in Keras's mixed_bfloat16", trains=True),
    "fused": Contender("tensorflow", "TensorFlow, float32, fused for inference (zoo.fuse)"),
    "stock": Contender(
        "tensorflow", "TensorFlow's own operations, float32", trains=True, variables={"BLOCKS_KERNELS": "off"}
    ),
    "onnx": Contender("onnx", "ONNX Runtime, float32", format="onnx"),
    "litert": Contender("litert", "LiteRT, float32", format="litert"),
    "litert-int8": Contender("litert", "LiteRT, weights and activations of int8", format="litert-int8"),
    "openvino": Contender("openvino", "OpenVINO, float32", format="openvino"),
}
DEFAULT = ("float32", "bfloat16", "fused", "stock", "onnx", "litert", "litert-int8")
MISSING = "{name} needs {packages}, which {verb} not installed: pip install 'grouped-convolution-zoo[{extra}]'."


def missing_packages(name: str, writing: bool) -> str | None:
    """One sentence, with how to get it, where what a contender runs on is not installed.

    Args:
        writing: whether its file has to be written too.

    Example:
        >>> from zoo.benchmarking.contenders import missing_packages
        >>> missing_packages("fused", writing=False) is None
        True
    """
    from zoo.benchmarking.worker import RUNTIMES

    contender = CONTENDERS[name]
    wanted = {RUNTIMES[contender.kind][0]: None}
    extra = "openvino" if contender.kind == "openvino" else "export"
    if writing and contender.format is not None:
        from zoo.exporting import FORMATS

        wanted |= dict.fromkeys(FORMATS[contender.format].packages)
    missing = [module for module in wanted if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return MISSING.format(name=name, packages=" and ".join(missing), verb=verb, extra=extra)


def command(kind: str) -> list[str]:
    """How a worker is started; `-P` leaves the working directory, and files in it called as modules are, out.

    Example:
        >>> from zoo.benchmarking.contenders import command
        >>> command("onnx")[-2:]
        ['zoo.benchmarking.worker', 'onnx']
    """
    return [sys.executable, "-P", "-m", "zoo.benchmarking.worker", kind]


def environment(name: str, threads: int) -> dict[str, str]:
    """Variables of a contender's process.

    Example:
        >>> from zoo.benchmarking.contenders import environment
        >>> environment("stock", 2)
        {'TF_NUM_INTRAOP_THREADS': '2', 'BLOCKS_KERNELS': 'off'}
    """
    compiled = os.environ.get("BLOCKS_KERNELS", "on").lower() == "on"  # else the first would be timed without them
    kernels = {"BLOCKS_KERNELS": "wait"} if compiled else {}
    return {"TF_NUM_INTRAOP_THREADS": str(threads), **kernels, **(CONTENDERS[name].variables or {})}


def able(names: Sequence[str], mode: str) -> list[str]:
    """Those of the contenders that can be measured in a mode.

    Example:
        >>> from zoo.benchmarking.contenders import DEFAULT, able
        >>> able(DEFAULT, "training")
        ['float32', 'bfloat16', 'stock']
    """
    return [name for name in names if mode == "inference" or CONTENDERS[name].trains]
