"""How busy the machine is: by other programs before a measurement, and beside it. Imports no framework."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

QUIET = 0.1  # share of the processors that other programs may use without disturbing a measurement much


def busy_share(seconds: float = 0.5) -> float:
    """Which share of the processors is at work, whoever uses it.

    Asked while all contenders wait, it says how much other programs disturb a measurement.

    Example:
        >>> from zoo.benchmarking.load import busy_share
        >>> 0 <= busy_share(0.01) <= 1
        True
    """
    return psutil.cpu_percent(seconds) / 100


class Load:
    """Which share of the processors other programs use from now on.

    Args:
        pids: of the processes that measure, and of this one.

    Example:
        >>> import os
        >>> from zoo.benchmarking.load import Load
        >>> 0 <= Load([os.getpid()]).others() <= 1
        True
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, and the table says so
                self._processes.append(psutil.Process(pid))
        self._busy, self._total = _seconds()
        self._used = [_used(process) for process in self._processes]

    def others(self) -> float:
        """The share since this object was made."""
        busy, total = _seconds()
        own = sum(
            max(0.0, _used(process) - before) for process, before in zip(self._processes, self._used, strict=True)
        )
        elapsed = total - self._total
        return min(1.0, max(0.0, (busy - self._busy - own) / elapsed)) if elapsed > 0 else 0.0


def _seconds() -> tuple[float, float]:
    """Of all processors since the machine was started: at work, and in all."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user and nice too
    total = sum(times) - guests
    return total - idle, total


def _used(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return times.user + times.system
    return 0.0
