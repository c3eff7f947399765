"""Where a run took place: the source's git commit, the packages' versions, the process and its peak memory."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

GIT_TIMEOUT_SECONDS = 10

# TensorFlow is published under several names, of which a machine has one.
TENSORFLOW_PACKAGES = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-intel", "tensorflow-macos")

DISTRIBUTION = "grouped-convolution-zoo"  # what pip calls this project

# versions() does not list these; they read and scale images.
PACKAGES = (DISTRIBUTION, "tensorflow-datasets", "pillow", "scikit-learn")

VARIABLES = (
    *("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "TF_XLA_FLAGS", "XLA_FLAGS"),
    *("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"),
    *("TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "NVIDIA_TF32_OVERRIDE"),
)

# Below this, a "key" is a typing error whose letters would be cut out of every text.
SECRET_LENGTH = 8


def git_commit(path: Path) -> str | None:
    """The full hash of the commit that the repository around `path` is at; None without git or commits."""
    return _git(path, "rev-parse", "--verify", "HEAD")


def git_dirty(path: Path) -> bool | None:
    """Whether tracked files differ from the commit; None where there is no commit to differ from."""
    if git_commit(path) is None:
        return None
    changes = _git(path, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)


def git_changes(path: Path) -> str | None:
    """SHA-256 of how tracked files differ from the commit; None where they do not, or there is no commit."""
    changes = _git(path, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
    return hashlib.sha256(changes.encode("utf-8", "surrogateescape")).hexdigest() if changes else None


def source(path: Path) -> dict[str, str | bool | None]:
    """What the sources around `path` are: `commit`, whether they are `dirty`, and a hash of their `changes`."""
    return {"commit": git_commit(path), "dirty": git_dirty(path), "changes": git_changes(path)}


def process() -> dict[str, str | int]:
    """This process and the time, in UTC: whoever reads it later can tell whether the process still runs."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def resident_memory_bytes() -> int | None:
    """The resident memory of this process now, in bytes; None but on Linux."""
    return _linux_memory("VmRSS")


def reset_peak_memory() -> bool:
    """Makes `peak_memory_bytes` start anew, so that runs of one process do not see each other's.

    Returns whether the system can: Linux alone does.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int:
    """The most resident memory this process has had, in bytes.

    On Linux since `reset_peak_memory`, elsewhere since the process began. Memory of a GPU and of child processes
    is not in it.
    """
    if (peak := _linux_memory("VmHWM")) is not None:
        return peak
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, other systems KiB


def _linux_memory(field: str) -> int | None:
    """A size from /proc/self/status in bytes; None where there is no such file or line.

    psutil 7 knows no peak on Linux, and the interpreter of a benchmark's other side may have no psutil.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if match := re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE):
            return int(match[1]) * 1024
    return None


def cache_folder() -> Path:
    """This project's in the user's cache folder. A relative XDG_CACHE_HOME does not count, as its specification says.

    Example:
        >>> from zoo.environment import cache_folder
        >>> cache_folder().name
        'grouped-convolution-zoo'
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    folder = root if os.path.isabs(root) else os.path.join(os.path.expanduser("~"), ".cache")
    return Path(folder) / "grouped-convolution-zoo"


def versions() -> dict[str, str | None]:
    """Versions of Python, TensorFlow, Keras and NumPy, without importing them; None where one is missing."""
    return {
        "python": platform.python_version(),
        "tensorflow": next(filter(None, map(_version, TENSORFLOW_PACKAGES)), None),
        "keras": _version("keras"),
        "numpy": _version("numpy"),
    }


def packages() -> dict[str, str]:
    """Versions of this package and of those that read images, where they are installed."""
    return {name: version for name in PACKAGES if (version := _version(name)) is not None}


def own_version() -> str | None:
    """The version of this project as it is installed; None in a copy that is not."""
    return _version(DISTRIBUTION)


def variables() -> dict[str, str]:
    """The environment variables that are set and change how TensorFlow computes."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def redact(text: str, secrets: Iterable[str | None] = ()) -> str:
    """`text` with `***` for W&B's API key, as far as the environment has it, and for each of `secrets`."""
    for secret in (os.environ.get("WANDB_API_KEY"), *secrets):
        if secret and len(secret) >= SECRET_LENGTH:
            text = text.replace(secret, "***")
    return text


def _git(path: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(path), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git, no repository, no commit, or a repository that git refuses to trust
    return done.stdout.decode("utf-8", "surrogateescape").strip()  # a difference may be in any encoding


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
