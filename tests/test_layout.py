"""Imports point one way, files stay small, and nothing is left half done."""

import ast
import fnmatch
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("blocks", "zoo", "tests", "benchmarks", "docs")
SOURCES = [ROOT / "train.py", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]

# Who may import whom, from the bottom up: a floor sees those below it, and itself.
FLOORS = (
    ("blocks.typing",),
    ("blocks.kernels",),
    ("blocks.ops",),
    ("blocks.layers",),
    ("blocks.composites",),
    ("blocks.families",),
    ("blocks.conversion",),
    ("blocks",),
    (
        "zoo.checks",
        "zoo.costs",
        "zoo.data_config",
        "zoo.environment",
        "zoo.errors",
        "zoo.hardware",
        "zoo.locks",
        "zoo.metrics",
        "zoo.typing",
    ),
    (
        "zoo.complexity",
        "zoo.decoding",
        "zoo.lora",
        "zoo.pictures",
        "zoo.pillow_decoding",
        "zoo.tensorflow_process",
        "zoo.timing",
        "zoo.transforms",
    ),
    ("zoo.models",),
    ("zoo.registry",),
    ("zoo.weights",),
    ("zoo.factory",),
    ("zoo",),  # backbone, folding, exporting, input_pipeline, information: what `import zoo` offers
    ("zoo.distribution",),
    ("zoo.datasets",),
    ("zoo.tracking",),
    ("zoo.training",),
    ("zoo.comparison",),
    ("zoo.prediction",),
    ("zoo.doctor",),
    ("zoo.benchmarking.load", "zoo.benchmarking.processes", "zoo.benchmarking.serving"),
    ("zoo.benchmarking",),
    ("zoo.choosing",),
    ("zoo.commands",),
    ("zoo.__main__", "train"),
)
LIBRARY = FLOORS.index(("zoo",))  # the highest floor that is used without a training
# filelock is not among them: it needs nothing else, and kernels and weights are locked without a training too; nor is
# rich, which Keras needs.
TRAINING_ONLY = {"hydra", "omegaconf", "wandb", "tensorflow_datasets", "sklearn"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function; names of a module count as the module."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name if name in MODULES else node.module for name in names}
    return modules


MODULES = {module_of(path): path for path in SOURCES}


def floor_of(module: str) -> int | None:
    """The floor that the module lies on, by its longest name in FLOORS; None for other packages."""
    names = {name: index for index, floor in enumerate(FLOORS) for name in floor}
    matches = [name for name in names if module == name or module.startswith(name + ".")]
    return names[max(matches, key=len)] if matches else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_finished(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400  # one idea a file: beyond that there are two
    unfinished = re.findall(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b|NotImplemented" r"Error", text)
    assert not unfinished
    assert ast.get_docstring(ast.parse(text)), "a file says in its first line what it is"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.relative_to(ROOT).parts[0] != "tests"], ids=lambda p: module_of(p)
)
def test_imports_point_one_way(path):
    own = floor_of(module_of(path))
    if own is None:
        return  # a benchmark may import anything
    for module in imports(path):
        other = floor_of(module)
        assert other is None or other <= own, f"{module_of(path)} imports {module}, which lies above it"
        if own <= LIBRARY:
            assert module.split(".")[0] not in TRAINING_ONLY, f"{module_of(path)} needs {module} to be used at all"


def test_every_folder_is_a_package_that_git_and_ruff_see():
    """Ruff leaves out what git ignores."""
    lines = (ROOT / ".gitignore").read_text().split()
    anywhere = [line.rstrip("/") for line in lines if not line.startswith("/")]
    for path in SOURCES:
        place = path.relative_to(ROOT)
        if place.parts[0] in ("blocks", "zoo"):
            assert (path.parent / "__init__.py").is_file(), place
        ignored = [name for name in anywhere for part in place.parts if fnmatch.fnmatch(part, name)]
        assert not ignored, f"{place} is ignored: {ignored}"


def names_in(path: Path) -> set[str]:
    """What a file defines or imports, at its top or further inside."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def test_what_is_imported_is_there():
    """Benchmarks too, which no other test runs: a function that is renamed is renamed wherever it is called."""
    own = MODULES | {
        name.partition(".")[2]: path for name, path in MODULES.items() if name.startswith(("tests.", "benchmarks."))
    }
    names = {path: names_in(path) for path in set(own.values())}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in own and "__getattr__" not in names[own[node.module]]:
                submodules = {name.rpartition(".")[2] for name in own if name.rpartition(".")[0] == node.module}
                missing = {alias.name for alias in node.names} - names[own[node.module]] - submodules
                assert not missing, f"{path.relative_to(ROOT)} imports {missing} from {node.module}"


def test_no_circle_of_files():
    graph = {module: imports(path) & MODULES.keys() - {module} for module, path in MODULES.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_only_the_operations_know_a_backend():
    """A layer runs on every backend of Keras; what TensorFlow does otherwise lies behind an entry of `blocks.ops`."""
    for module, path in MODULES.items():
        if module.startswith(("blocks.layers", "blocks.composites", "blocks.families")):
            own = {name for name in imports(path) if name.split(".")[0] in ("tensorflow", "jax", "torch")}
            assert not own and not {name for name in imports(path) if name.startswith("blocks.ops.tensorflow")}, module


def test_the_floors_are_what_the_tests_read():
    assert floor_of("zoo.models.resnext") < floor_of("zoo.registry") < floor_of("zoo.folding.graph") == LIBRARY
    assert floor_of("blocks.ops.tensorflow.conv2d") == floor_of("blocks.ops.geometry") < floor_of("blocks")
    assert floor_of("keras.layers") is None
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_what_two_test_files_need_is_in_the_helpers():
    """Or a change of one file's tests would break another's; helpers know no tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        modules = {part for module in imports(path) for part in (module or "").split(".")}
        others = {other.stem for other in (ROOT / "tests").glob("test_*.py")} | {"conftest"}
        assert not modules & others, f"{path.relative_to(ROOT)} imports from another test file"


def test_all_locks_are_filelocks():
    """The system's own calls differ, and the modules of one system cannot be imported on another."""
    for module, path in MODULES.items():
        if floor_of(module) is not None:
            assert not imports(path) & {"fcntl", "msvcrt"}, module


def test_what_psutil_does_not_know_is_read_in_one_place():
    """The processor's flags, its name, and the peak of memory; all else about processes and the machine is psutil's.

    Nor does psutil know the priority of a session, which is written in one place.
    """
    readers = {name for name, path in MODULES.items() if not name.startswith("tests") and '"/proc/' in path.read_text()}
    assert readers == {"blocks.kernels.levels", "blocks.kernels.compilation", "zoo.hardware", "zoo.environment"}


# Where private names of a library may be used: one file for each, which says why. LiteRT is met in a benchmark alone.
INTERNALS = {"blocks.ops.keras_internals", "blocks.kernels.tensorflow.internals", "zoo.distribution.internals"}
ALLOWED = {"benchmarks.exports": {"_get_ops_details"}, "train": {"_exit"}}  # the latter is documented, of Python's os


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def foreign_private_names(tree: ast.AST) -> set[str]:
    """Private attributes that a file uses and does not define, and modules that TensorFlow and Keras do not export."""
    own, names = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            own.add(node.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if ast.unparse(node.value) not in ("self", "cls") or node.attr not in own:
                names.add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            names |= {name} if is_private(name) else set()
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(alias.name for alias in node.names)]
            inner = (node.module or "").startswith(("tensorflow.python", "keras.src", "hydra._internal"))
            own_module = (node.module or "").split(".")[0] in ("blocks", "zoo")
            names |= {node.module} if inner or (any(map(is_private, modules)) and not own_module) else set()
    return names


def test_private_names_of_libraries_are_in_one_place():
    for module, path in MODULES.items():
        if not module.startswith("tests") and module not in INTERNALS:
            names = foreign_private_names(ast.parse(path.read_text()))
            assert names <= ALLOWED.get(module, set()), f"{module} uses {names}"


@pytest.mark.parametrize("module", sorted(INTERNALS))
def test_the_places_of_private_names_have_some(module):
    assert foreign_private_names(ast.parse(MODULES[module].read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "model._called = True",
        "layer._flatten_layers()",
        "hasattr(model, '_functional')",
        "class A(Base):\n def f(self):\n  return self._momentums",
        "class A(Base):\n def _track(self):\n  super()._track()",
        "from keras.src.ops import numpy",
        "from tensorflow.python.ops import control_flow_util",
        "from hydra._internal.utils import x",
    ],
)
def test_private_names_are_recognised(line):
    assert foreign_private_names(ast.parse(line))
    own = "class A:\n def __init__(self):\n  self._x = 0\n def _f(self):\n  return self._f() + self._x"
    assert not foreign_private_names(ast.parse(own))
