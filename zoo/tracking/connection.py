"""What can become of a run's tracking, found out while other things are prepared: W&B's server may be slow, or gone."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

from zoo import environment
from zoo.tracking.config import TrackingConfig, check
from zoo.tracking.server import ANSWER_SECONDS, why_unreachable
from zoo.tracking.tracker import first_line


@dataclass
class Connection:
    """How a run will be tracked.

    mode: `online`, `offline` or `disabled`.
    why: for `offline`, as the end of a sentence.
    settings: W&B's; None where it is not imported.
    """

    mode: str
    why: str = ""
    settings: Any = None
    question: threading.Thread | None = field(default=None, repr=False)

    def wait(self) -> None:
        """Wait for the server's answer, some seconds at most; where there is none, the mode becomes `offline`."""
        if self.question is not None:
            self.question.join()
            self.question = None
            if self.why:
                self.mode = "offline"


def connect(config: TrackingConfig) -> Connection:
    """Import W&B, unless it is disabled, and ask its server in the background whether it is there.

    W&B's client, against a server that does not answer, would try for all of `init_timeout_seconds`.

    Raises:
        ValueError: the configuration (see `tracking_config.check`) or a WANDB_* variable is not valid.
        ModuleNotFoundError: W&B is not installed and tracking is not disabled.
    """
    connection = configured(config)
    if connection.mode == "online":
        settings = connection.settings
        seconds = min(ANSWER_SECONDS, config.init_timeout_seconds)

        def ask() -> None:
            connection.why = why_unreachable(settings.base_url, settings.api_key, seconds) or ""

        connection.question = threading.Thread(target=ask, daemon=True)
        connection.question.start()
    return connection


def configured(config: TrackingConfig) -> Connection:
    """How a run will be tracked if W&B's server is there, which is not asked. Raises as `connect` does."""
    check(config)
    if config.mode == "disabled":
        return Connection("disabled")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"tracking.mode={config.mode} needs the package wandb, which is not installed; to train"
            " without it pass tracking=disabled."
        ) from error
    # Process-wide, since `login` and the service print too. WANDB_MODE decides only in mode auto.
    shared = wandb.Settings(silent=True)
    if config.mode == "online":
        shared.mode = "online"
    try:
        settings = wandb.setup(shared).settings
    except (ValueError, wandb.errors.UsageError) as error:
        reason = environment.redact(" ".join(str(error).split())).partition(" For further")[0]
        raise ValueError(f"A WANDB_* variable or W&B's settings file is not valid: {reason}") from None
    return Connection(*_choose_mode(config, settings.mode), settings)


def _choose_mode(config: TrackingConfig, environment_mode: str) -> tuple[str, str]:
    """`online`, `offline` or `disabled`, and for `offline` why. Asks neither a person nor the server."""
    import wandb

    if config.mode == "offline":
        return "offline", "tracking.mode is offline"
    if config.mode == "auto" and environment_mode in ("offline", "dryrun", "disabled"):
        return environment_mode.replace("dryrun", "offline"), "WANDB_MODE is offline"
    try:
        if wandb.login(prompt=False, verify=False):
            return "online", ""
    except wandb.errors.AuthenticationError as error:
        return "offline", f"the API key is malformed ({first_line(error)})"
    return "offline", "no API key is configured (`wandb login` or WANDB_API_KEY)"
