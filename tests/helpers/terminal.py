"""A program on a terminal, as a person has it."""

import os
import pty
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCSWINSZ

# Makes the terminal on its standard input the controlling one, so that Ctrl-C reaches what it becomes.
ATTACH = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A program on a terminal of 80 columns, in a session of its own."""

    def __init__(self, command, cwd, env):
        self.ours, theirs = pty.openpty()
        ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, *command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
            env=env,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def read(self, until=None, seconds=120):
        """Read until the text `until`, or to the end."""
        deadline = time.monotonic() + seconds
        while until is None or until not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not select.select([self.ours], [], [], 1)[0]:
                continue
            part = b""
            with suppress(OSError):  # the other end has been closed
                part = os.read(self.ours, 65536)
            if not part:
                assert until is None, self.shown
                break
            self.shown += part.decode(errors="replace")

    def type(self, keys):
        os.write(self.ours, keys)
