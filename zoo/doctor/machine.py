"""The machine: system, processor, cores, memory, C library, encoding, clock."""

from __future__ import annotations

import locale
import os
import platform
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from zoo import hardware
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, shown, size_text

# Of those that change which code runs; all are in `data`.
TELLING = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
LITTLE_MEMORY = 2 * 2**30  # bytes: a training step of ResNeXt-50 with TensorFlow and the images takes about as much
CLOCK_SLACK_SECONDS = 24 * 3600


def system() -> Iterator[Row]:
    """The operating system and its C library."""
    name, release = platform.system(), platform.release()
    described = platform.freedesktop_os_release().get("PRETTY_NAME", "") if _has_os_release() else platform.version()
    machine = platform.machine()
    data = {"system": name, "release": release, "distribution": described, "machine": machine}
    text = shown(f"{described or name} ({name} {release}, {machine})")
    if name in ("Linux", "Darwin"):
        yield Row("machine.system", OK, text, None, data)
    else:
        yield Row("machine.system", NOTE, text, "The CPU kernels are for Linux and macOS; the rest runs here.", data)
    library, version = platform.libc_ver()
    text = shown(f"{library} {version}") if library else "not the GNU C library"
    yield Row("machine.libc", OK, text, None, {"library": library or None, "version": version or None})


def processor() -> Iterator[Row]:
    """The processor and its instructions."""
    name, instructions = hardware.processor(), hardware.instructions()
    telling = [each for each in TELLING if each in instructions]
    data = {"name": name, "instructions": instructions}
    if not instructions:
        yield Row("machine.processor", NOTE, f"{shown(name)} (the system does not list its instructions)", None, data)
        return
    text = f"{shown(name)} ({', '.join(telling) or 'no vector instructions that matter'})"
    if platform.machine() in ("x86_64", "AMD64") and "avx" not in instructions:
        yield Row("machine.processor", PROBLEM, text, "TensorFlow's wheels need AVX: use another machine.", data)
    else:
        yield Row("machine.processor", OK, text, None, data)


def cores() -> Iterator[Row]:
    """Cores that this process may use."""
    usable, total, quota = hardware.cores(), os.cpu_count(), hardware.processor_quota()
    data = {"usable": usable, "total": total, "quota": quota}
    text = f"{usable} of {total}"
    if quota is not None and quota < usable:
        count = max(1, int(quota))
        remedy = f"TF_NUM_INTRAOP_THREADS={count} avoids threads that wait for each other's time."
        yield Row("machine.cores", NOTE, f"{text}, with the time of {quota:g} (control group)", remedy, data)
    else:
        yield Row("machine.cores", OK, text, None, data)


def memory() -> Iterator[Row]:
    """Memory of the machine, and what is left of it."""
    import psutil

    state = psutil.virtual_memory()
    limit = hardware.memory_limit_bytes()
    limit = None if limit is None or limit >= state.total else limit
    free = state.available if limit is None else min(state.available, limit)
    data = {"total_bytes": state.total, "available_bytes": state.available, "limit_bytes": limit}
    text = f"{size_text(state.total)}, {size_text(state.available)} available"
    text += f", limited to {size_text(limit)} (control group)" if limit is not None else ""
    if free < LITTLE_MEMORY:
        remedy = "Close other programs, or train with a smaller recipe.batch_size."
        yield Row("machine.memory", NOTE, text, remedy, data)
    else:
        yield Row("machine.memory", OK, text, None, data)


def encoding() -> Iterator[Row]:
    """How names of files and text are encoded."""
    files, text_encoding = sys.getfilesystemencoding(), locale.getpreferredencoding(False)
    # rich puts something without an encoding before it, while it shows that something goes on.
    output = next((name for file in (sys.stdout, sys.__stdout__) if (name := getattr(file, "encoding", None))), None)
    language = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), None)
    data = {"files": files, "text": text_encoding, "output": output, "locale": language}
    text = shown(f"files {files}, text {text_encoding}, output {output}, locale {language or 'not set'}")
    if {"ascii", "us-ascii", "ansi_x3.4-1968"} & {files.lower(), text_encoding.lower()}:
        remedy = "Set LANG=C.UTF-8, or PYTHONUTF8=1, for names of files and classes in other letters than a to z."
        yield Row("machine.encoding", NOTE, text, remedy, data)
    else:
        yield Row("machine.encoding", OK, text, None, data)


def clock(now: float | None = None) -> Iterator[Row]:
    """The time; one before this program's files were written is wrong, and certificates are not valid then."""
    now = time.time() if now is None else now
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    data = {"utc": moment, "zone": time.tzname[0]}
    if now < Path(__file__).stat().st_mtime - CLOCK_SLACK_SECONDS:
        remedy = "Set the clock: with a wrong one downloads fail, since certificates seem not to be valid yet."
        yield Row("machine.clock", PROBLEM, f"{moment}, earlier than this program was installed", remedy, data)
    else:
        yield Row("machine.clock", OK, f"{moment} (UTC)", None, data)


def _has_os_release() -> bool:
    try:
        return bool(platform.freedesktop_os_release())
    except OSError:
        return False
