"""Compiles in a process of its own, which goes on when this one ends."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocks.kernels import compilation
from blocks.kernels.compilation import Request

SECONDS_BETWEEN_LOOKS = 1.0


def start(request: Request, failed: Callable[[], None]) -> None:
    """Compile what `request` asks for at a low priority, unless another process does; `failed` is called in a thread of
    this process if that does not succeed while it runs.

    Raises OSError where there is no place for the library: its messages would be lost with those of the other process.
    """
    library = Path(request.library)
    library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=library.parent):
        pass
    process = None if compilation.progress(library) else _process(request)
    threading.Thread(target=_watch, args=(library, process, failed), daemon=True, name="kernels").start()


def _process(request: Request) -> "subprocess.Popen[Any]":
    # Without -P, this folder would be the first place where modules are looked for: it has a package `tensorflow`.
    process = subprocess.Popen(
        [sys.executable, "-P", compilation.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=os.sep,
        text=True,
        start_new_session=True,  # what ends this process does not end that one
    )
    assert process.stdin is not None  # a pipe
    with process.stdin as pipe:
        pipe.write(compilation.to_json(request))
    return process


def _watch(library: Path, process: "subprocess.Popen[Any] | None", failed: Callable[[], None]) -> None:
    """Wait for the end of the compilation: of our process, or else of the one that holds the lock."""
    if process is not None:
        process.wait()
        # Another one may have been quicker to the lock, whose end ours has waited for.
    else:
        while compilation.progress(library) is not None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if not library.exists():
        failed()
