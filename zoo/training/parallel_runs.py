"""A sweep whose runs go on at the same time, each started by a worker of joblib: stopping it without losing a model.

joblib gives its workers up at the first KeyboardInterrupt, by SIGKILL to them and to all that they have started: a run
that saves its model then would lose it. And Ctrl-C reaches the workers too, of which one that waits for its next run
ends, with the same consequence. So such a sweep goes on in a process group of its own, where no signal reaches it; the
process that was started waits for it, and hands over the signal that it gets itself.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import psutil

from zoo.training.signals import interrupt, signal_of

RUN = "zoo.training.subprocess_run"  # the module that a run's process executes
GIVEN = dict(os.environ)  # before this program changes it: whether the user wants tracebacks is among it
BEHIND = "ZOO_SWEEP_BEHIND"  # set in the process group


def go_behind() -> None:
    """Return in the process group of its own, and end in the process that was started: with the exit code of the other.

    Raises:
        KeyboardInterrupt: this process was told to stop; the runs have saved their models.
    """
    if os.name != "posix":
        return
    if os.environ.get(BEHIND) == str(os.getppid()):
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        return
    process = subprocess.Popen(
        [sys.executable, *sys.argv],
        stdin=subprocess.PIPE,
        text=True,
        env=GIVEN | {BEHIND: str(os.getpid())},
        process_group=0,
    )
    assert process.stdin is not None  # a pipe
    stopped = None
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt as error:
            stopped = stopped or error
            with suppress(OSError, ValueError):  # it has ended, or has been told already
                process.stdin.write(f"{int(signal_of(stopped))}\n")
                process.stdin.close()
    raise interrupt(signal_of(stopped)) if stopped else SystemExit(process.returncode)


def _end_with_the_parent() -> None:
    """Wait for a signal's number or the end of standard input, stop the runs by it, and end the whole group."""
    number = int(sys.stdin.readline() or signal.SIGINT)
    runs = _runs()
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            run.send_signal(number)
    psutil.wait_procs(runs)
    os.killpg(0, signal.SIGKILL)  # the workers too: a run that one has begun since ends by itself


def _runs() -> list[psutil.Process]:
    runs = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if RUN in process.cmdline():
                runs.append(process)
    return runs
