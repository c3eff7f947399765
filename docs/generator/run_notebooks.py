"""Runs the notebooks of docs/notebooks, and writes them anew with their outputs: `run_notebooks.py [NAME ...]`.

As `jupyter execute --inplace` does, but the kernel imports this tree, its files go to a temporary folder, and what it
writes to standard error, TensorFlow's first lines, goes to the terminal in place of the notebook.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"
TIMEOUT = 1200  # seconds for one cell


def executed(path: Path, folder: Path, **variables: str) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run from top to bottom, in `folder`, by this Python.

    Args:
        variables: of the kernel's environment.

    Raises nbclient.exceptions.CellExecutionError, with cell and error, where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        record_timing=False,  # or each run would change the file
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    # One operation at a time, as in train.py: it takes less of the processor.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTEROP_THREADS": "1", "PYTHONPATH": str(ROOT)}
    client.execute(env={**os.environ, **environment, **variables})
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def without_standard_error(notebook: nbformat.NotebookNode) -> str:
    """Take what cells wrote to standard error out of the notebook; returns it."""
    lines = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines += [output.text for output in cell.outputs if output.get("name") == "stderr"]
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return "".join(lines)


def main(names: list[str]) -> None:
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        sys.stderr.write(without_standard_error(notebook))
        nbformat.write(notebook, path)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
