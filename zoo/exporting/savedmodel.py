"""TensorFlow's SavedModel: a folder, which TensorFlow reads in every language, and TensorFlow Serving."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zoo.data_config import KEY
from zoo.exporting import saved_model_process
from zoo.exporting.formats import PROPERTIES, Batch, ExportError, Format, Outcome, Task

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
                    int(results["grouped"]),
                )

    def properties(self, path: Path) -> dict[str, str]:
        if not (path / "saved_model.pb").is_file():
            raise ValueError(f"{path} is not a SavedModel: it has no saved_model.pb.")
        folder = path / EXTRA_ASSETS
        files = {name: folder / _file(name) for name in PROPERTIES}
        return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def _file(name: str) -> str:
    return f"{name}.json" if name == KEY else f"{name}.txt"
