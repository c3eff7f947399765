"""One process at a time: a lock that the system lets go of when its holder ends, however that ends."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def only_process(path: Path, action: str) -> Iterator[None]:
    """Hold the lock file `path` in the block; it may be another user's who lets others write it.

    Args:
        action: what the holder does, "prepares digits", for the line on standard error while this process waits.

    Raises OSError where the file cannot be opened.
    """
    from filelock import FileLock, Timeout  # with asyncio, which the commands would wait for

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Waiting for another process that {action} (lock {path}).", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
