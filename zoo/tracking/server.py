"""Why W&B's server did not take a run: it is unreachable, something else answers in its place, or it refuses.

W&B's client tells the text of a refusal and not who spoke it: a proxy's or a firewall's "403 Forbidden" looks like a
wrong API key. So the server is asked once more; W&B answers in GraphQL's JSON, whatever its status.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from zoo.tracking.tracker import first_line

ANSWER_SECONDS = 5.0  # that the question may take
LONGEST_ANSWER = 2**16  # bytes of it that are read
LONGEST_REASON = 200  # characters of what a server says
NETWORK = (
    "connection refused|connection reset by peer|no such host|network is unreachable|no route to host|host is down|"
    "broken pipe|EOF|server misbehaving|i/o timeout|(?:tls|x509): .*"
)
SERVER_FAULT = ": it has a fault of its own"
MEANING = {407: ": the proxy asks for a login", 429: ": it takes no more requests for now"}


@dataclass(frozen=True)
class Answer:
    """What came back from the address of W&B's server."""

    status: int  # HTTP
    is_wandb: bool  # in the form in which W&B's server answers
    knows_key: bool | None  # None where it does not say


def ask(server: str, key: str | None, seconds: float = ANSWER_SECONDS) -> Answer | None:
    """Ask the server whose API key `key` is; None where nothing answers, or not with a certificate that is trusted.

    A redirect is not followed: the key goes to `server` alone.
    """
    try:
        return _ask(server, key, seconds)
    except (OSError, http.client.HTTPException, ValueError):
        return None


def why_unreachable(server: str, key: str | None, seconds: float = ANSWER_SECONDS) -> str | None:
    """Why W&B's client need not try to reach the server, as the end of a sentence; None where it should.

    An answer that it can explain itself, a refusal for instance, is none; nor is a certificate that Python does not
    trust, for the client, which is no Python, has certificates of its own.
    """
    try:
        answer = _ask(server, key, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"{server} could not be reached within {seconds:g} s (no answer)"
        if isinstance(reason, ssl.SSLError) or not isinstance(reason, OSError):
            return None
        words = "no such host" if isinstance(reason, socket.gaierror) else (reason.strerror or str(reason)).lower()
        return f"{server} could not be reached ({words})"
    if answer.status < 500:
        return None
    return f"{server} could not be reached (HTTP {answer.status}){SERVER_FAULT}"


def _ask(server: str, key: str | None, seconds: float) -> Answer:
    credentials = base64.b64encode(f"api:{key or ''}".encode()).decode()
    request = urllib.request.Request(
        f"{server.rstrip('/')}/graphql",
        data=json.dumps({"query": "query Viewer { viewer { id } }"}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.build_opener(_StayHere).open(request, timeout=seconds) as response:
            status, body = response.status, response.read(LONGEST_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(LONGEST_ANSWER)
    try:
        response = json.loads(body)
    except ValueError:
        response = None
    is_wandb = isinstance(response, dict) and ("errors" in response or "data" in response)
    data = response.get("data") if is_wandb else None
    knows_key = bool(data["viewer"]) if isinstance(data, dict) and "viewer" in data else None
    return Answer(status, is_wandb, False if status == 401 else knows_key)


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> urllib.request.Request | None:
        return None


def somebody_else(answer: Answer | None) -> str | None:
    """Who answers where it is not W&B's server, in words; None where it is, or where that is not known."""
    if answer is None or answer.is_wandb or answer.status == 401:
        return None
    return f"HTTP {answer.status} comes from a proxy, a firewall or another server, not from W&B's"


def why_not_online(error: Exception, server: str, key: str | None, timeout_seconds: float) -> str:
    """What W&B's client met when it opened a run, as the end of a sentence."""
    reason = first_line(error)
    reason = reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
    text = " ".join(str(error).split("\nConsider")[0].split())
    network = re.search(NETWORK, text)
    if network and re.search("certificate|x509", text):
        return f"{server} is not trusted ({network[0]}; SSL_CERT_FILE names a file of further authorities)"
    if reason.startswith("Timed out"):
        status = re.search(r"HTTP (\d+)", reason)
        detail = status[0] if status else network[0] if network else "no answer"
        code = int(status[1]) if status else 0
        meaning = MEANING.get(code, SERVER_FAULT if code >= 500 else "")
        return f"{server} could not be reached within {timeout_seconds:g} s ({detail}){meaning}"
    if network:
        return f"{server} could not be reached ({network[0]})"
    answer = ask(server, key, min(ANSWER_SECONDS, timeout_seconds))
    if other := somebody_else(answer):
        return f"{server} is unreachable ({other}: {reason}; check WANDB_BASE_URL and the proxy's settings)"
    return f"{server} refused the run ({reason}; check {_to_check(answer)})"


def _to_check(answer: Answer | None) -> str:
    """What W&B did not accept, as far as its answer tells."""
    if answer is not None and answer.knows_key is False:
        return "the API key"
    if answer is not None and (answer.knows_key or answer.status == 404):
        return "tracking.entity and tracking.project"
    return "the API key, tracking.entity and tracking.project"
