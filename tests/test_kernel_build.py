"""The library of CPU kernels: what it is named after, when it is compiled anew, what happens where it can't be."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import tensorflow as tf

from blocks.kernels import build, compilation, sources
from helpers.kernels import SMALL, needs_kernels, write_sources
from helpers.processes import run_code

ROOT = Path(__file__).parent.parent
KERNELS = sources.FOLDER


def files_of(folder: Path) -> set[str]:
    """All files below `folder`, but what Python has compiled."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in paths}


def test_every_source_is_part_of_the_name_of_the_library(kernel_sources, tmp_path, monkeypatch):
    """Else a library of other sources would be loaded."""
    shutil.copytree(KERNELS, kernel_sources, ignore=shutil.ignore_patterns("prebuilt"))
    monkeypatch.setattr(build, "__file__", str(kernel_sources / "build.py"))

    def identity() -> str:
        return build._identity(tf, sys.executable)  # any program that answers --version

    names = [identity()]
    files = sources.sources()
    assert {path.parent.name for path in files} == {"compute", "dispatch", "tensorflow"}
    assert {path.suffix for path in files} == {".cc", ".h"}
    python_files = [kernel_sources / name for name in ("build.py", "compilation.py", "levels.py", "sources.py")]
    for path in [*files, *python_files]:
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        names.append(identity())
        path.write_bytes(content)
        assert identity() == names[0], path
    for path in files:
        for place in (path.with_stem(path.stem + "_renamed"), path.parent / "deeper" / path.name):
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
            names.append(identity())
            place.rename(path)
        path.rename(path.with_suffix(".gone"))
        names.append(identity())
        path.with_suffix(".gone").rename(path)
    for place in ("compute/new.cc", "compute/new.h", "compute/avx/new.h", "tensorflow/new.cc", "elsewhere/new.h"):
        path = kernel_sources / place
        path.parent.mkdir(exist_ok=True)
        path.touch()
        names.append(identity())
        path.unlink()
    names.append(build._identity(tf, sys.executable, "avx2"))
    assert identity() == names[0]
    assert len(set(names)) == len(names) == 1 + len(files) + len(python_files) + 3 * len(files) + 6


def test_every_file_of_the_kernels_is_hashed_and_compiled():
    """A suffix that is not known, or a folder without flags, would be left out."""
    suffixes = {Path(name).suffix for name in files_of(KERNELS) if not name.startswith("prebuilt/")}
    assert suffixes == {".py", ".cc", ".h"}
    in_folders = [
        path for name in (sources.COMPUTE, sources.DISPATCH, sources.TENSORFLOW) for path in sources.sources(name)
    ]
    assert sorted(in_folders) == sources.sources()
    in_units = [path for unit in sources.units() for path in unit.sources]
    assert sorted(in_units) == sources.sources(suffixes=(".cc",))
    for unit in sources.units():
        assert {sources.COMPUTE in path.parts for path in unit.sources} == {unit.is_arithmetic}
    for path in sources.sources():
        assert len(path.read_text().splitlines()) <= 400


@needs_kernels
def test_the_compiler_has_no_warnings():
    """Of GCC's -Wall -Wextra, at the levels of optimization that are in use, which find more than the syntax does."""
    compiler = build.compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        pytest.skip(f"{compiler} is not GCC, whose warnings are meant")
    warnings = compilation.warnings_file(build.compiled(tf))
    assert not warnings.exists(), warnings.read_text()


def test_warnings_lie_beside_the_library_and_are_not_shown(kernel_sources, capfd):
    """Those about the sources; TensorFlow's headers are the system's."""
    for name, include in (("compute", ""), ("tensorflow", '#include "tensorflow/c/c_api.h"\n')):
        write_sources(kernel_sources, {f"{name}/small.cc": f"{include}int {name}_number(int unused) {{ return 1; }}\n"})
    warnings = compilation.warnings_file(build.compiled(tf)).read_text()
    assert warnings.count("warning:") == warnings.count("unused parameter") == 2
    assert capfd.readouterr().err.splitlines() == ["blocks: compiling CPU kernels, once for this machine ..."]


