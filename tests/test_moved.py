"""Module paths from before the present layout: for one version an import of one warns and gives what it gave."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import blocks.moved
import zoo.moved

ROOT = Path(__file__).parents[1]
MOVED = {**blocks.moved.MOVED, **zoo.moved.MOVED}


@pytest.mark.parametrize("path", MOVED)
def test_every_former_path_gives_names_of_modules_that_are_there(path):
    for home in MOVED[path].split():
        assert importlib.util.find_spec(home), home
        names = [name for name in vars(importlib.import_module(home)) if not name.startswith("__")]
        spec = importlib.util.find_spec(path)
        module = importlib.util.module_from_spec(spec)
        with pytest.warns(DeprecationWarning, match=f"{path} has moved to {home}"[: len(path) + 13]):
            spec.loader.exec_module(module)
        own = getattr(module, names[-1])
        assert any(own is getattr(importlib.import_module(each), names[-1], None) for each in MOVED[path].split())
    with pytest.raises(AttributeError, match=f"{path} has no 'nonsense', and neither has "):
        module.nonsense  # noqa: B018


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning:keras", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_of_before_runs_and_is_told_its_own_line():
    """`blocks.convolution` was a module and a function at once: it is a function before its import and after."""
    code = """
import warnings, blocks
for name in ("convolution", "normalization", "selective_kernel"):
    assert type(getattr(blocks, name)).__name__ == "function", name
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import blocks.grouped, zoo.training.data_config
    from blocks.convolution import GroupedConv2D
    from blocks.compose import conv_norm as composed
    from blocks.normalization import BatchNormalization, normalization
    from blocks.alexnet import AdaptiveAveragePooling2D
    from zoo.training.errors import UserError
import blocks, keras, zoo.errors
ours = [w for w in caught if "has moved to" in str(w.message)]
assert len(ours) == 7 and {w.filename for w in ours} == {"<string>"}, [str(w.message) for w in ours]
assert UserError is zoo.errors.UserError and BatchNormalization is blocks.BatchNormalization
assert blocks.grouped.grouped_convolution is blocks.grouped_convolution and composed is blocks.conv_norm
assert AdaptiveAveragePooling2D is blocks.AdaptiveAveragePooling2D and GroupedConv2D is blocks.GroupedConv2D
images = keras.Input((8, 8, 4))
print(blocks.convolution(images, 6).shape, blocks.normalization(images).shape, normalization(images).shape)
"""
    assert run(code).split("\n")[0] == "(None, 8, 8, 6) (None, 8, 8, 4) (None, 8, 8, 4)"


@pytest.mark.parametrize("name", ["zoo", "zoo.exporting", "zoo.prediction.opening"])
def test_it_stays_without_keras(name):
    assert run(f"import sys, {name}; print('keras' in sys.modules)") == "False\n"
