"""What a run computes on: backend, kernels, processor with its instructions and threads, accelerators."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# Sets of instructions that TensorFlow, oneDNN and the kernels of `blocks` choose code by, as Linux names them.
INSTRUCTIONS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)

CGROUPS = Path("/sys/fs/cgroup")
NVIDIA = Path("/proc/driver/nvidia/version")


def described() -> dict[str, Any]:
    """All of this module but `kernels`, as `result.json` has it."""
    return {
        "backend": _backend(),
        "processor": processor(),
        "instructions": instructions(),
        "threads": threads(),
        "accelerators": accelerators(),
    }


def kernels() -> bool:
    """Whether the CPU kernels of `blocks` are in use in this process, which is decided now if it has not been."""
    if _backend() != "tensorflow":
        return False
    from blocks.kernels.build import library

    return library() is not None


def kernel_facts() -> dict[str, Any]:
    """As `result.json` has it: `kernels`, and the set of instructions that they are compiled for, None without them."""
    in_use = kernels()
    if not in_use:
        return {"kernels": False, "kernel_level": None}
    from blocks.kernels.build import state

    return {"kernels": True, "kernel_level": state.level}


def processor() -> str:
    """The processor's name as the system gives it; psutil does not know it."""
    if name := _cpuinfo("model name"):
        return name
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode == 0:
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Which of `INSTRUCTIONS` the processor offers; empty where the system does not say."""
    available = _cpuinfo("flags|Features").split()  # not `blocks.kernels.levels`: `blocks` needs TensorFlow
    return [name for name in INSTRUCTIONS if name in available]


def threads() -> int:
    """Threads that one operation may use."""
    configured = 0
    if _backend() == "tensorflow":
        import tensorflow as tf

        configured = tf.config.threading.get_intra_op_parallelism_threads()
    configured = configured or _as_count(os.environ.get("TF_NUM_INTRAOP_THREADS"))
    return configured or cores()


def cores() -> int:
    """Cores, as the system counts them, that this process may run on; psutil's `cpu_affinity` is no more portable."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_quota(root: Path = CGROUPS) -> float | None:
    """Cores' worth of time that this process's control groups grant it, 1.5 say; None where nothing limits it.

    A container's limit (`docker run --cpus`, Kubernetes) is a share of time, which TensorFlow does not see: it starts a
    thread for each core. Source: cgroups(7), cpu.max of version 2, cpu.cfs_quota_us and cpu.cfs_period_us of version 1.
    """
    quotas = []
    for folder in _cgroup_folders(root):
        if maximum := _words(folder / "cpu.max"):
            quotas.append(maximum)
        elif (quota := _words(folder / "cpu.cfs_quota_us")) and (period := _words(folder / "cpu.cfs_period_us")):
            quotas.append([*quota, *period])
    shares = [int(quota) / int(period) for quota, period in quotas if quota.isdecimal() and int(period)]
    return min(shares, default=None)


def memory_limit_bytes(root: Path = CGROUPS) -> int | None:
    """The memory that this process's control groups grant it, in bytes; None where nothing limits it."""
    limits = []
    for folder in _cgroup_folders(root):
        limits += _words(folder / "memory.max") + _words(folder / "memory.limit_in_bytes")
    # Version 1 has a number of the size of the address space where there is no limit.
    return min((int(limit) for limit in limits if limit.isdecimal() and int(limit) < 2**60), default=None)


def nvidia_driver(file: Path = NVIDIA) -> str | None:
    """The version of NVIDIA's kernel module; None where it is not loaded."""
    with suppress(OSError):
        if match := re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", file.read_text()):
            return match[1]
    return None


def accelerators() -> list[str]:
    """Names of the GPUs that TensorFlow uses; empty where it computes on the CPU."""
    if _backend() != "tensorflow":
        return []
    import tensorflow as tf

    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(each).get("device_name", each.name) for each in devices]


def _cpuinfo(field: str) -> str:
    """The first line of /proc/cpuinfo that has this name (a regular expression); empty where there is none."""
    with suppress(OSError):
        if match := re.search(rf"^(?:{field})\s*:\s*(\S.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return match[1].strip()
    return ""


def _cgroup_folders(root: Path) -> list[Path]:
    """Folders of the control groups that this process is in, and of those around them."""
    folders = [root, root / "cpu", root / "memory"]  # of a container, where the paths below may be the host's
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for top in {root, *(root / name for name in controllers.split(",") if name)}:
                inner = top / path.strip("/")
                folders += [inner, *(outer for outer in inner.parents if top in outer.parents)]
    return list(dict.fromkeys(folders))


def _words(path: Path) -> list[str]:
    """The words of a file; none where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _as_count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
