"""Two hosts on one machine: network namespaces of Linux, joined by a cable of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

PORT = 12321  # of both: nobody else is in their networks


@contextmanager
def two_hosts() -> Iterator[list[tuple[str, list[str]]]]:
    """Of each its address and the command that runs a program there; skips the test where there can be none."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need the command ip, of the package iproute2, and root")
    names, ends = [[f"{kind}{os.getpid()}{side}" for side in "ab"] for kind in ("zoo", "v")]
    with ExitStack() as stack:
        for name in names:
            done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
            stack.callback(run, "netns", "delete", name)
        run("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", ends[1], "netns", names[1])
        hosts = []
        for name, end, address in zip(names, ends, ("10.77.0.1", "10.77.0.2"), strict=True):
            run("-n", name, "address", "add", f"{address}/24", "dev", end)
            for link in (end, "lo"):
                run("-n", name, "link", "set", link, "up")
            hosts.append((f"{address}:{PORT}", ["ip", "netns", "exec", name]))
        yield hosts


def run(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
