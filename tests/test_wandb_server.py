"""Why a run is kept offline, in the right words: nothing at the address, something else in W&B's place, a refusal."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest

from helpers.loopback import Loopback
from helpers.tracked_runs import TIMEOUT, assert_kept_offline, command, finish, start
from helpers.wandb_client import KEY, environment
from zoo.tracking.server import ask, somebody_else, why_not_online

DENIED = b'{"errors": [{"message": "denied"}]}'


class Fixed(Loopback):
    """Gives every request the same answer."""

    def __init__(self, status, body):
        self.answer = status, body
        super().__init__()

    def respond(self, path, body):
        return self.answer


@contextmanager
def answering(status, body):
    server = Fixed(status, body)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def silent():
    """An address that takes no connection and refuses none, as one without a route: its queue is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as server:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in waiting:
            each.close()


def kept_offline(tmp_path, url, reason, *wrapper):
    """A run with W&B's own client: it goes on offline for this reason, and tells no other."""
    script = [*wrapper, *command(tmp_path, "online", init_timeout=TIMEOUT)]
    (outcome,), err = finish(start(script, tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=url), tmp_path)
    assert outcome["opened"] < TIMEOUT + 5
    assert_kept_offline(outcome, err, reason)
    return err


def test_a_proxy_in_its_place_is_no_refusal(tmp_path):
    with answering(403, b"destination denied") as url:
        err = kept_offline(tmp_path, url, f"{url} is unreachable (HTTP 403 comes from a proxy, a firewall or another")
    assert "refused the run" not in err and "API key" not in err


def test_an_address_that_no_packet_reaches(tmp_path):
    with silent() as url:
        err = kept_offline(tmp_path, url, f"{url} could not be reached within 2 s (no answer)")
    assert "refused" not in err


def test_no_network_at_all(tmp_path):
    apart = [shutil.which("unshare") or "", "--map-root-user", "--net"]
    if not apart[0] or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no program have a network of its own")
    kept_offline(tmp_path, "http://127.0.0.1:9", "could not be reached (network is unreachable)", *apart)


def test_a_comparison_says_the_same(tmp_path):
    with answering(403, b"destination denied") as url:
        variables = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=url)
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "compare", "--wandb", "lab/zoo"],
            capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(f"{url} cannot be reached (logging in): HTTP 403 comes from")
    assert "API key" not in done.stderr and done.stderr.count("\n") == 1


# What W&B's client (0.31) raised, the rest of the text left out.
CLIENT = [
    ("Timed out while retrying: dial tcp 127.0.0.1:1: connect: connection refused\nConsider", "(connection refused)"),
    ("Timed out while retrying: dial tcp: lookup no..such: no such host\nConsider", "(no such host)"),
    ("Timed out initializing run: POST giving up after 1 attempt(s): context deadline exceeded", "(no answer)"),
    ("Timed out while retrying: HTTP 429: denied\nConsider", "(HTTP 429): it takes no more requests for now"),
    ("Timed out while retrying: HTTP 503: denied\nConsider", "(HTTP 503): it has a fault of its own"),
    ("Timed out while retrying: HTTP 407: auth\nConsider", "(HTTP 407): the proxy asks for a login"),
    ("Timed out while retrying: tls: first record does not look like a TLS handshake", "(tls: first record does not"),
    (
        "Error initializing run: tls: failed to verify certificate: x509: unknown authority",
        "is not trusted (tls",
    ),
]


@pytest.mark.parametrize("message, words", CLIENT, ids=[words for _, words in CLIENT])
def test_the_words_for_what_the_client_met(message, words):
    sentence = why_not_online(RuntimeError(message), "http://127.0.0.1:1", KEY, 3)
    assert words in sentence and sentence.startswith("http://127.0.0.1:1 ") and "refused the run" not in sentence


@pytest.mark.parametrize(
    "status, body, check",
    [
        (401, DENIED, "the API key"),
        (401, b"login first", "the API key"),
        (403, DENIED, "the API key, tracking.entity and tracking.project"),
        (404, DENIED, "tracking.entity and tracking.project"),
        (200, b'{"data": {"viewer": null}}', "the API key"),
        (200, b'{"data": {"viewer": {"id": "u"}}}', "tracking.entity and tracking.project"),
    ],
)
def test_what_a_refusal_asks_to_check(status, body, check):
    with answering(status, body) as url:
        sentence = why_not_online(RuntimeError("denied"), url, KEY, 3)
    assert sentence == f"{url} refused the run (denied; check {check})"


@pytest.mark.parametrize("status, body", [(403, b""), (403, b"<html>"), (404, b"{}"), (200, b"[1]"), (302, b"\xff")])
def test_an_answer_that_is_not_of_wandb(status, body):
    with answering(status, body) as url:
        assert somebody_else(ask(url, KEY)).startswith(f"HTTP {status} comes from a proxy")


def test_the_question_waits_no_longer_than_it_may_and_gives_the_key_to_nobody_else():
    began = time.monotonic()
    with silent() as url:
        assert ask(url, KEY, seconds=0.5) is None
    assert time.monotonic() - began < 3
    assert ask("no address", KEY) is None
    with answering(200, DENIED) as url, closing(socket.create_server(("127.0.0.1", 0))) as redirecting:
        place = f"http://127.0.0.1:{redirecting.getsockname()[1]}"
        answer = f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

        def redirect():
            connection, _ = redirecting.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=redirect, daemon=True).start()
        assert ask(place, KEY).status == 302
