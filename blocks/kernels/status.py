"""Whether the kernels are in use, from which file, and if not, why: asked without compiling anything."""

import os
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from blocks.kernels.build import OFF as SETTINGS_OFF
from blocks.kernels.build import BuildError, _compiler, _identity, cache_folder, library

IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED = "in use", "off", "not compiled yet", "compiling", "not available"
STATES = (IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED)
LEVEL = "native"  # they are compiled for the very processor


@dataclass(frozen=True)
class KernelStatus:
    """What is known of the kernels.

    state: one of STATES. "not compiled yet" says that the first layer that needs them will compile them.
    reason: why they are not in use, as a clause; None where they are.
    level: the instructions that they are compiled for; None where they are not in use.
    origin: "compiled" on this machine or "prebuilt"; None where they are not in use.
    file: the library, or where it will be; None where that is not known.
    compiler: the C++ compiler that is there; None where there is none.
    setting: of BLOCKS_KERNELS.
    """

    state: str
    reason: str | None = None
    level: str | None = None
    origin: str | None = None
    file: Path | None = None
    compiler: str | None = None
    setting: str = "on"


def kernel_status() -> KernelStatus:
    """What is known of this machine's kernels; loads them where they are compiled, and compiles nothing.

    Example:
        >>> from blocks.kernels.status import STATES, kernel_status
        >>> kernel_status().state in STATES
        True
    """
    import tensorflow as tf

    setting = os.environ.get("BLOCKS_KERNELS", "on").lower()
    compiler = path = None
    state = reason = ""
    try:
        with suppress(BuildError):
            compiler = _compiler()
        if setting in SETTINGS_OFF:
            return KernelStatus(OFF, f"BLOCKS_KERNELS is {setting}", compiler=compiler, setting=setting)
        if setting != "on":
            raise BuildError(f"BLOCKS_KERNELS={setting!r} is not known: use on or off")
        if sys.platform not in ("linux", "darwin"):
            raise BuildError(f"they are not built on {sys.platform}")
        path = cache_folder() / f"{_identity(tf, _compiler())}.so"
        failure = path.with_suffix(".failed")
        if not path.exists() and failure.exists():
            raise BuildError(f"{compiler} could not compile them (see {failure}; delete it to try again)")
        if not path.exists():
            compiling = _is_locked(path.with_suffix(".lock"))
            state = COMPILING if compiling else NOT_COMPILED
            reason = "another process compiles them now" if compiling else "nothing has needed them yet"
    except (BuildError, OSError) as error:
        state, reason = FAILED, str(error)
    if state:
        return KernelStatus(state, reason, file=path, compiler=compiler, setting=setting)
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        available = library() is not None
    if available:
        return KernelStatus(IN_USE, None, LEVEL, "compiled", path, compiler, setting)
    sentence = next((str(each.message) for each in reported if "because" in str(each.message)), "")
    reason_given = sentence.partition("because ")[2].partition(". TensorFlow's own")[0]
    return KernelStatus(FAILED, reason_given or "they did not load", file=path, compiler=compiler, setting=setting)


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock; asked only of one that exists, for asking would create it."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
