"""A Weights & Biases run that is open: what may be done with it, none of which stops or slows down a training."""

from __future__ import annotations

import http.client
import shlex
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

SERVICE = "wandb-core"  # the program that W&B's client starts and hands everything to
ANSWER_SECONDS = 5.0  # a server that takes longer is taken to be gone
GRACE_SECONDS = 5.0  # for the client to keep its own timeout
Say = Callable[[str], None]


class Tracker:
    """A run that is being tracked; one whose mode is `disabled` takes everything and does nothing.

    Attributes:
        mode: `online`, `offline` or `disabled`: what became of the configuration's mode.
        url: the run's page; None unless online.
        directory: where W&B keeps the run on this machine; None if disabled.
        offline_directory: the same if the run is offline, i.e. what to give to `wandb sync`; else None.
        id: W&B's id of the run, with which it is resumable; None if disabled.
    """

    def __init__(self, run: Any, mode: str, say: Say) -> None:
        self.mode = mode
        self.url: str | None = run.url if mode == "online" else None
        self.directory = Path(run.dir).parent if run else None
        self.offline_directory = self.directory if mode == "offline" else None
        self.id: str | None = run.id if run else None
        self._run = run
        self._first_step: int = run.starting_step if run else 0
        self._say = say

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Adds one epoch's metrics; those that are None are left out.

        `step` must grow from call to call. Never waits for the server.
        """
        values = {key: _number(value) for key, value in metrics.items() if value is not None}
        # Without commit W&B holds a step back until the next one, and a killed run would lose its last epoch.
        self._try(lambda run: run.log(values, step=self._later(step), commit=True))

    def show(self, make: Callable[[], Mapping[str, Any]], step: int) -> None:
        """Adds the tables, charts and images that `make` makes; where they cannot be made, a line says why.

        Args:
            make: called only where a run is tracked, see `zoo.tracking.panels`.
            step: as for `log`; one that no epoch has.
        """
        if self._run is None:
            return
        try:
            if self.mode == "online" and not _answers(self._run.settings.base_url):
                raise TimeoutError(f"{self._run.settings.base_url} does not answer")
            self._run.log(dict(make()), step=self._later(step), commit=True)
        except Exception as error:  # a table less, and the curves go on
            self._say(f"W&B: tables and images are missing ({first_line(error)}); training goes on.")

    def _later(self, step: int) -> int:
        """`step`, or the first that the run has not had: W&B drops what comes with a step that has passed. A run that
        goes on has had more, with the tables of where it was stopped. The charts' axis is the epoch.
        """
        self._first_step = max(step, self._first_step) + 1
        return self._first_step - 1

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Sets values of the whole run, e.g. `parameters`, beside the last epoch's metrics."""
        self._try(lambda run: run.summary.update(dict(values)))

    def _try(self, action: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            # W&B's service is gone: the network in training is worth more than its record.
            self._say(f"W&B: the run is no longer tracked ({first_line(error)}); training goes on.")
            self._run = None
            reset_service()

    def close(self, exit_code: int, timeout_seconds: float) -> None:
        """Ends the run; a line says what could not be uploaded within `timeout_seconds`."""
        if self._run is None:
            return
        run, directory = self._run, self.directory
        assert directory is not None  # of a run that is kept
        self._run = None
        # Where a server is lost while it gets a table, the client keeps asking, whatever its own timeout.
        error = _in_time(lambda: run.finish(exit_code=exit_code), timeout_seconds + GRACE_SECONDS)
        if isinstance(error, TimeoutError):
            self._say(
                f"W&B: the run was not uploaded whole within {timeout_seconds:g} s; upload the rest with"
                f" `wandb sync --include-online {shell_path(directory)}`."
            )
        elif error is not None:
            self._say(f"W&B: the run was not closed ({first_line(error)}); its data is in {directory}.")
            reset_service()


def _in_time(action: Callable[[], None], seconds: float) -> Exception | None:
    """What `action` raised; where it takes longer, W&B's service is ended and TimeoutError is returned."""
    raised: list[Exception] = []

    def guarded() -> None:
        try:
            action()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    if not thread.is_alive():
        return raised[0] if raised else None
    _end_service()
    return TimeoutError()


def _end_service() -> None:
    """Ends W&B's service process, which the client would wait for; what it has written to disk stays."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may have ended in this moment
            if child.name().startswith(SERVICE):
                child.kill()
    reset_service()


def _answers(server: str) -> bool:
    """Whether the server answers now; for tables the client waits for it, about a minute where it is gone."""
    try:
        urllib.request.urlopen(server, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, http.client.HTTPException) as error:
        return isinstance(
            getattr(error, "reason", None), ssl.SSLError
        )  # it answered; W&B's client has its certificates
    return True


def reset_service() -> None:
    """Lets the next run of this process start with a service process of its own."""
    import wandb

    with suppress(Exception, SystemExit):  # it exits where the service has been killed
        wandb.teardown()


def first_line(error: BaseException) -> str:
    """The first line of an error's text: W&B's go on with advice on settings that are ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def shell_path(path: Path) -> str:
    """`path` as it can be pasted into a shell, relative where it lies below the working directory."""
    path = path.resolve()
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else float(value)
