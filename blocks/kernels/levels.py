"""Levels: sets of instructions that the kernels' arithmetic is compiled for."""

import os
import platform
from pathlib import Path

from blocks.kernels.errors import BuildError

NATIVE = "native"  # this very processor
X86_64, AARCH64 = "x86_64", "aarch64"

# Flags of the compiler, and what the processor must have, as Linux names it; the lowest first. AMX has no level, as no
# kernel uses it.
FLAGS: dict[str, dict[str, tuple[str, ...]]] = {
    X86_64: {
        "avx2": ("-march=x86-64-v3",),
        "avx512": ("-march=x86-64-v4",),
        "avx512_bf16": ("-march=x86-64-v4", "-mavx512bf16"),
    },
    AARCH64: {"neon": ("-march=armv8-a",)},
}
_AVX2 = ("avx2", "fma", "bmi2")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
NEEDS: dict[str, tuple[str, ...]] = {
    "avx2": _AVX2,
    "avx512": _AVX512,
    "avx512_bf16": (*_AVX512, "avx512_bf16"),
    "neon": ("asimd",),
}


def machine() -> str:
    """The processor's architecture, by the name that `FLAGS` has."""
    names = {"amd64": X86_64, "arm64": AARCH64}
    return names.get(platform.machine().lower(), platform.machine().lower())


def processor_flags() -> str:
    """What the processor can do, as Linux names it: a home folder may be shared by unlike ones. psutil has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())


def flags(level: str) -> tuple[str, ...]:
    """Of the compiler, for a level of any architecture."""
    return next(known[level] for known in FLAGS.values() if level in known)


def available() -> list[str]:
    """The levels that this processor has, the lowest first."""
    has = processor_flags().split()
    return [level for level in FLAGS.get(machine(), {}) if all(flag in has for flag in NEEDS[level])]


def forced() -> str | None:
    """BLOCKS_KERNELS_LEVEL; None where it is not set.

    Raises:
        BuildError: there is no such level on this architecture, or this processor lacks it.
    """
    level = os.environ.get("BLOCKS_KERNELS_LEVEL", "").lower()
    if not level:
        return None
    own = available()
    allowed = f"use {', '.join([*own, NATIVE])}, or leave it out for the best"
    if level == NATIVE or level in own:
        return level
    if level in FLAGS.get(machine(), {}):
        lacking = [flag for flag in NEEDS[level] if flag not in processor_flags().split()]
        raise BuildError(f"BLOCKS_KERNELS_LEVEL={level} needs {lacking[0]}, which this processor lacks: {allowed}")
    raise BuildError(f"BLOCKS_KERNELS_LEVEL={level!r} is not known on {machine()}: {allowed}")
