"""TensorFlow's SavedModel: a folder, which TensorFlow reads in every language, and TensorFlow Serving."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.data_config import KEY
from zoo.exporting import saved_model_process
from zoo.exporting.formats import PROPERTIES, Batch, ExportError, Format, Outcome, Task, is_grouped

SIGNATURE = "serving_default"
EXTRA_ASSETS = "assets.extra"  # where TensorFlow lets files of others lie in a SavedModel


class SavedModel(Format):
    """A folder; its metadata are files in `assets.extra/`, `zoo.json`, `class_names.txt` and `license.txt`.

    It is run in a new process, in which neither this project nor its kernels can be imported.

    Example:
        >>> from zoo.exporting.savedmodel import SavedModel
        >>> SavedModel().suffix
        ''
    """

    name = "savedmodel"
    suffix = ""
    main_file = "saved_model.pb"

    def write(self, task: Task, path: Path) -> None:
        task.model.export(path, format="tf_saved_model", input_signature=task.signature, verbose=False)
        folder = path / EXTRA_ASSETS
        folder.mkdir()
        for name, text in task.properties.items():
            (folder / _file(name)).write_text(text, encoding="utf-8")

    def run(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], batches: Sequence[Batch], threads: int
    ) -> Outcome:
        import numpy as np
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder:
            given, computed = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
            arrays = {
                f"{number}.{place}": array for number, batch in enumerate(batches) for place, array in enumerate(batch)
            }
            np.savez(given, allow_pickle=False, **arrays)
            request = {
                "path": str(path.resolve()),
                "signature": SIGNATURE,
                "inputs": str(given),
                "outputs": str(computed),
                "input_names": list(inputs),
                "output_names": list(outputs),
                "batches": len(batches),
                "threads": threads,
                "packages": [str(Path(tf.__file__).parents[1])],
            }
            done = subprocess.run(
                [sys.executable, "-I", saved_model_process.__file__],
                input=json.dumps(request) + "\n",
                capture_output=True,
                text=True,
            )
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                raise ExportError(f"TensorFlow does not run the SavedModel: {lines[-1] if lines else 'it ended'}")
            with np.load(computed, allow_pickle=False) as results:
                return Outcome(
                    [[results[f"{number}.{place}"] for place in range(len(outputs))] for number in range(len(batches))],
                    float(results["seconds"]),
                    _grouped(path),
                )

    def properties(self, path: Path) -> dict[str, str]:
        if not (path / self.main_file).is_file():
            raise ValueError(f"{path} is not a SavedModel: it has no {self.main_file}.")
        folder = path / EXTRA_ASSETS
        files = {name: folder / _file(name) for name in PROPERTIES}
        return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def _grouped(path: Path) -> int:
    """Convolutions of more than one group that a call of the signature computes."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as Proto

    content = Proto.FromString((path / SavedModel.main_file).read_bytes()).meta_graphs[0]
    functions = {each.signature.name: each for each in content.graph_def.library.function}
    (target, *_) = content.signature_def[SIGNATURE].outputs.values()
    (call,) = (node for node in content.graph_def.node if node.name == target.name.partition(":")[0])
    count, pending = 0, [call.attr["f"].func.name]
    while pending:
        function = functions[pending.pop()]
        shapes = _shapes(function)
        for node in function.node_def:
            if node.op in ("DepthwiseConv2dNative", "Conv2D", "Conv3D"):
                images, kernel = (shapes(name) for name in node.input[:2])
                first = node.attr["data_format"].s.startswith(b"NC")
                *window, per_group, filters = kernel
                if node.op.startswith("Depthwise"):  # (H, W, C, filters / C), else (H, W, C / groups, filters)
                    per_group, filters = 1, per_group * filters
                count += is_grouped(images[1 if first else -1], per_group, filters, window)
            pending += [value.func.name for value in node.attr.values() if value.func.name in functions]
    return count


def _shapes(function: Any) -> Callable[[str], list[int]]:
    """The shape of an input of a node in the function, as TensorFlow notes it beside the node that computes it."""
    nodes = {node.name: node.attr["_output_shapes"].list.shape for node in function.node_def}
    arguments = {
        each.name: function.arg_attr[place].attr["_output_shapes"].list.shape
        for place, each in enumerate(function.signature.input_arg)
    }

    def shape(name: str) -> list[int]:
        node, *place = name.split(":")
        known = nodes.get(node) or arguments[node]
        return [axis.size for axis in known[int(place[-1]) if place else 0].dim]

    return shape


def _file(name: str) -> str:
    return f"{name}.json" if name == KEY else f"{name}.txt"
