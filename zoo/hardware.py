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
    """Whether the CPU kernels of `blocks` are in use. They are compiled now if they have never been."""
    if _backend() != "tensorflow":
        return False
    from blocks.kernels.build import library

    return library() is not None


def processor() -> str:
    """The processor's name as the system gives it; psutil does not know it."""
    if match := re.search(r"^model name\s*:\s*(\S.*)$", _cpuinfo(), re.MULTILINE):
        return match[1].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode == 0:
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Which of `INSTRUCTIONS` the processor offers; empty where the system does not say."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    available = match[1].split() if match else []
    return [name for name in INSTRUCTIONS if name in available]


def _cpuinfo() -> str:
    """What Linux says of the processors; empty elsewhere. Read without `blocks`, which imports TensorFlow."""
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return ""


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


def accelerators() -> list[str]:
    """Names of the GPUs that TensorFlow uses; empty where it computes on the CPU."""
    if _backend() != "tensorflow":
        return []
    import tensorflow as tf

    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(each).get("device_name", each.name) for each in devices]


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _as_count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