@needs_kernels
def test_more_flags_make_another_library(kernel_sources, tmp_path, monkeypatch):
    """The compiler and the linker get them; a library of other flags is neither loaded nor replaced."""
    for name in ("compute", "tensorflow"):
        write_sources(kernel_sources, {f"{name}/small.cc": f"int {name}_number() {{ return NUMBER; }}\n"})
    with pytest.raises(build.BuildError, match="could not compile"):
        build.compiled(tf)  # there is no NUMBER
    libraries = set()
    for flags in ("-DNUMBER=1", "-DNUMBER=2", "-DNUMBER=1 -DOTHER='two words'"):
        monkeypatch.setenv("BLOCKS_KERNELS_FLAGS", flags)
        libraries.add(build.compiled(tf))
    assert len(libraries) == len(list((tmp_path / "cache").rglob("*.so"))) == 3
    monkeypatch.setenv("BLOCKS_KERNELS_FLAGS", "-DNUMBER=1 -lno_such_library")
    with pytest.raises(build.BuildError, match="could not compile") as error:
        build.compiled(tf)
    assert "no_such_library" in Path(re.search(r"see (\S+);", str(error.value))[1]).read_text()
    monkeypatch.setenv("BLOCKS_KERNELS_FLAGS", "-DNUMBER='1")
    with pytest.raises(build.BuildError, match="BLOCKS_KERNELS_FLAGS=.* is not a shell's list of words: No closing"):
        build.compiled(tf)


INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


@pytest.mark.parametrize("path", sources.sources(sources.COMPUTE), ids=lambda path: path.name)
def test_the_arithmetic_knows_no_tensorflow(path):
    """It includes the standard library, the processor's instructions and itself."""
    text = path.read_text()
    for kind, name in INCLUDE.findall(text):
        if kind == "<":
            assert re.fullmatch(r"[a-z_]+|immintrin\.h|arm_neon\.h|sanitizer/asan_interface\.h", name), name
        else:
            assert (path.parent / name).resolve().is_relative_to(KERNELS / sources.COMPUTE), name
            assert (path.parent / name).is_file(), name
    assert not re.search(r"\b(?:tensorflow|tsl|absl|Eigen)\s*::", text)


def test_the_operations_include_the_arithmetic_by_its_place():
    names = set()
    for path in sources.sources(sources.TENSORFLOW):
        for kind, name in INCLUDE.findall(path.read_text()):
            if kind == '"' and not name.startswith(("tensorflow/", "absl/")):  # which TensorFlow brings
                assert (path.parent / name).is_file(), f"{path.name} includes {name}"
                names.add(name)
    own = {"op_kernel_utils.h", "geometry.h", "shape_functions.h"}
    assert names == own | {"../dispatch/levels.h", "../dispatch/thread_pool.h"}


def test_comments_name_files_that_exist():
    names = {path.name for path in KERNELS.rglob("*")}
    for path in sources.sources():
        comments = " ".join(re.findall(r"//(.*)", path.read_text()))
        assert set(re.findall(r"\b\w+\.(?:cc|h|py)\b", comments)) <= names, path


@needs_kernels
def test_an_edited_source_is_compiled_anew_and_loads(kernel_sources, tmp_path, capfd):
    """On small sources in the same folders; a process can load both libraries, as the operation's name changes too."""
    write_sources(kernel_sources, SMALL)
    load = build.library.__wrapped__

    def compilations() -> int:
        return capfd.readouterr().err.count("compiling CPU kernels")

    assert load().number_before() == 42
    assert compilations() == 1
    assert load().number_before() == 42
    assert compilations() == 0, "nothing was edited"
    (kernel_sources / "compute/numbers.h").write_text(SMALL["compute/numbers.h"].replace("Before", "After"))
    (kernel_sources / "compute/deeper/numbers.cc").write_text(SMALL["compute/deeper/numbers.cc"].replace("2", "3"))
    assert load().number_after() == 43
    assert compilations() == 1
    assert len(list((tmp_path / "cache").rglob("*.so"))) == 2


