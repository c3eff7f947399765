"""Signals that ask the program to end: Ctrl-C, a scheduler's SIGTERM, a closed terminal's SIGHUP; SIGUSR1 and SIGUSR2,
which SLURM sends before a job's time is over.

All of them end a run as Ctrl-C does: by KeyboardInterrupt, whose argument is the signal's name where it is another one.
"""

from __future__ import annotations

import atexit
import os
import signal
import stat
import sys
import threading
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
AGENT = "WANDB_SWEEP_ID"  # set by W&B's agent for the runs that it starts
Handler: TypeAlias = Callable[[int, types.FrameType | None], Any]


@dataclass
class _Program:
    """A program that a signal ends: the first one counts, whatever arrives while it is ending."""

    first: int | None = None


_program: _Program | None = None  # None in somebody else's program, which decides itself


def stop_on_signals() -> None:
    """Let the stopping signals raise KeyboardInterrupt, always of the first that arrived: for a program of ours.

    One that is ignored, as under nohup, stays ignored; one that Python drops in a finalizer is sent again.
    """
    global _program
    _program = _Program()
    sys.unraisablehook = _report_dropped
    for number in STOPPING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)
    if AGENT in os.environ:
        atexit.register(_end_by_signal)  # the first to be registered is the last to be called


def is_ours() -> bool:
    """Whether `stop_on_signals` was called: false in the worker of a launcher, which has its own ways of stopping."""
    return _program is not None


def first_of(number: int) -> int:
    """The signal that the program is being stopped by: `number` where it is the first."""
    if _program is None:
        return number
    _program.first = _program.first or number
    return _program.first


def send_again(number: int) -> threading.Timer:
    """Send a signal whose KeyboardInterrupt Python has dropped, as it does in finalizers, when that is done."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
    return timer


def ignore_signals(but: Collection[int] = ()) -> None:
    """Let nothing more stop the program, which is ending: another Ctrl-C would replace its exit code by a traceback.

    Python ends with the system's own handlers, by which the first signal kills it, unless they are ignored.

    Args:
        but: signals that may, for a program whose end could take long.
    """
    for number in STOPPING:
        if number not in but:
            signal.signal(number, signal.SIG_IGN)


def interrupt(number: int) -> KeyboardInterrupt:
    """What a signal is raised as."""
    return KeyboardInterrupt() if number == signal.SIGINT else KeyboardInterrupt(signal.Signals(number).name)


def signal_of(error: KeyboardInterrupt) -> signal.Signals:
    """The signal that `error` was raised for; shells expect the exit code 128 + its number."""
    name = error.args[0] if error.args else "SIGINT"
    return signal.Signals[name]


def handle(handler: Handler) -> dict[int, Handler]:
    """Set `handler` for the stopping signals, and return those that it replaced, for `restore`.

    A signal that is ignored, or that ends the program without Python, is left alone; so are all outside the main
    thread, which alone may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    replaced = {number: own for number, own in handlers.items() if callable(own)}
    try:
        for number in replaced:
            signal.signal(number, handler)
    except KeyboardInterrupt:  # of a signal that was still to be replaced
        restore(replaced)
        raise
    return replaced


def restore(replaced: dict[int, Handler]) -> None:
    """Set the handlers that `handle` replaced."""
    for number, handler in replaced.items():
        signal.signal(number, handler)


@dataclass
class Stop:
    """What a program is being stopped by: the first signal, whatever comes after it."""

    error: KeyboardInterrupt | None = None


@contextmanager
def deferred(doing: str) -> Iterator[Stop]:
    """Hold back the stopping signals until the block has ended; one line says so when the first arrives.

        with deferred("Saving model.keras") as stop:
            ...

    The block may set `stop.error` to a signal that it caught itself: another one that arrives later does not count.

    Raises:
        KeyboardInterrupt: after the block, if a signal arrived in it and the block did not raise.
    """
    stop = Stop()
    arrived: list[int] = []

    def remember(number: int, frame: object) -> None:
        leave_closed_terminal()
        if not arrived:
            with suppress(OSError):  # print may not be called in a handler: it could have interrupted a print
                os.write(2, f"\n{doing}: the program stops when that is done.\n".encode())
        arrived.append(first_of(number))

    replaced = handle(remember)
    try:
        yield stop
    finally:
        restore(replaced)
    if arrived:
        raise stop.error or interrupt(arrived[0])


def complete(doing: str, action: Callable[[], object]) -> None:
    """Call `action` once, whole, whatever signals arrive meanwhile or have just arrived: for what ends a program.

    Its own exceptions are raised; the signals are dropped, for the program is ending already.
    """
    done = False
    while not done:  # a signal may arrive before all of them are held back
        with suppress(KeyboardInterrupt), deferred(doing):
            action()
            done = True


def leave_closed_terminal() -> None:
    """Send output to the null device where the terminal has been closed: a print would raise, and end the saving."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)


def _end_by_signal() -> None:
    """End the program by the signal that stopped it, where W&B's agent has started it.

    To a shell that is the exit code 128 + its number all the same. The agent stops runs that do not look promising; it
    counts every exit code above 0 as a failure, and gives up where the first five runs have failed.
    """
    if _program is not None and _program.first is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        signal.signal(_program.first, signal.SIG_DFL)
        os.kill(os.getpid(), _program.first)


def _report_dropped(dropped: sys.UnraisableHookArgs) -> None:
    if _program is not None and _program.first is not None and issubclass(dropped.exc_type, KeyboardInterrupt):
        send_again(_program.first)
    else:
        sys.__unraisablehook__(dropped)


def _stop(number: int, frame: object) -> None:
    leave_closed_terminal()
    raise interrupt(first_of(number))
