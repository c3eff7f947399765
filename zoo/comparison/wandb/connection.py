"""A connection to W&B's server for reading runs and publishing: non-interactive, and it never waits for long.

Measured with W&B 0.31:
- `wandb.Api()` asks for a key where it sees a terminal and finds none; `wandb.login(prompt=False)` before it does not.
- W&B's service retries a request 20 times. `wandb.Api(timeout=...)` bounds the wait for an answer alone: leaving the
  process then waits for the request that is still being retried. The settings of the service bound that too, in whole
  seconds: it takes 0.8 for no limit.
- WANDB_ERROR_REPORTING=false keeps W&B's own telemetry from waiting for a server that does not answer.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.comparison.runs import printable
from zoo.environment import redact
from zoo.errors import UserError
from zoo.tracking.server import ANSWER_SECONDS, NETWORK, ask, somebody_else
from zoo.tracking.tracker import first_line

if TYPE_CHECKING:
    import wandb

TIMEOUT = 20  # seconds that an answer may take; WANDB_HTTP_TIMEOUT sets another number
RETRIES = 1  # of a request: each of the two tries has 4/10 of the time
NAME = r"[^/\\#?%:\x00-\x1f]{1,128}"  # of an entity or a project
LONGEST_REASON = 200  # characters of what a server says


@dataclass(frozen=True)
class Server:
    """A server of W&B's, and what becomes of its errors."""

    address: str
    timeout: int  # seconds
    secrets: tuple[str | None, ...] = field(repr=False)  # what no line may show

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Turns whatever goes wrong in the body into a UserError of one sentence, which holds no API key.

        Args:
            what: what the server is asked for, e.g. "reading lab/zoo".
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # the client raises its own types, ValueError, KeyError of an odd answer, ...
            text = _sentence(error, what, self)
            raise UserError(printable(redact(text, self.secrets))) from None


@dataclass(frozen=True)
class Connection(Server):
    """W&B's client, logged in."""

    api: wandb.Api

    def project(self, text: str) -> tuple[str, str]:
        """Entity and project of "ENTITY/PROJECT", or of "PROJECT" in the entity that the API key belongs to.

        Raises:
            UserError: there is no such entity, or the key has no default entity.
        """
        entity, project = split_project(text)
        if entity is None:
            with self.doing("looking up your entity"):
                entity = self.api.default_entity
        if not entity:
            raise UserError(
                f"{self.address} has no default entity for this API key: name the project as ENTITY/{project}."
            )
        return entity, project

    def runs(self, entity: str, project: str, whole: bool) -> list[wandb.apis.public.Run]:
        """W&B's own objects for the runs of a project, oldest first.

        Args:
            whole: with configuration and summary.

        Raises:
            UserError: there is no such project, or it is unavailable.
        """
        where = f"{entity}/{project}"
        with self.doing(f"reading {where}"), _folder_of_runs():
            try:
                return list(self.api.runs(where, lazy=not whole, per_page=25 if whole else 200))
            except ValueError as error:
                if "Could not find project" not in str(error):
                    raise
                raise UserError(
                    f"There is no project {where} on {self.address} that this API key may read: check both names, or "
                    f"log a run there with `python train.py tracking.entity={entity} tracking.project={project}`."
                ) from None


