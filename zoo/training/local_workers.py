"""Workers of one machine, for trials: this process is the chief, and starts the others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zoo.distribution.cluster import TF_CONFIG, Cluster
from zoo.training.settings import Settings, as_dict

PACKAGES = Path(__file__).resolve().parents[2]  # where `zoo` and `blocks` lie, installed or not
END_SECONDS = 20.0  # for the others to end once the chief has


def starts_workers(settings: Settings) -> bool:
    """Whether this process has to start the others: they find `TF_CONFIG` in their environment."""
    return settings.distribution.workers is not None and TF_CONFIG not in os.environ


@contextmanager
def local_workers(cfg: DictConfig, directory: Path, count: int | None) -> Iterator[None]:
    """Within this context the other workers run, and `TF_CONFIG` makes this process worker 0 of `count`."""
    assert count is not None  # see `starts_workers`
    addresses = free_addresses(count)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-workers-"))
        outcomes = {worker: Path(folder, f"{worker}.json") for worker in range(1, count)}
        workers = {}
        for worker, outcome in outcomes.items():
            workers[worker] = _started(cfg, directory, outcome, Cluster(addresses, worker))
        os.environ[TF_CONFIG] = Cluster(addresses, 0).tf_config()
        try:
            yield
        except BaseException:
            for process in workers.values():
                _stop(process)
            raise
        finally:
            del os.environ[TF_CONFIG]
            for worker, process in workers.items():
                _end(worker, process, outcomes[worker])


def free_addresses(count: int) -> tuple[str, ...]:
    """Addresses on this machine, with ports on which nobody listens now.

    Example:
        >>> from zoo.training.local_workers import free_addresses
        >>> first, second = free_addresses(2)
        >>> first.startswith("127.0.0.1:"), first == second
        (True, False)
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)


def _started(cfg: DictConfig, directory: Path, outcome: Path, cluster: Cluster) -> subprocess.Popen[str]:
    request: dict[str, Any] = {
        "config": as_dict(cfg),
        "directory": str(Path(directory).resolve()),
        "sweep_id": None,
        "swept": [],
        "logs": None,
        "composition": {},
        "outcome": str(outcome),
    }
    paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo.training.subprocess_run"],
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), TF_CONFIG: cluster.tf_config()},
        process_group=0 if os.name == "posix" else None,  # the terminal's Ctrl-C comes to the chief alone
    )
    assert process.stdin is not None  # a pipe, whose end stops the worker
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return process


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None  # a pipe
    with suppress(BrokenPipeError):
        process.stdin.close()


def _end(worker: int, process: subprocess.Popen[str], outcome: Path) -> None:
    """Wait for the end of a worker, and say what it ended with, if that was an error of its own."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _stop(process)
    error = json.loads(outcome.read_text(encoding="utf-8")).get("error") if outcome.exists() else None
    if error:
        print(f"Worker {worker}: {error}", file=sys.stderr)