# Under each environment in turn, as a process begins under it: a layer's output, and what is said about the kernels.
PROGRAM = """
import json, os, sys, warnings
import tensorflow as tf
from blocks import GroupedConv2D
from blocks.kernels import build
for variables in json.loads(sys.argv[1]):
    os.environ |= variables
    build.library.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shape = GroupedConv2D(32, 1)(tf.ones((1, 4, 4, 16))).shape
    print(json.dumps([str(shape), *(str(w.message) for w in caught if "kernels of blocks" in str(w.message))]))
"""


def run(*variables: dict[str, str]) -> list[list[str]]:
    lines = run_code(PROGRAM, json.dumps(variables)).splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.heavy
@needs_kernels
def test_without_kernels_it_works_and_says_why(tmp_path):
    """No compiler; one that fails, which is tried once; and the setting that is meant, or is none."""
    compiler, tries = tmp_path / "compiler", tmp_path / "tries"
    compiler.write_text("#!/bin/sh\necho tried >> $TRIES\necho 'cannot compile' >&2\nexit 1\n")
    compiler.chmod(0o755)
    # What a wheel brought needs no compiler: a level that it does not have.
    failing = {"XDG_CACHE_HOME": str(tmp_path), "BLOCKS_KERNELS_LEVEL": "native"}
    failing |= {"CXX": str(compiler), "TRIES": str(tries)}
    answers = run(
        {**failing, "CXX": "no-such-compiler"},
        failing,
        failing,
        {"BLOCKS_KERNELS": "maybe"},
        {"BLOCKS_KERNELS": "off"},
    )
    assert [shape for shape, *_ in answers] == ["(1, 4, 4, 32)"] * 5
    assert [len(warnings) for _, *warnings in answers] == [1, 1, 1, 1, 0]
    missing, failed, again, unknown = (warnings[0] for _, *warnings in answers[:4])
    assert "no C++ compiler (no-such-compiler is not on PATH)" in missing
    assert "could not compile them (see " in failed and again == failed
    assert "BLOCKS_KERNELS='maybe' is not known: use on, wait or off" in unknown
    versions = 2  # each time the version is asked for; the first time compiles
    files = len(sources.units())
    assert len(tries.read_text().splitlines()) == versions + files
    (failure,) = tmp_path.glob("grouped-convolution-zoo/kernels/*.failed")
    assert "cannot compile" in failure.read_text()


def python(*arguments, folder: Path, **environment) -> str:
    """What another Python writes to standard output."""
    command = [sys.executable, *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_distributed_and_installed_has_every_source(tmp_path):
    """As pip does it: an sdist, from it a wheel, and from that an installation."""
    tree = tmp_path / "tree"
    for name in ("blocks", "zoo"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "prebuilt"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    backend = "from setuptools import build_meta; build_meta.build_{}({!r})"
    python("-c", backend.format("sdist", str(tmp_path)), folder=tree)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    python("-c", backend.format("wheel", str(tmp_path)), folder=unpacked)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--target", installed)
    python("-m", "pip", "install", "--quiet", *options, wheel, folder=tmp_path)
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    for package in ("blocks", "zoo"):
        files = files_of(tree / package)
        assert files_of(unpacked / package) == files
        assert {name.removeprefix(f"{package}/") for name in in_wheel if name.startswith(f"{package}/")} == files
        assert files_of(installed / package) == files
    program = "from blocks.kernels import build, sources; print(build.__file__, *sources.sources(), sep='\\n')"
    printed = python("-c", program, folder=tmp_path, PYTHONPATH=str(installed)).split("\n")[:-1]
    place = installed / KERNELS.relative_to(ROOT)
    assert printed == [str(place / path.relative_to(KERNELS)) for path in (KERNELS / "build.py", *sources.sources())]