def split_project(text: str) -> tuple[str | None, str]:
    """Entity, None where it is not named, and project of a text. Raises UserError for one that names no project."""
    parts = text.split("/")
    if len(parts) > 2 or not all(re.fullmatch(NAME, part) and part == part.strip() for part in parts):
        named = re.findall(r"[\w.-]+", text)[-2:]
        nearest = "/".join(named) if len(named) == 2 else "my-team/grouped-convolutions"
        raise UserError(
            printable(
                f"{text!r} names no project on W&B: write ENTITY/PROJECT, or PROJECT alone, {nearest} for instance."
            )
        )
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def connect() -> Connection:
    """Log in to W&B with the API key that is configured, whatever WANDB_MODE says.

    The settings of W&B hold for the whole process, so runs that it trains later wait no longer either.

    Raises:
        UserError: W&B or a key is missing, a setting is not valid, or the server is unavailable.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    timeout = _timeout()
    try:
        import wandb
    except ModuleNotFoundError:
        raise UserError("Runs on W&B need the package wandb, which is not installed: `pip install wandb`.") from None
    one_try, pause = max(1, int(0.4 * timeout)), max(1, timeout // 20)
    limits = wandb.Settings(
        silent=True,
        mode="online",
        x_graphql_timeout_seconds=one_try,
        x_graphql_retry_max=RETRIES,
        x_graphql_retry_wait_min_seconds=pause,
        x_graphql_retry_wait_max_seconds=pause,
        x_file_transfer_timeout_seconds=one_try,
        x_file_transfer_retry_max=RETRIES,
        x_file_transfer_retry_wait_min_seconds=pause,
        x_file_transfer_retry_wait_max_seconds=pause,
    )
    try:
        settings = wandb.setup(limits).settings
    except (ValueError, wandb.errors.UsageError) as error:
        reason = redact(" ".join(str(error).split())).partition(" For further")[0]
        raise UserError(f"A WANDB_* variable or W&B's settings file is not valid: {reason}") from None
    try:
        if not wandb.login(prompt=False, verify=False):
            raise UserError(f"{settings.base_url} needs an API key: set one with `wandb login` or WANDB_API_KEY.")
    except wandb.errors.AuthenticationError as error:
        raise UserError(f"The API key of W&B is malformed: {redact(_short(error))}.") from None
    with Server(settings.base_url, timeout, (settings.api_key,)).doing("logging in"):
        api = wandb.Api(timeout=timeout)
    return Connection(settings.base_url, timeout, (settings.api_key, api.api_key), api)


@contextmanager
def _folder_of_runs() -> Iterator[None]:
    """The client makes an empty folder ENTITY/PROJECT/ID for each run that it reads: here it is removed."""
    before = os.environ.get("WANDB_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["WANDB_DIR"]
            else:
                os.environ["WANDB_DIR"] = before


def _timeout() -> int:
    text = os.environ.get("WANDB_HTTP_TIMEOUT") or str(TIMEOUT)
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) == 0:
        raise UserError(f"WANDB_HTTP_TIMEOUT={text!r} is not allowed: it is in whole seconds, {TIMEOUT} for instance.")
    return int(text)


def _sentence(error: BaseException, what: str, server: Server) -> str:
    """What went wrong: the reasons lie in the errors that the client wraps one into the other."""
    address, timeout = server.address, server.timeout
    errors = _causes(error)
    cause, status = errors[-1], http_status(error)
    text, reason = " ".join(map(str, errors)), _short(cause)
    is_odd = status in (403, 404) or "looking for beginning of value" in text  # as the client says of an answer in HTML
    if is_odd and (other := somebody_else(ask(address, server.secrets[0], min(timeout, ANSWER_SECONDS)))):
        return f"{address} cannot be reached ({what}): {other}; check WANDB_BASE_URL and the proxy's settings."
    if status in (401, 403, 404):
        hint = "check the API key and the names of entity and project"
        return f"{address} refuses {what} (HTTP {status}: {reason}): {hint}."
    if re.search("respond in time|deadline exceeded|timeout|timed out", text, re.IGNORECASE):
        return f"{address} did not answer within {timeout} s ({what}); WANDB_HTTP_TIMEOUT sets another time."
    if status:
        return f"{address} answers HTTP {status} ({what}); try again later."
    if network := re.search(NETWORK, str(cause)) or re.search(NETWORK, text):
        return f"{address} cannot be reached ({what}): {network[0]}."
    kind = "" if str(cause) else f"{type(cause).__name__}: "
    return f"{address}: {what} failed ({kind}{reason})."


def _causes(error: BaseException) -> list[BaseException]:
    """The client wraps one error into the other: all of them, the first cause last."""
    errors = [error]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    return errors


def http_status(error: BaseException) -> int | None:
    """The status that the server answered with, if that is what went wrong."""
    errors = _causes(error)
    for each in errors:
        if status := getattr(getattr(each, "response", None), "http_status", 0):
            return status
    match = re.search(r"(?:HTTP|status:?) (\d{3})\b", " ".join(map(str, errors)))
    return int(match[1]) if match else None


def _short(error: BaseException) -> str:
    line = first_line(error)
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}..."
