"""Workers wait for each other before TensorFlow connects them, which would wait for ever and name nobody.

The chief listens at its address, where TensorFlow's server will be; each other worker says which it is and what it is
about to train, and is told to go on once all are there, or why not.
"""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zoo.distribution.cluster import Cluster
from zoo.errors import UserError

PAUSE = 0.2  # seconds between two attempts
LONGEST = 2**16  # bytes of a message


def meet(cluster: Cluster, identity: str, seconds: float) -> None:
    """Return once all workers of `cluster` have called this.

    Args:
        identity: what they train, which must be the same for all.
        seconds: how long to wait.

    Raises:
        UserError: one sentence that names the workers that are missing, or differ.
    """
    end = time.monotonic() + seconds
    host, _, port = cluster.addresses[cluster.index].rpartition(":")
    try:
        server = socket.create_server(("", int(port)), backlog=len(cluster.addresses))
    except OSError as error:
        raise UserError(
            f"Worker {cluster.index} cannot listen at its address, {host}:{port}: {error.strerror or error}."
        ) from error
    with server:
        if cluster.is_chief:
            _receive(server, cluster, identity, seconds, end)
    if not cluster.is_chief:
        _call(cluster, identity, seconds, end)


def _receive(server: socket.socket, cluster: Cluster, identity: str, seconds: float, end: float) -> None:
    count = len(cluster.addresses)
    waiting: dict[int, socket.socket] = {}
    try:
        while len(waiting) < count - 1:
            server.settimeout(max(end - time.monotonic(), 0.001))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                missing = [worker for worker in range(1, count) if worker not in waiting]
                raise UserError(_absent(cluster, missing, seconds)) from None
            if impossible := _admit(connection, cluster, identity, waiting):
                raise UserError(impossible)
    except UserError as error:
        for connection in waiting.values():
            _send(connection, {"error": str(error)})
        raise
    for connection in waiting.values():
        _send(connection, {})
    for connection in waiting.values():
        connection.close()


def _admit(connection: socket.socket, cluster: Cluster, identity: str, waiting: dict[int, socket.socket]) -> str | None:
    """Add a worker to those that wait; why it makes a training impossible, if it does. Others are sent away."""
    connection.settimeout(10)
    message = _read(connection)
    worker, count = message.get("worker"), len(cluster.addresses)
    if not isinstance(worker, int) or not 0 < worker < count:
        connection.close()  # a port scanner, or a worker of another cluster
        return None
    waiting.setdefault(worker, connection)
    if waiting[worker] is not connection:
        waiting[-1] = connection  # which is told too
        error = f"Two workers call themselves worker {worker} of {count}: give each process an index of its own."
    elif message.get("workers") != count:
        error = (
            f"Worker {worker} knows of {message.get('workers')} workers, and worker 0 of {count}: give all the same."
        )
    elif message.get("identity") != identity:
        error = f"Worker {worker} ({cluster.addresses[worker]}) has other settings than worker 0: use one command."
    else:
        return None
    return error


def _call(cluster: Cluster, identity: str, seconds: float, end: float) -> None:
    host, _, port = cluster.addresses[0].rpartition(":")
    why = "it did not answer"
    while time.monotonic() < end:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
                message = {"worker": cluster.index, "workers": len(cluster.addresses), "identity": identity}
                _send(connection, message)
                connection.settimeout(max(end - time.monotonic(), 1) + 5)
                answer = _read(connection)
                if "error" in answer:
                    raise UserError(str(answer["error"]))
                if answer.get("go"):
                    return
                why = "it ended while it waited for the others"
        except OSError as error:
            why = error.strerror or str(error)
        time.sleep(PAUSE)
    raise UserError(f"{_absent(cluster, [0], seconds).rstrip('.')} ({why}).")


def _absent(cluster: Cluster, workers: list[int], seconds: float) -> str:
    named = ", ".join(f"worker {worker} ({cluster.addresses[worker]})" for worker in workers)
    return (
        f"{named[0].upper()}{named[1:]} did not come within {seconds:g} s (distribution.start_timeout_seconds): see "
        "what its output says, and whether its address can be reached from here."
    )


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    with suppress(OSError):  # it is gone, of which the training will tell
        connection.sendall(json.dumps({"go": "error" not in message, **message}).encode() + b"\n")


def _read(connection: socket.socket) -> dict[str, Any]:
    """The message of a line; an empty one where the other side has gone or speaks otherwise."""
    data = b""
    try:
        while b"\n" not in data and len(data) < LONGEST:
            received = connection.recv(4096)
            if not received:
                break
            data += received
        message = json.loads(data.partition(b"\n")[0])
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}
