"""ONNX: a file for ONNX Runtime and many others."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.exporting.formats import PROPERTIES, Batch, ExportError, Format, Outcome, Task, is_grouped
from zoo.exporting.saved_model_process import median_seconds

IMAGE_AXES = ("batch", "height", "width", "channels")
FIRST_OPSET = 13  # the first whose operators take axes as inputs, as the converter's rewriting leaves them
XLA_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
XLA = "TensorFlow calls what XLA compiles: Keras's grouped convolutions, which fold=True and `blocks.convert` replace"


class Onnx(Format):
    """A file; its metadata are its `metadata_props`.

    Example:
        >>> from zoo.exporting.onnx import Onnx
        >>> 17 in Onnx().opsets()
        True
    """

    name = "onnx"
    suffix = ".onnx"
    packages = ("onnx", "tf2onnx")
    runtimes = ("onnxruntime",)

    def opsets(self) -> range:
        from tf2onnx.constants import OPSET_TO_IR_VERSION

        return range(FIRST_OPSET, max(OPSET_TO_IR_VERSION) + 1)

    def write(self, task: Task, path: Path) -> None:
        import onnx

        from zoo.exporting.onnx_rewriting import simplify

        with _silent("tf2onnx"):  # what it says is not supported may be rewritten below, or is named there
            task.model.export(
                path, format="onnx", input_signature=task.signature, opset_version=task.opset, verbose=False
            )
        file = onnx.load(path)
        _finish(file.graph, task.outputs)
        simplify(file)
        lacking = {node.op_type for node in file.graph.node if not onnx.defs.has(node.op_type, node.domain)}
        if lacking:
            why = f", as which {XLA}" if lacking & XLA_CALLS else ""
            raise ExportError(f"ONNX lacks the operations {', '.join(sorted(lacking))}{why}.")
        onnx.helper.set_model_props(file, dict(task.properties))
        onnx.save(file, path)

    def run(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], batches: Sequence[Batch], threads: int
    ) -> Outcome:
        import onnx
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

        def call(batch: Batch) -> list[Any]:
            return session.run(list(outputs), dict(zip(inputs, batch, strict=True)))

        results = [call(batch) for batch in batches]
        return Outcome(results, median_seconds(lambda: call(batches[0])), _grouped(onnx.load(path).graph))

    def properties(self, path: Path) -> dict[str, str]:
        import onnx
        from google.protobuf.message import DecodeError

        try:
            file = onnx.load(path, load_external_data=False)
        except DecodeError as error:
            raise ValueError(f"{path} is not an ONNX file, or a damaged one.") from error
        return {entry.key: entry.value for entry in file.metadata_props if entry.key in PROPERTIES}


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger off the terminal."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _grouped(graph: Any) -> int:
    """Convolutions of more than one group."""
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    count = 0
    for node in graph.node:
        if node.op_type == "Conv":
            groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            filters, per_group, *window = shapes[node.input[1]]
            count += is_grouped(groups * per_group, per_group, filters, window)
    return count


def _finish(graph: Any, outputs: Sequence[str]) -> None:
    """Put the outputs in this order, and name the open axes."""
    by_name = {value.name: value for value in graph.output}
    del graph.output[:]
    graph.output.extend(by_name[name] for name in outputs)
    inputs = {value.name for value in graph.input}
    for value in itertools.chain(graph.input, graph.output):
        axes = value.type.tensor_type.shape.dim
        names = IMAGE_AXES if len(axes) == 4 and value.name in inputs else ("batch",)
        for axis, name in zip(axes, names, strict=False):
            if not axis.HasField("dim_value"):
                axis.dim_param = name
