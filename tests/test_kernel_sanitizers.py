"""The tests of the kernels once more, on kernels compiled for GCC's sanitizers of addresses and undefined behaviour.

What they find ends the process with a report. Compiling takes some minutes, so these tests are heavy.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.kernels import build, sources
from helpers.kernels import needs_kernels
from helpers.paths import ROOT
from helpers.processes import process_environment

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3600), needs_kernels]

# -fsanitize=vptr is left out: it needs type information that TensorFlow does not export.
FLAGS = "-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g"
TESTS = [
    "test_kernels",
    "test_kernel_inputs",
    "test_layer_norm_kernels",
    "test_spatial_kernels",
    "test_pooling",
    "test_normalization",
    "test_excitation",
    "test_dual_path",
    "test_softmax_sum",
    "test_second_derivatives",
    "test_empty_batches",
    "test_uneven_groups",
    "test_resizing",
    "test_multi_tensor",
]
# Without oneDNN, TensorFlow has no fused convolution in groups, which it makes of a saved model's.
LEFT_OUT = ["test_kernels.py::test_exports_hold_tensorflow_operations_only"]


@pytest.fixture
def run_sanitized(tmp_path):
    """Runs Python with the sanitizers' libraries loaded before all others; returns its exit code and what it wrote."""
    compiler = build.compiler()
    preload = []
    for name in ("libasan.so", "libubsan.so"):
        answer = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        if not os.path.isabs(answer.stdout):
            pytest.skip(f"{compiler} has no {name}")
        preload.append(answer.stdout.strip())
    variables = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # its allocator hands out parts of large pieces, beyond whose ends nobody looks
        "BLOCKS_KERNELS_FLAGS": FLAGS,
        # Python and TensorFlow are not what is tested: they leak, and free what others have allocated.
        "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }

    def run(*arguments: str, folder: Path = ROOT) -> tuple[int, str]:
        environment = process_environment(**variables | {"PYTHONPATH": str(folder)})
        compile_them = "import tensorflow as tf; from blocks.kernels import build; build.compiled(tf)"
        command = [sys.executable, "-c", compile_them]
        subprocess.run(command, env=environment, cwd=folder, check=True)  # without them: the compiler is not tested
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment | {"LD_PRELOAD": " ".join(preload)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return done.returncode, done.stdout

    return run


def test_the_sanitizers_report_nothing(run_sanitized, tmp_path):
    files = [f"tests/{name}.py" for name in TESTS]
    left_out = [f"--deselect=tests/{test}" for test in LEFT_OUT]
    # Without capturing, or what a sanitizer reports would end with the process.
    options = ("-n", "0", "-v", "--capture=no", "-p", "no:cacheprovider")
    code, output = run_sanitized("-m", "pytest", *options, *left_out, *files)
    assert code == 0, output[-20000:]
    assert "AddressSanitizer" not in output and "runtime error" not in output
    (library,) = (tmp_path / "cache").rglob("*.so")
    assert b"__asan_report_load" in library.read_bytes() and b"__ubsan_handle_" in library.read_bytes()


OVERRUN = """
float* memory = scratch(0, 5);
memory[5] = 1.0f;
"""
OVERFLOW = """
volatile int most = 2147483647;
most = most + 1;
"""
NULL = """
char* volatile nowhere = nullptr;
volatile size_t nothing = 0;
std::memset(nowhere, 0, nothing);
"""


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        (OVERRUN, "AddressSanitizer: use-after-poison"),
        (OVERFLOW, "runtime error: signed integer overflow"),
        (NULL, "runtime error: null pointer passed as argument 1"),
    ],
    ids=["overrun", "overflow", "null pointer"],
)
def test_what_the_sanitizers_are_to_find_is_found(run_sanitized, tmp_path, fault, report):
    """Else the test above could not fail: a library of two files, one with the fault."""
    tree = tmp_path / "tree"
    kernels = tree / sources.FOLDER.relative_to(ROOT)
    (kernels / "compute").mkdir(parents=True)
    for package in (kernels, kernels.parent):
        (package / "__init__.py").touch()
    names = [path.name for path in sources.FOLDER.glob("*.py")]
    for name in (*names, "compute/scratch.cc", "compute/simd.h", "compute/kernels.h"):
        shutil.copy(sources.FOLDER / name, kernels / name)
    source = f'#include "simd.h"\nextern "C" void fault() {{ using namespace blocks;\n{fault}}}\n'
    (kernels / "compute" / "fault.cc").write_text(source)
    load = "import ctypes, tensorflow as tf; from blocks.kernels import build; "
    call = f"{load}ctypes.CDLL(str(build.compiled(tf))).fault()"
    code, output = run_sanitized("-c", call, folder=tree)
    assert code != 0 and report in output and "fault.cc" in output, output
