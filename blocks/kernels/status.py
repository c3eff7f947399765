"""Whether the kernels are in use, from which file, and if not, why: asked without compiling anything."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from blocks.kernels import build, compilation
from blocks.kernels.compilation import Request
from blocks.kernels.errors import BuildError

IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED = "in use", "off", "not compiled yet", "compiling", "not available"
STATES = (IN_USE, OFF, NOT_COMPILED, COMPILING, FAILED)


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
    setting: str = build.ON


def kernel_status() -> KernelStatus:
    """What is known of this machine's kernels; loads them where they are there, and compiles nothing.

    Example:
        >>> from blocks.kernels.status import STATES, kernel_status
        >>> kernel_status().state in STATES
        True
    """
    import tensorflow as tf

    setting = build._setting()
    try:
        compiler = build.compiler()
    except BuildError:
        compiler = None
    if setting in build.OFF:
        return KernelStatus(OFF, f"BLOCKS_KERNELS is {setting}", compiler=compiler, setting=setting)
    file = None
    try:
        build._checked(setting)
        target = build._target(tf)
        origin = "compiled" if isinstance(target, Request) else "prebuilt"
        file = Path(target.library) if isinstance(target, Request) else target
        if isinstance(target, Request) and not file.exists():
            if compilation.failed_file(file).exists():
                raise BuildError(build._failure(target))
            if (parts := compilation.progress(file)) is not None:
                reason = f"a process compiles them now: {parts[0]} of {parts[1]} parts done"
                return KernelStatus(COMPILING, reason, file=file, compiler=compiler, setting=setting)
            reason = "nothing has needed them yet"
            return KernelStatus(NOT_COMPILED, reason, file=file, compiler=compiler, setting=setting)
    except (BuildError, OSError) as error:
        return KernelStatus(FAILED, str(error), file=file, compiler=compiler, setting=setting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is in the state
        available = build.library() is not None
    if available:
        return KernelStatus(IN_USE, None, build.state.level, origin, build.state.path, compiler, setting)
    reason = build.state.reason or "they did not load"
    return KernelStatus(FAILED, reason, file=file, compiler=compiler, setting=setting)
