"""Imports point one way, files stay small, and nothing is left half done."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("blocks", "zoo", "tests", "benchmarks")
SOURCES = [ROOT / "train.py", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]

# Who may import whom, from the bottom up: a layer sees those before it, and itself.
LAYERS = [
    "blocks", "zoo.checks", "zoo.models", "zoo", "zoo.training", "zoo.comparison", "zoo.commands", "zoo.__main__",
    "train",
]  # fmt: skip
TRAINING_ONLY = {"hydra", "omegaconf", "wandb", "tensorflow_datasets", "sklearn", "rich", "filelock"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(module: str) -> int | None:
    """The highest entry of LAYERS that the module lies in; None for other packages."""
    matches = [index for index, name in enumerate(LAYERS) if module == name or module.startswith(name + ".")]
    return max(matches, key=lambda index: len(LAYERS[index]), default=None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_finished(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    unfinished = re.findall(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b|NotImplemented" r"Error", text)
    assert not unfinished
    assert ast.get_docstring(ast.parse(text)), "a file says in its first line what it is"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] != "tests"], ids=lambda p: module_of(p))
def test_imports_point_one_way(path):
    own = layer_of(module_of(path))
    if own is None:
        return  # a benchmark may import anything
    for module in imports(path):
        other = layer_of(module)
        assert other is None or other <= own, f"{module_of(path)} imports {module}, which lies above it"
        if LAYERS[own] in ("blocks", "zoo.checks", "zoo.models", "zoo"):
            assert module.split(".")[0] not in TRAINING_ONLY, f"{module_of(path)} needs {module} to be used at all"


def test_the_order_of_the_layers_is_what_the_test_reads():
    assert layer_of("zoo.models.resnext") == LAYERS.index("zoo.models")
    assert layer_of("zoo.factory") == LAYERS.index("zoo")
    assert layer_of("keras.layers") is None


def test_what_two_test_files_need_is_in_the_helpers():
    """Or a change of one file's tests would break another's; helpers know no tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        modules = {part for module in imports(path) for part in (module or "").split(".")}
        others = {other.stem for other in (ROOT / "tests").glob("test_*.py")} | {"conftest"}
        assert not modules & others, f"{path.relative_to(ROOT)} imports from another test file"
