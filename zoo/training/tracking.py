"""One Weights & Biases run around one training run, which it may neither stop nor slow down.

Where W&B cannot be had (no key, no server, a server that refuses), the run goes on offline, says so in one
line, and can be uploaded later. W&B is imported only when a run is opened and not disabled.

Measured with W&B 0.31:
- `with wandb.init(...)` prints a traceback of its own when the body raises; so the run is finished by hand.
- After a failed `init` against a server that never answers, leaving the process takes another 22 s, which
  W&B's own telemetry spends on that server. WANDB_ERROR_REPORTING=false takes that away; a user's own setting
  stands.
- Its service process can die (a server's unexpected answer is enough). Then `log` and `finish` raise, and so
  does every later `init` in the process until `wandb.teardown()`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo.training import environment
from zoo.training.tracking_config import TrackingConfig, check

Say = Callable[[str], None]


class Tracker:
    """A run that is being tracked; one whose mode is `disabled` takes everything and does nothing.

    Attributes:
        mode: `online`, `offline` or `disabled`: what became of the configuration's mode.
        url: the run's page; None unless online.
        directory: where W&B keeps the run on this machine; None if disabled.
        offline_directory: the same if the run is offline, i.e. what to give to `wandb sync`; else None.
        id: W&B's id of the run, with which it can be gone on with; None if disabled.
    """

    def __init__(self, run: Any, mode: str, say: Say) -> None:
        self.mode = mode
        self.url: str | None = run.url if mode == "online" else None
        self.directory = Path(run.dir).parent if run else None
        self.offline_directory = self.directory if mode == "offline" else None
        self.id: str | None = run.id if run else None
        self._run = run
        self._say = say

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Adds one epoch's metrics; those that are None are left out.

        `step` must grow from call to call: W&B drops what comes with a step that has passed. Never waits for
        the server.
        """
        values = {key: _number(value) for key, value in metrics.items() if value is not None}
        # Without commit W&B holds a step back until the next one, and a killed run would lose its last epoch.
        self._try(lambda run: run.log(values, step=step, commit=True))

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
            self._say(f"W&B: the run is no longer tracked ({_reason(error)}); training goes on.")
            self._run = None
            _reset_service()

    def _close(self, exit_code: int, timeout_seconds: float) -> None:
        if self._run is None:
            return
        try:
            self._run.finish(exit_code=exit_code)
        except TimeoutError:
            self._say(
                f"W&B: the run was not uploaded whole within {timeout_seconds:g} s; upload the rest with"
                f" `wandb sync --include-online {_shown(self.directory)}`."
            )
        except Exception as error:
            self._say(f"W&B: the run was not closed ({_reason(error)}); its data is in {self.directory}.")
            _reset_service()
        self._run = None


@contextmanager
def open_run(
    config: TrackingConfig,
    *,
    name: str,
    group: str,
    resolved: Mapping[str, Any],
    directory: Path,
    run_id: str | None = None,
    say: Say | None = None,
) -> Iterator[Tracker]:
    """A W&B run for the body of the `with`, finished when it is left: exit code 1 if it raised, else 0.

    Args:
        name, group: used where the configuration has none.
        resolved: the whole configuration, without interpolations; goes to the run's config together with the
            git commit and the versions. W&B's API key is cut out of it.
        directory: the run directory; W&B writes to `directory/wandb`.
        run_id: goes on with that run instead of starting one.
        say: prints one line; None prints to standard error.

    Raises:
        ValueError: the configuration (see `tracking_config.check`) or a WANDB_* variable is not valid.
        ModuleNotFoundError: W&B is not installed and tracking is not disabled.
    """
    check(config)
    say = say or _print
    if config.mode == "disabled":
        yield Tracker(None, "disabled", say)
        return
    names = {"name": config.name or name, "group": config.group or group}
    tracker = _start(config, names, resolved, Path(directory), run_id, say)
    try:
        yield tracker
    except BaseException:
        tracker._close(1, config.finish_timeout_seconds)
        raise
    tracker._close(0, config.finish_timeout_seconds)


def _start(
    config: TrackingConfig,
    names: dict[str, str],
    resolved: Mapping[str, Any],
    directory: Path,
    run_id: str | None,
    print_line: Say,
) -> Tracker:
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
    mode, why = _choose_mode(config, settings.mode)

    secrets = [settings.api_key]

    def say(line: str) -> None:
        print_line(environment.redact(line, secrets))

    if mode == "disabled":
        return Tracker(None, mode, say)
    source = Path(__file__).parent
    run_config = {
        **_redacted(resolved, secrets),
        "commit": environment.git_commit(source),
        "dirty": environment.git_dirty(source),
        "versions": environment.versions(),
    }

    def init(mode: str) -> Any:
        run = wandb.init(
            mode=mode,
            project=config.project,
            entity=config.entity,
            **names,
            tags=list(config.tags),
            notes=config.notes,
            config=run_config,
            dir=directory,
            id=run_id,
            resume="allow" if run_id and mode == "online" else None,
            reinit="create_new",  # never the run that something else in this process has open
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=config.init_timeout_seconds,
                finish_timeout=config.finish_timeout_seconds,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=1.0,  # at 15 s a killed run loses its last epochs
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        return run

    if mode == "online":
        kept = set(directory.glob("wandb/run-*"))
        try:
            tracker = Tracker(init("online"), mode, say)
            say(f"W&B: {tracker.url}")
            return tracker
        except Exception as error:
            why = _why_not_online(error, settings.base_url, config.init_timeout_seconds)
            # The attempt leaves a run without metrics, which `wandb leet` would list beside the real one.
            for empty in set(directory.glob("wandb/run-*")) - kept:
                shutil.rmtree(empty, ignore_errors=True)
    try:
        tracker = Tracker(init("offline"), "offline", say)
    except Exception as error:
        say(f"W&B: {why}, and the run cannot be kept offline ({_reason(error)}); training goes on untracked.")
        return Tracker(None, "disabled", say)
    place = _shown(tracker.directory)
    say(f"W&B: offline, since {why}. To upload: `wandb sync {place}`; to look: `wandb leet {place}`.")
    return tracker


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
        return "offline", f"the API key is malformed ({_reason(error)})"
    return "offline", "no API key is configured (`wandb login` or WANDB_API_KEY)"


def _why_not_online(error: Exception, server: str, timeout_seconds: float) -> str:
    reason = _reason(error)
    if reason.startswith("Timed out"):
        answer = re.search(r"HTTP \d+", reason)
        detail = f" ({answer[0]})" if answer else ""
        return f"{server} could not be reached within {timeout_seconds:g} s{detail}"
    return f"{server} refused the run ({reason}; check the API key, tracking.entity and tracking.project)"


def _reset_service() -> None:
    """Lets the next run of this process start with a service process of its own."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _redacted(value: Any, secrets: Sequence[str | None]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item, secrets) for item in value]
    return environment.redact(value, secrets) if isinstance(value, str) else value


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else float(value)


def _reason(error: Exception) -> str:
    """The first line of an error's text: W&B's go on with advice on settings that are ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _shown(path: Path) -> str:
    """`path` as it can be pasted into a shell, relative where it lies below the working directory."""
    path = path.resolve()
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
