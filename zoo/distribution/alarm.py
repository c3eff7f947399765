"""A bound on what can neither be interrupted nor ended from within this process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

WATCH = """
import os, select, signal, sys
seconds, sentence, process = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if not select.select([0], [], [], seconds)[0]:
    print(sentence, file=sys.stderr, flush=True)
    os.kill(process, signal.SIGKILL)
"""


@contextmanager
def bounded(seconds: float, sentence: str) -> Iterator[None]:
    """Let another process say `sentence` and kill this one unless the block ends within `seconds`.

    TensorFlow connects workers in one call that holds Python's lock, waits for ever and heeds no signal.

    Example:
        >>> from zoo.distribution.alarm import bounded
        >>> with bounded(60, "It takes too long."):
        ...     pass
    """
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", WATCH, str(seconds), sentence, str(os.getpid())], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        assert watcher.stdin is not None  # a pipe, whose end ends it
        with suppress(BrokenPipeError):
            watcher.stdin.close()
        watcher.wait()
