"""Standard output whose reader has gone, as in `zoo list | head`."""

import os
import select
import sys

PIPE_CLOSED = 141  # what a shell reports of programs that a closed pipe ends


def output_is_closed() -> bool:
    """Whether standard output is a pipe that nobody reads any more; what is left for it is dropped then."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        drop_output()
    return closed


def drop_output() -> None:
    """Let nothing more be written: Python would try once again while it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
