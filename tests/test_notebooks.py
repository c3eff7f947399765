"""The notebooks of docs/notebooks: run from top to bottom; what is committed comes from such a run, and is in order."""

import ast
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.documents import NOTEBOOKS, dead_links, generator, missing_names

LARGEST = 200_000  # bytes of a file
FOLDERS = re.compile(r"(?<![\w.:/])/(?:\w+/)+\w*")  # absolute paths, which are of one machine
COST = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")  # parameters and the like, which every run prints alike
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(output: nbformat.NotebookNode) -> str:
    """What an output shows beside pictures."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What a notebook may not have been committed with."""
    code = code_of(notebook)
    counts = [cell.execution_count for cell in code]
    problems = [] if counts == list(range(1, len(code) + 1)) else [f"not run once from top to bottom: {counts}"]
    for output in (output for cell in code for output in cell.outputs):
        if output.output_type == "error" or output.get("name") == "stderr":
            problems.append(f"an error, or a warning: {output}")
        problems += [f"a path of one machine: {match}" for match in FOLDERS.findall(text_of(output))]
    return problems


def python_of(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in code_of(notebook))


@each_notebook
def test_outputs_are_of_one_run_without_errors(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    assert not faults(notebook), f"python docs/generator/run_notebooks.py {path.stem} writes it anew"
    assert sum(bool(cell.outputs) for cell in code_of(notebook)) > 3


@each_notebook
def test_code_compiles_its_names_exist_and_links_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    code = python_of(notebook)
    compile(code, str(path), "exec")
    assert not missing_names(code)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code))), "nothing in it can fail"
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose.startswith("# ") and not dead_links(prose, path)


def test_what_may_not_be_committed_is_seen():
    cells = [
        new_code_cell("1", execution_count=2),
        new_code_cell("2", execution_count=1, outputs=[new_output("stream", name="stderr", text="W0000")]),
        new_code_cell("3", execution_count=3, outputs=[new_output("stream", text="saved to /data/runs/x")]),
        new_code_cell("4", execution_count=4, outputs=[new_output("error", ename="ValueError")]),
    ]
    assert len(faults(new_notebook(cells=cells))) == 4
    fine = new_output("stream", text="images/s, 1/2, https://a.b/c/d, outputs/x/y.png\n")
    assert not faults(new_notebook(cells=[new_code_cell("1", execution_count=1, outputs=[fine])]))


def test_a_page_has_text_code_and_outputs(tmp_path):
    picture = new_output("display_data", data={"image/png": "aGk=\n", "text/plain": "<Image>"})
    printed = new_output("stream", text="\x1b[1m3\x1b[0m\n")
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("print(3)", outputs=[printed]),
        new_code_cell("x", outputs=[picture]),
    ]
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    assert generator("notebook_page").page(path) == (
        '# Title\n\n<a href="../a.ipynb" download>Download the notebook</a>\n\n'
        "```python\nprint(3)\n```\n\n```text\n3\n```\n\n"
        '```python\nx\n```\n\n<img alt="&lt;Image&gt;" src="data:image/png;base64,aGk=">\n'
    )


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@each_notebook
def test_a_notebook_runs_and_costs_what_is_committed(path, tmp_path, data_dir):
    """Its own assertions hold: accuracies, and outputs of files against those of the model."""

    def shown(notebook):
        return [output for cell in code_of(notebook) for output in cell.outputs if output.get("name") != "stderr"]

    repeated = generator("run_notebooks").executed(path, tmp_path, TFDS_DATA_DIR=data_dir)
    runs = (nbformat.read(path, as_version=4), repeated)
    saved, costs = ([COST.findall(text_of(output)) for output in shown(run)] for run in runs)
    assert saved == costs
