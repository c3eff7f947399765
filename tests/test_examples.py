"""The examples in docstrings run as they stand, and every public function, class and layer has one.

They can be pasted into a Python prompt after `import numpy as np`, `import keras`, `import blocks` and `import zoo`.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import tempfile
import textwrap
import typing

import keras
import numpy as np
import pytest

import blocks
import zoo
from zoo.registry import FAMILIES, config_class

ASSUMED = {"np": np, "keras": keras, "blocks": blocks, "zoo": zoo}
# Modules that users and authors of families import names from, beside what `blocks` and `zoo` export; of a package, all
# of its own but what belongs to one backend, or stands for private names of a library.
MODULES = (
    *("blocks.composites", "blocks.families", "blocks.layers", "blocks.ops"),
    *("zoo.backbone", "zoo.checks", "zoo.complexity", "zoo.costs", "zoo.exporting", "zoo.factory", "zoo.folding"),
    *("zoo.information", "zoo.input_pipeline", "zoo.lora", "zoo.metrics", "zoo.registry", "zoo.transforms"),
    *("zoo.models.description", "zoo.models.inverted_residual_table", "zoo.models.residual"),
    *(f"zoo.weights.{name}" for name in ("checkpoint", "download", "layout", "loading", "names", "opening")),
    *("zoo.weights.published", "zoo.weights.saving", "zoo.decoding", "zoo.errors", "zoo.timing"),
    *("zoo.prediction.files", "zoo.prediction.network", "zoo.prediction.opening", "zoo.prediction.pictures"),
    *("zoo.data_config", "zoo.pillow_decoding", "zoo.prediction.predicting", "zoo.exporting.int8_form"),
    *("zoo.datasets.augmentation.color", "zoo.datasets.augmentation.erasing", "zoo.datasets.augmentation.geometry"),
    *("zoo.datasets.augmentation.images", "zoo.datasets.augmentation.mixing", "zoo.datasets.augmentation.policies"),
    *("zoo.datasets.augmentation_config", "zoo.training.accuracies"),
    *("zoo.datasets.augment", "zoo.datasets.config", "zoo.datasets.crop_box", "zoo.datasets.digits"),
    *("zoo.datasets.folders", "zoo.datasets.holdout", "zoo.datasets.resizing", "zoo.datasets.sampling"),
    *("zoo.weights.readers.archive", "zoo.weights.readers.keras", "zoo.weights.readers.safetensors"),
    *("zoo.datasets.identity", "zoo.datasets.sizes", "zoo.tracking.config"),
    *("zoo.datasets.pipeline", "zoo.training.recipe", "zoo.training.recipe_config"),
    *(f"zoo.training.optimizers.{name}" for name in ("keras_fused", "multi_tensor", "rates", "timm_optimizers")),
    *("zoo.training.layer_rates", "zoo.training.pretrained", "zoo.training.averaging", "zoo.training.losses"),
    *("zoo.training.precision", "zoo.training.schedules"),
    "zoo.comparison.pareto",
)


def modules() -> list:
    opened = [importlib.import_module(name) for name in MODULES]
    packages = [module for module in opened if module.__name__.startswith("blocks.") and hasattr(module, "__path__")]
    for package in packages:
        inside = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        names = [each.name for each in inside if not each.ispkg and not each.name.endswith("_internals")]
        opened += [importlib.import_module(name) for name in names]
    return opened


def is_type_alone(value) -> bool:
    """Whether it is for type checkers: there is nothing to call."""
    return typing.is_typeddict(value) or getattr(value, "_is_protocol", False)


def public_objects() -> dict:
    """Path -> function or class, for every one of the modules, the packages and the families."""
    objects = [getattr(package, name) for package in (blocks, zoo) for name in package.__all__]
    objects += [config_class(name) for name in FAMILIES]
    objects += [getattr(module, name) for module in modules() for name in getattr(module, "__all__", ())]
    objects += [
        value
        for module in modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    originals = [inspect.unwrap(value) for value in objects if callable(value) and not is_type_alone(value)]
    return {f"{value.__module__}.{value.__qualname__}": value for value in originals}


PUBLIC = public_objects()
FINDER = doctest.DocTestFinder(recurse=False)


def raised(value) -> set[str]:
    """The exceptions that a function, or a class's methods, raises by name; those of functions within left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    bodies = [each for each in tree.body if isinstance(each, ast.FunctionDef)] if isinstance(value, type) else [tree]
    names = set()
    pending = [child for body in bodies for child in body.body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            names |= {node.exc.func.id} if node.exc.func.id[0].isupper() else set()  # else a function that returns one
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_the_example_of_a_public_name_runs(path, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    value = PUBLIC[path]
    (test,) = FINDER.find(value, path, module=False, globs=dict(ASSUMED)) or [None]
    assert test is not None and test.examples, f"{path} has no example in its docstring"
    assert not any(example.options for example in test.examples), f"{path} leaves out, or compares loosely"
    lines: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    assert not lines, "".join(lines)


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_what_a_public_name_raises_is_in_its_docstring(path):
    if unsaid := {name for name in raised(PUBLIC[path]) if name not in inspect.getdoc(PUBLIC[path])}:
        pytest.fail(f"{path} raises {', '.join(sorted(unsaid))}, which its docstring does not say")


LAYERS = [value for value in PUBLIC.values() if isinstance(value, type) and issubclass(value, keras.Layer)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_a_layer_says_its_shapes_errors_and_source(layer):
    text = inspect.getdoc(layer)
    assert "(B, " in text or "(..., C)" in text, "the shapes of inputs and outputs"
    assert "Raises" in text or "errors are those of" in text
    assert "Source" in text or "those of `GroupedConv2D`" in text or "Keras's layer" in text


def test_an_example_that_is_wrong_or_missing_is_seen():
    def wrong():
        """Example:
        >>> 1 + 1
        3
        """

    (test,) = FINDER.find(wrong, "wrong", module=False)
    assert doctest.DocTestRunner(verbose=False).run(test, out=str).failed == 1
    assert raised(blocks.split_channels) == {"ValueError"} and raised(blocks.LayerScale) == set()
    assert len(PUBLIC) > 150
