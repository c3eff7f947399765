"""The wheel with kernels: what it is called and carries, and that it computes without any compiler, at every level."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from blocks.kernels import levels, prebuilt, sources
from helpers.paths import ROOT

KERNEL_TESTS = [
    *("test_kernels", "test_kernel_inputs", "test_spatial_kernels", "test_pooling", "test_normalization"),
    *("test_excitation", "test_resizing"),
]
# Outputs and gradients of layers that most of the arithmetic takes part in.
PROGRAM = """
import sys
import keras, numpy as np, tensorflow as tf
import blocks
from blocks.kernels import build
assert build.library() is not None, build.state
keras.utils.set_random_seed(1)  # before there are layers, whose initializers draw their seeds
images = tf.constant(np.random.default_rng(0).standard_normal((4, 14, 14, 32)), "float32")
results = {}
for name, layer in {
    "grouped": blocks.GroupedConv2D(64, 3, groups=8, padding="same"),
    "strided": blocks.GroupedConv2D(64, 3, strides=2, groups=2, padding="same"),
    "dense": blocks.Conv2D(24, 3, padding="same"),
    "depthwise": blocks.DepthwiseConv2D(5, padding="same"),
    "pointwise": blocks.Conv2D(48, 1),
    "normalisation": blocks.BatchNormalization(),
}.items():
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True) if name == "normalisation" else layer(images)
        total = tf.reduce_sum(tf.sin(outputs))
    gradients = tape.gradient(total, [images, layer.trainable_variables[0].value])
    for part, value in zip(("outputs", "to inputs", "to weights"), (outputs, *gradients)):
        results[f"{name} {part}"] = np.asarray(value)
np.savez(sys.argv[1], level=build.state.level, path=str(build.state.path), **results)
"""


def python(program: Path, *arguments: object, **environment: str) -> str:
    """What a program prints; it must succeed."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("BLOCKS_", "PYTHON"))}
    command = [str(program), *map(str, arguments)]
    folder = program.parent  # and not this project's, whose packages would be found first
    done = subprocess.run(command, cwd=folder, env=own | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def build_wheel(tree: Path, folder: Path) -> Path:
    backend = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", backend], cwd=tree, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def tree(tmp_path) -> Path:
    """What a wheel is built of, without kernels."""
    tree = tmp_path / "tree"
    for name in ("blocks", "zoo"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "prebuilt"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


def add_kernels(tree: Path, machine: str, digest: str) -> None:
    folder = tree / "blocks/kernels/prebuilt" / machine
    folder.mkdir(parents=True)
    (folder / "tensorflow-2.21.so").write_text("a library")
    (folder / prebuilt.MANIFEST).write_text(json.dumps({"sources": digest, "glibc": "2.17"}))


def test_a_wheel_is_of_the_platform_of_its_kernels(tree, tmp_path):
    add_kernels(tree, "x86_64", sources.digest())
    wheel = build_wheel(tree, tmp_path)
    assert wheel.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "blocks/kernels/prebuilt/x86_64/tensorflow-2.21.so" in names and "blocks/kernels/dispatch/levels.cc" in names


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ([("x86_64", "another")], "is of other sources than these: run wheels/build_kernels.py again"),
        ([("aarch64", None), ("x86_64", None)], "has kernels for aarch64 and x86_64, and a wheel carries those of one"),
    ],
)
def test_a_wheel_of_wrong_kernels_is_refused(tree, tmp_path, kernels, message):
    for machine, digest in kernels:
        add_kernels(tree, machine, digest or sources.digest())
    with pytest.raises(subprocess.CalledProcessError) as error:
        build_wheel(tree, tmp_path)
    assert message in error.value.stderr.decode()
    assert not list(tmp_path.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The Python of a new virtual environment that has the wheel; other packages are those of this environment."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("wheel")
    machine, release = levels.machine(), prebuilt.minor(tf.__version__)
    manifest = prebuilt.folder() / prebuilt.MANIFEST
    facts = json.loads(manifest.read_text()) if manifest.exists() else {}
    if facts.get("sources") != sources.digest() or release not in facts["tensorflow"]:
        script = [sys.executable, str(ROOT / "wheels/build_kernels.py"), "--target", machine, "--tensorflow", release]
        subprocess.run([*script, "--folder", str(folder / "kernels")], check=True)
    tree = folder / "tree"
    for name in ("blocks", "zoo"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for other in (tree / "blocks/kernels/prebuilt").iterdir():
        if other.name != machine:
            shutil.rmtree(other)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    wheel = build_wheel(tree, folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    program = folder / "venv/bin/python"
    site = Path(python(program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return program


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_the_wheel_computes_without_a_compiler_and_equally_at_every_level(installed, tmp_path):
    """Sums are taken in another order where vectors are wider: equal to 2e-6 of the largest value, in float32."""
    empty = tmp_path / "empty"
    empty.mkdir()
    without = {"PATH": str(empty), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    without["MPLCONFIGDIR"] = str(tmp_path)  # Keras imports Matplotlib, where that is installed
    best = levels.available()[-1]
    results = {}
    for level in ["", *levels.available()]:
        file = tmp_path / f"{level or 'best'}.npz"
        python(installed, "-c", PROGRAM, file, **without, BLOCKS_KERNELS_LEVEL=level)
        results[level] = dict(np.load(file))
        assert results[level]["level"] == (level or best)
        assert str(results[level]["path"]).startswith(str(installed.parent.parent))
    assert not (tmp_path / "cache").exists(), "nothing has been compiled"
    native = tmp_path / "native.npz"
    with_compiler = {"TF_CPP_MIN_LOG_LEVEL": "3", "BLOCKS_KERNELS": "wait"}
    python(installed, "-c", PROGRAM, native, **with_compiler, BLOCKS_KERNELS_LEVEL="native")
    expected = dict(np.load(native))
    assert expected["level"] == "native"
    for level, values in results.items():
        for name in expected.keys() - {"level", "path"}:
            largest = np.abs(expected[name]).max()
            np.testing.assert_allclose(values[name], expected[name], 0, 2e-6 * largest, err_msg=f"{level} {name}")


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("level", levels.available())
def test_the_tests_of_the_kernels_pass_with_the_wheel_at_each_level(installed, tmp_path, level):
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = [str(tmp_path / f"tests/{name}.py") for name in KERNEL_TESTS]
    where = ("--rootdir", tmp_path, "-c", tmp_path / "pyproject.toml", "-n", "0", "-p", "no:cacheprovider")
    output = python(installed, "-m", "pytest", *where, *files, BLOCKS_KERNELS_LEVEL=level, TF_CPP_MIN_LOG_LEVEL="3")
    assert " passed" in output and " failed" not in output
