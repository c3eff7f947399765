"""What a program of ours asks of TensorFlow before it is imported."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


def prepare(deterministic: bool = False, devices: int = 1, quiet: bool = False) -> None:
    """Quiet on the terminal, and one operation at a time, each on all cores; what the environment says goes before.

    Args:
        deterministic: let every operation give the same bits each time, and those raise that cannot; for the whole
            process, whatever the environment says. The kernels of `blocks` do in any case: they divide a sum by its
            size and the number of threads, and add up the parts in their order.
        devices: parts of the CPU that compute at the same time, each one operation at a time.
        quiet: without TensorFlow's own words on errors too, of which several workers have many for one that is lost.

    A network is a chain of operations. Started side by side, a layer's two gradients compete for cores and caches, and
    along the chain the work moves from thread to thread: ShuffleNet v2 trains up to a sixth slower on two cores.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if quiet else "2")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(devices))
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS tells there of every file that it opens
    if quiet:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # strategies tell there of devices and sums


def wait_for_kernels() -> None:
    """Let this process and those that it starts compile the kernels of `blocks` before they compute, where they are not
    there yet and can be: results shall not depend on whether another process has compiled them by then. It counts for
    those that have computed nothing yet.
    """
    if os.environ.get("BLOCKS_KERNELS", "on").lower() == "on":
        os.environ["BLOCKS_KERNELS"] = "wait"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow's and LiteRT's own code write to standard error, past Python, off the terminal."""
    try:
        terminal = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    python = sys.stderr
    try:
        with open(os.devnull, "w") as nowhere, os.fdopen(os.dup(terminal), "w", buffering=1) as messages:
            if python is sys.__stderr__:
                sys.stderr = messages
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        sys.stderr = python
