"""The kernels' library for this machine and TensorFlow: one that came with the package, else one that is compiled once.

A compiled library lies in the user's cache folder (XDG_CACHE_HOME, or ~/.cache) under a name made of everything that it
depends on: these sources, TensorFlow, the compiler, its flags and the processor. It is compiled in the background: a
process that has begun on TensorFlow's operations stays on them, and those that start later use the kernels.

Environment variables:
    BLOCKS_KERNELS: off leaves the kernels out; wait compiles them before the first operation, where they have to be
        compiled; on, the default, compiles them in the background.
    BLOCKS_KERNELS_LEVEL: the instructions to use, a name of `levels.FLAGS` or native; the best are the default.
    BLOCKS_KERNELS_FLAGS: more flags for compiler and linker, behind those below, in a shell's notation; a sanitizer's,
        say. A library with other flags has another name: neither is taken for the other.
    CXX: the C++ compiler.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.kernels import background, compilation, levels, prebuilt, sources
from blocks.kernels.compilation import Request, failed_file
from blocks.kernels.errors import BuildError

OFF = ("off", "0", "no", "false")
ON, WAIT = "on", "wait"
COMMON_FLAGS = ("-fPIC", "-Wall", "-Wextra")
COMPILING = "blocks: compiling CPU kernels, once for this machine"


@dataclass
class State:
    """What this process computes with. It is decided once: by `library`, at the first operation.

    path, level: of the kernels that are in use.
    reason: why there are none, in one clause; None where nothing has been decided, or BLOCKS_KERNELS=off.
    """

    path: Path | None = None
    level: str | None = None
    reason: str | None = None


state = State()
_started: set[str] = set()  # libraries whose compilation this process has begun, or waits for


@functools.cache
def library() -> Any:
    """The module of the kernels' operations, or None where there are none in this process.

    None is reported once, with the reason: as a warning, or as a line where they are being compiled. BLOCKS_KERNELS=off
    makes it None without one.
    """
    setting = kernel_setting()
    if setting in OFF:
        return None
    import tensorflow as tf

    try:
        path = _available(tf, checked_setting(setting))
        return None if path is None else _loaded(tf, path)
    except (BuildError, OSError) as error:
        state.reason = str(error)
        warnings.warn(
            f"The CPU kernels of blocks are not in use, because {error}. TensorFlow's own operations give the same "
            "results, more slowly. A release's wheel for Linux has them compiled; `zoo doctor` says more, and "
            "BLOCKS_KERNELS=off silences this warning.",
            stacklevel=2,
        )
        return None


@functools.cache
def prepare() -> None:
    """Begin to compile in the background, where that is needed: early, since a layer was built. Decides nothing, and
    leaves what is wrong to `library`.
    """
    if kernel_setting() != ON:
        return
    import tensorflow as tf

    with contextlib.suppress(BuildError, OSError):
        target = kernel_target(tf)
        if isinstance(target, Request) and _is_missing(Path(target.library)):
            _start(target)


def cache_folder() -> Path:
    """Where compiled kernels are kept. A relative XDG_CACHE_HOME does not count, as its specification says."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    folder = root if os.path.isabs(root) else os.path.join(os.path.expanduser("~"), ".cache")
    return Path(folder) / "grouped-convolution-zoo" / "kernels"


def compiled(tf: Any) -> Path:
    """The library of this machine, compiled now if it never was, whatever the package brings. Raises BuildError."""
    request = _request(tf, levels.forced() or levels.NATIVE)
    path = Path(request.library)
    if _is_missing(path):
        _compile_now(request)
    return _checked_library(request)


def compiler() -> str:
    """The C++ compiler: CXX if set, else the usual names. Raises BuildError."""
    wanted = os.environ.get("CXX")
    compilers = [path for name in ([wanted] if wanted else ["g++", "clang++", "c++"]) if (path := shutil.which(name))]
    if not compilers:
        raise BuildError(f"there is no C++ compiler ({wanted or 'g++, clang++ or c++'} is not on PATH)")
    return compilers[0]


def kernel_setting() -> str:
    """BLOCKS_KERNELS, which `zoo.tensorflow_process` sets to wait where a run's results shall not depend on luck."""
    return os.environ.get("BLOCKS_KERNELS", ON).lower()


def checked_setting(setting: str) -> str:
    if setting not in (ON, WAIT):
        raise BuildError(f"BLOCKS_KERNELS={setting!r} is not known: use {ON}, {WAIT} or off")
    return setting


def kernel_target(tf: Any) -> Path | Request:
    """What came with the package, or what is to be compiled. Raises BuildError."""
    level = levels.forced()
    if not os.environ.get("BLOCKS_KERNELS_FLAGS") and (path := prebuilt.suitable(tf.__version__, level)):
        return path
    return _request(tf, level or levels.NATIVE)


def _available(tf: Any, setting: str) -> Path | None:
    """The library, if it is there or this process waits for it. None: it is being compiled. Raises BuildError."""
    target = kernel_target(tf)
    if isinstance(target, Path):
        return target
    library = Path(target.library)
    if setting == ON and _is_missing(library):
        _start(target)
        done, parts = compilation.progress(library) or (0, 0)
        where = f", {done} of {parts} parts done" if parts else ""
        state.reason = "they are being compiled"
        print(
            f"{COMPILING}, in the background{where}; this process computes without them, the same more slowly, and "
            "those that start later use them. BLOCKS_KERNELS=wait waits for them.",
            file=sys.stderr,
            flush=True,
        )
        return None
    if _is_missing(library):
        _compile_now(target)
    return _checked_library(target)


