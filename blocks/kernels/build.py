"""Compiles the kernels once for this machine and TensorFlow, and loads them.

The library lies in the user's cache folder (XDG_CACHE_HOME, or ~/.cache) under a name made of everything that it
depends on: these sources, TensorFlow, the compiler, its flags and the processor.

Environment variables:
    BLOCKS_KERNELS: off leaves the kernels out; on is the default.
    BLOCKS_KERNELS_FLAGS: more flags for compiler and linker, behind those below, in a shell's notation; a sanitizer's,
        say. A library with other flags has another name: neither is taken for the other.
    CXX: the C++ compiler.
"""

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from filelock import FileLock

FOLDER = Path(__file__).parent
# Folders of sources: TensorFlow's headers depend on its own flags; the arithmetic is for this very processor.
TENSORFLOW, COMPUTE = "tensorflow", "compute"  # the slow ones first
OFF = ("off", "0", "no", "false")


class BuildError(Exception):
    """Why the kernels are not available, in one clause."""


@functools.cache
def library() -> Any:
    """The module of the kernels' operations, or None where there are none.

    None is reported once, as a warning, with the reason; BLOCKS_KERNELS=off makes it None without one.
    """
    setting = os.environ.get("BLOCKS_KERNELS", "on").lower()
    if setting in OFF:
        return None
    import tensorflow as tf

    try:
        if setting != "on":
            raise BuildError(f"BLOCKS_KERNELS={setting!r} is not known: use on or off")
        path = _built(tf)
        try:
            return tf.load_op_library(str(path))
        except (tf.errors.OpError, OSError) as error:
            raise BuildError(f"{path} does not load: {_first_line(error)}") from error
    except (BuildError, OSError) as error:
        warnings.warn(
            f"The CPU kernels of blocks are not in use, because {error}. TensorFlow's own operations give the same "
            "results, more slowly. A release's wheel for Linux has them compiled; `zoo doctor` says more, and "
            "BLOCKS_KERNELS=off silences this warning.",
            stacklevel=2,
        )
        return None


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "grouped-convolution-zoo" / "kernels"


def warnings_file(library: Path) -> Path:
    """Where the compiler's warnings about a library are, if there were any."""
    return library.with_suffix(".warnings")


def sources(folder: str = "", suffixes: tuple[str, ...] = (".cc", ".h")) -> list[Path]:
    """The C++ files of `folder` and of those below it, sorted."""
    return sorted(path for path in (FOLDER / folder).rglob("*") if path.suffix in suffixes)


def _built(tf: Any) -> Path:
    """The library of this machine, compiled if it is not there yet. Raises BuildError."""
    if sys.platform not in ("linux", "darwin"):
        raise BuildError(f"they are not built on {sys.platform}")
    compiler = _compiler()
    path = cache_folder() / f"{_identity(tf, compiler)}.so"
    failure = path.with_suffix(".failed")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists() and not failure.exists():
                print("blocks: compiling CPU kernels, once for this machine ...", file=sys.stderr, flush=True)
                _compile(tf, compiler, path, failure)
    if not path.exists():
        raise BuildError(f"{compiler} could not compile them (see {failure}; delete it to try again)")
    if path.stat().st_uid != os.getuid():
        raise BuildError(f"{path} belongs to another user")
    return path


def _compiler() -> str:
    """The C++ compiler: CXX if set, else the usual names."""
    wanted = os.environ.get("CXX")
    compilers = [path for name in ([wanted] if wanted else ["g++", "clang++", "c++"]) if (path := shutil.which(name))]
    if not compilers:
        raise BuildError(f"there is no C++ compiler ({wanted or 'g++, clang++ or c++'} is not on PATH)")
    return compilers[0]


def _extra_flags() -> list[str]:
    """BLOCKS_KERNELS_FLAGS, split. Raises BuildError."""
    text = os.environ.get("BLOCKS_KERNELS_FLAGS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BuildError(f"BLOCKS_KERNELS_FLAGS={text!r} is not a shell's list of words: {error}") from None


def _identity(tf: Any, compiler: str) -> str:
    """A name for what a library depends on."""
    text = hashlib.sha256()
    for source in [*sources(), Path(__file__)]:
        text.update(f"{source.relative_to(FOLDER)}\0".encode() + source.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    flags = (processor_flags(), *_extra_flags())
    parts = (tf.__version__, tf.sysconfig.get_lib(), compiler, *flags, platform.machine())
    text.update(version + "\0".join(parts).encode())
    return text.hexdigest()[:24]


def processor_flags() -> str:
    """What the processor can do, as Linux names it: a home folder may be shared by unlike ones. psutil has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())


def _compile(tf: Any, compiler: str, path: Path, failure: Path) -> None:
    """Compile all files at once, link, and move the library to `path`; what goes wrong is written to `failure`.

    Warnings are for those who develop this: nobody sees them, but where there are some, they lie beside the library.
    """
    target = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    # No fast-math: it would link code that changes how the whole process rounds.
    headers = [flag.replace("-I", "-isystem", 1) for flag in tf.sysconfig.get_compile_flags()]  # without warnings
    flags = {
        TENSORFLOW: ["-O2", "-DNDEBUG", *headers],
        COMPUTE: ["-std=c++17", "-O3", target, "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"],
    }
    extra = _extra_flags()
    flags = {kind: [*options, *extra] for kind, options in flags.items()}
    if extra:  # else sanitizers: GCC does not take absl's constants for constant where it checks for null pointers
        flags[TENSORFLOW].append("-fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        jobs = []
        objects: list[str] = []
        for kind, options in flags.items():
            for source in sources(kind, (".cc",)):
                objects.append(f"{folder}/{len(objects)}.o")  # names of sources repeat
                command = [compiler, "-c", "-fPIC", "-Wall", "-Wextra", *options, str(source), "-o", objects[-1]]
                jobs.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace"))
        problems = [job.communicate()[1] for job in jobs]
        if not any(job.returncode for job in jobs):
            link = [compiler, "-shared", "-o", f"{folder}/library.so", *objects, *tf.sysconfig.get_link_flags(), *extra]
            done = subprocess.run(link, capture_output=True, text=True, errors="replace", check=False)
            problems.append(done.stderr)
            if done.returncode == 0:
                if any(problems):
                    warnings_file(path).write_text("\n".join(filter(None, problems)))
                os.replace(f"{folder}/library.so", path)
                return
    failure.write_text("\n".join(problems))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
