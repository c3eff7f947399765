"""Whether a run that says "running" still is: its process is looked for, or its files are asked for their age."""

import contextlib
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psutil

CLOCK_SLACK = 60.0  # seconds by which two notes of one start may differ
SHORTEST_SILENCE = 3600.0  # seconds without a new row that mean nothing yet
EPOCHS_OF_SILENCE = 5  # nor do this many times the longest epoch
FIRST_SILENCE = 24 * 3600.0  # seconds, where no epoch has ended yet


def has_crashed(result: Mapping[str, Any], silence: float, longest_epoch: float | None) -> bool:
    """Whether a run with status "running" is gone.

    On this machine its process is looked for. A run of another machine, or one that does not name its process, counts
    as gone after a silence of an hour or of five of its epochs, whichever is longer; of a day before its first epoch.

    Args:
        result: what result.json says; `process` has host, pid and start.
        silence: seconds since the run last wrote.
        longest_epoch: seconds; None where no epoch has ended.
    """
    process = result.get("process") or {}
    pid, started = process.get("pid"), process.get("started")
    known = isinstance(pid, int) and not isinstance(pid, bool) and 0 < pid < 2**31
    if isinstance(pid, int) and known and process.get("host") == socket.gethostname():
        return not _alive(pid, started if isinstance(started, str) else None)
    if longest_epoch is None:
        return silence > FIRST_SILENCE
    return silence > max(SHORTEST_SILENCE, EPOCHS_OF_SILENCE * longest_epoch)


def _alive(pid: int, started: str | None) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        began = process.create_time()
    except psutil.ZombieProcess:
        return False
    except psutil.NoSuchProcess:
        return psutil.POSIX and _is_hidden(pid)
    except psutil.AccessDenied:
        return True
    if started is None:
        return True
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(started)
        # A run starts after its process does. A younger process has inherited the number.
        return moment.tzinfo is None or began <= moment.timestamp() + CLOCK_SLACK
    return True


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, which /proc, mounted with hidepid, does not show: another user's."""
    try:
        os.kill(pid, 0)  # asks only; on Windows it would end the process
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