def _start(request: Request) -> None:
    """In the background, once."""
    if request.library in _started:
        return

    def failed() -> None:
        print(f"blocks: there will be no CPU kernels, because {_failure(request)}.", file=sys.stderr, flush=True)

    background.start(request, failed)
    _started.add(request.library)


def _compile_now(request: Request) -> None:
    """In this process, or by waiting for the one that does it."""
    if progress := compilation.progress(Path(request.library)):
        done, parts = progress
        print(
            f"blocks: another process compiles the CPU kernels, {done} of {parts} parts done: waiting for it ...",
            file=sys.stderr,
            flush=True,
        )
    else:
        print(f"{COMPILING} ...", file=sys.stderr, flush=True)
    is_terminal = sys.stderr.isatty()

    def report(done: int, parts: int) -> None:
        if is_terminal:
            print(f"\r  {done} of {parts} parts", end="\n" if done == parts else "", file=sys.stderr, flush=True)

    compilation.compile_library(request, report)


def _is_missing(library: Path) -> bool:
    """Whether nobody has compiled it, or tried to."""
    return not library.exists() and not failed_file(library).exists()


def _failure(request: Request) -> str:
    failure = failed_file(Path(request.library))
    if failure.exists():
        return f"{request.compiler} could not compile them (see {failure}; delete it to try again)"
    return "their compilation was interrupted; the next process tries again"


def _checked_library(request: Request) -> Path:
    path = Path(request.library)
    if not path.exists():
        raise BuildError(_failure(request))
    if path.stat().st_uid != os.getuid():
        raise BuildError(f"{path} belongs to another user")
    return path


def _loaded(tf: Any, path: Path) -> Any:
    """The operations, and the level chosen. Raises BuildError."""
    try:
        operations = tf.load_op_library(str(path))
    except (tf.errors.OpError, OSError) as error:
        raise BuildError(f"{path} does not load: {_first_line(error)}") from error
    choose = ctypes.CDLL(str(path)).blocks_choose_level
    choose.argtypes, choose.restype = [ctypes.c_char_p], ctypes.c_char_p
    level = levels.forced() or ""
    chosen = choose(level.encode())
    if chosen is None:
        raise BuildError(f"the processor lacks what the level {level or 'that is lowest'} of {path} needs")
    state.path, state.level = path, chosen.decode()
    return operations


def _extra_flags() -> list[str]:
    """BLOCKS_KERNELS_FLAGS, split. Raises BuildError."""
    text = os.environ.get("BLOCKS_KERNELS_FLAGS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BuildError(f"BLOCKS_KERNELS_FLAGS={text!r} is not a shell's list of words: {error}") from None


def _request(tf: Any, level: str) -> Request:
    """The library for this machine, TensorFlow and compiler. Raises BuildError."""
    if sys.platform not in ("linux", "darwin"):
        raise BuildError(f"they are not built on {sys.platform}")
    program, extra = compiler(), _extra_flags()
    operations = operation_flags(tf.sysconfig.get_compile_flags(), [level])
    arithmetic = arithmetic_flags(level)
    operations, arithmetic = [*operations, *extra], [*arithmetic, *extra]
    if extra:  # else sanitizers: GCC does not take absl's constants for constant where it checks for null pointers
        operations.append("-fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute")
    parts = [(unit.text(), arithmetic if unit.is_arithmetic else operations) for unit in sources.units()]
    folder = cache_folder()
    if not folder.is_absolute():  # ~, which stands for nothing
        raise BuildError("there is no folder for them: this user has no home, and XDG_CACHE_HOME names none")
    path = folder / f"{_identity(tf, program, level)}.so"
    return Request(program, parts, [*tf.sysconfig.get_link_flags(), *extra], str(path))


def operation_flags(tensorflow_flags: list[str], linked: Sequence[str]) -> list[str]:
    """Of the compiler, for what is not arithmetic: it runs on any processor, and knows the levels that are `linked`,
    the lowest first.
    """
    headers = [flag.replace("-I", "-isystem", 1) for flag in tensorflow_flags]  # without warnings
    names = " ".join(f"LEVEL({level})" for level in linked)
    return [*COMMON_FLAGS, "-O1", "-DNDEBUG", *headers, f"-DBLOCKS_LEVELS(LEVEL)={names}"]


def arithmetic_flags(level: str) -> list[str]:
    """Of the compiler, for the kernels themselves."""
    native = ("-mcpu=native",) if levels.machine() == levels.AARCH64 else ("-march=native",)
    target = native if level == levels.NATIVE else levels.flags(level)
    # Lambdas of kernels hold what is in anonymous namespaces, which GCC minds in a file that is included alone.
    flags = [*COMMON_FLAGS, "-Wno-subobject-linkage", "-std=c++17", "-O3", *target, f"-DBLOCKS_LEVEL={level}"]
    # No fast-math: it would link code that changes how the whole process rounds.
    return [*flags, "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]


def _identity(tf: Any, program: str, level: str = levels.NATIVE) -> str:
    """A name for what a library depends on."""
    text = hashlib.sha256(sources.digest().encode())
    for name in ("build.py", "compilation.py", "levels.py", "sources.py"):  # flags, and what is compiled together
        text.update((Path(__file__).parent / name).read_bytes())
    version = subprocess.run([program, "--version"], capture_output=True, check=False).stdout
    flags = (levels.processor_flags(), *_extra_flags())
    parts = (tf.__version__, tf.sysconfig.get_lib(), program, level, *flags, levels.machine())
    text.update(version + "\0".join(parts).encode())
    return text.hexdigest()[:24]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
