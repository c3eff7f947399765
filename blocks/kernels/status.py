"""Whether the kernels are in use, from which file, and if not, why: asked without compiling anything."""

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from blocks.kernels import build, compilation, levels
from blocks.kernels.build import checked_setting, kernel_setting, kernel_target
from blocks.kernels.errors import BuildError

IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED = "in use", "off", "not compiled yet", "compiling", "not available"
STATES = (IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED)
COMPILED, PREBUILT = "compiled", "prebuilt"


@dataclass(frozen=True)
class KernelStatus:
    """What is known of the kernels.

    state: one of STATES. "not compiled yet" says that the first layer that needs them will compile them.
    reason: why they are not in use, as a clause; None where they are.
    level: the instructions that are used, a name of `levels.FLAGS` or native; None where the kernels are not in use.
    available: the levels that this processor has, the lowest first.
    origin: COMPILED on this machine or PREBUILT in the package; None where no library is there.
    file: the library, or where it will be; None where that is not known.
    compiler: the C++ compiler that is there; None where there is none.
    setting: of BLOCKS_KERNELS.
    progress: how many parts are compiled, and of how many, while a process compiles them.
    """

    state: str
    reason: str | None = None
    level: str | None = None
    available: tuple[str, ...] = ()
    origin: str | None = None
    file: Path | None = None
    compiler: str | None = None
    setting: str = build.ON
    progress: tuple[int, int] | None = None


def kernel_status() -> KernelStatus:
    """What is known of this machine's kernels; loads them where they are there, and compiles nothing.

    Example:
        >>> from blocks.kernels.status import STATES, kernel_status
        >>> kernel_status().state in STATES
        True
    """
    setting, available = kernel_setting(), tuple(levels.available())
    compiler = path = None
    with contextlib.suppress(BuildError):
        compiler = build.compiler()

    def status(state: str, reason: str | None, **more: object) -> KernelStatus:
        facts = {"available": available, "file": path, "compiler": compiler, "setting": setting}
        return KernelStatus(state, reason, **(facts | more))  # type: ignore[arg-type]  # of the fields' own types

    if setting in build.OFF:
        return status(OFF, f"BLOCKS_KERNELS is {setting}")
    notices = io.StringIO()  # of kernels in the package that are not used
    try:
        checked_setting(setting)
        import tensorflow as tf

        with contextlib.redirect_stderr(notices):
            target = kernel_target(tf)
        origin = PREBUILT if isinstance(target, Path) else COMPILED
        path = target if isinstance(target, Path) else Path(target.library)
        failure = compilation.failed_file(path)
        if not path.exists() and failure.exists():
            raise BuildError(f"{compiler} could not compile them (see {failure}; delete it to try again)")
        if not path.exists():
            progress = _progress(path)
            if progress is not None:
                return status(COMPILING, f"{progress[0]} of {progress[1]} parts are compiled", progress=progress)
            return status(NOT_COMPILED, " ".join(["nothing has needed them yet", *notices.getvalue().split()]))
    except (BuildError, OSError) as error:
        return status(FAILED, str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is asked for below
        loaded = build.library() is not None
    if loaded:
        return status(IN_USE, None, level=build.state.level, origin=origin, file=build.state.path)
    return status(FAILED, build.state.reason or "they did not load", origin=origin)


def _progress(library: Path) -> tuple[int, int] | None:
    """As `compilation.progress`; asked only where there is a lock, for asking creates it."""
    if not os.path.exists(compilation.lock_of(library).lock_file):
        return None
    return compilation.progress(library)
