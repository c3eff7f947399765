"""One Weights & Biases run around one training run, which it may neither stop nor slow down.

Where W&B is unavailable (no key, no server, a proxy in its place, a server that refuses), the run goes on offline, says
so in one line, and can be uploaded later. W&B is imported only when a run is opened and not disabled.

Measured with W&B 0.31:
- `with wandb.init(...)` prints a traceback of its own when the body raises; so the run is finished by hand.
- After a failed `init` against a server that never answers, leaving the process takes another 22 s, which
  W&B's own telemetry spends on that server. WANDB_ERROR_REPORTING=false takes that away; a user's own setting
  stands.
- Under `wandb agent` the client ignores project, entity and id given to `init`: the run is the sweep's. The sweep's
  parameters replace keys of the run's config for good, so `model=resnext` takes the place of the whole section `model`.
- Its service process can die (a server's unexpected answer is enough). Then `log` and `finish` raise, and so
  does every later `init` in the process until `wandb.teardown()`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from zoo import environment
from zoo.metrics import EPOCH
from zoo.tracking.config import TrackingConfig
from zoo.tracking.connection import Connection, connect
from zoo.tracking.server import why_not_online
from zoo.tracking.tracker import Say, Tracker, first_line, shell_path

DATA_DIR = "WANDB_DATA_DIR"
HIDDEN = "_settings"  # behind the name of a section of the configuration whose place a sweep's parameter has taken


@contextmanager
def open_run(
    config: TrackingConfig,
    *,
    name: str,
    group: str,
    resolved: Mapping[str, Any],
    directory: Path,
    run_id: str | None = None,
    job_type: str | None = None,
    connection: Connection | None = None,
    say: Say | None = None,
) -> Iterator[Tracker]:
    """A W&B run for the body of the `with`, finished when it is left: exit code 1 if it raised, else 0.

    Args:
        name, group: used where the configuration has none.
        resolved: the whole configuration, without interpolations, and what else runs are grouped by; goes to the
            run's config together with the git commit and the versions. W&B's API key is cut out of it. A section that
            a parameter of W&B's sweep has the name of, as `model` has, is logged as `model_settings`.
        directory: the run directory; W&B writes to `directory/wandb`.
        run_id: goes on with that run instead of starting one.
        job_type: what W&B tells runs of a group apart by, "evaluate" for instance.
        connection: from `connect`, called earlier, so that nobody waits for the server here.
        say: prints one line; None prints to standard error.

    Raises:
        ValueError: the configuration (see `tracking_config.check`) or a WANDB_* variable is not valid.
        ModuleNotFoundError: W&B is not installed and tracking is not disabled.
    """
    connection = connection or connect(config)
    say = say or _print
    if connection.mode == "disabled":
        yield Tracker(None, "disabled", say)
        return
    names = {"name": config.name or name, "group": config.group or group, "job_type": job_type}
    with _data_in(Path(directory)):
        tracker = _start(config, connection, names, resolved, Path(directory), run_id, say)
        try:
            yield tracker
        except BaseException:
            tracker.close(1, config.finish_timeout_seconds)
            raise
        tracker.close(0, config.finish_timeout_seconds)


@contextmanager
def _data_in(directory: Path) -> Iterator[None]:
    """Where W&B keeps the images of a table until they are uploaded: else it is the user's home, for all runs."""
    if DATA_DIR in os.environ:
        yield
        return
    os.environ[DATA_DIR] = str(directory.resolve() / "wandb")
    try:
        yield
    finally:
        del os.environ[DATA_DIR]


def _start(
    config: TrackingConfig,
    connection: Connection,
    names: Mapping[str, str | None],
    resolved: Mapping[str, Any],
    directory: Path,
    run_id: str | None,
    print_line: Say,
) -> Tracker:
    import wandb

    connection.wait()
    settings, mode, why = connection.settings, connection.mode, connection.why
    secrets = [settings.api_key]

    def say(line: str) -> None:
        print_line(environment.redact(line, secrets))

    source = Path(__file__).parent
    run_config = {
        **_redacted(resolved, secrets),
        "commit": environment.git_commit(source),
        "dirty": environment.git_dirty(source),
        "versions": environment.versions(),
    }

    def init(mode: Literal["online", "offline"]) -> Any:
        run = wandb.init(
            mode=mode,
            project=config.project,
            entity=config.entity,
            name=names["name"],
            group=names["group"],
            job_type=names["job_type"],
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
        run.define_metric(EPOCH)
        run.define_metric("*", step_metric=EPOCH)
        hidden = [key for key, value in run_config.items() if isinstance(value, dict) and run.config[key] != value]
        run.config.update({f"{key}{HIDDEN}": run_config[key] for key in hidden})
        return run

    if mode == "online":
        earlier_folders = set(directory.glob("wandb/run-*"))
        try:
            tracker = Tracker(init("online"), mode, say)
            say(f"W&B: {tracker.url}")
            return tracker
        except Exception as error:
            why = why_not_online(error, settings.base_url, settings.api_key, config.init_timeout_seconds)
            # The attempt leaves a run without metrics, which `wandb leet` would list beside the real one.
            for empty in set(directory.glob("wandb/run-*")) - earlier_folders:
                shutil.rmtree(empty, ignore_errors=True)
    try:
        tracker = Tracker(init("offline"), "offline", say)
    except Exception as error:
        say(f"W&B: {why}, and the run cannot be kept offline ({first_line(error)}); training goes on untracked.")
        return Tracker(None, "disabled", say)
    assert tracker.directory is not None  # of a run that is kept
    place = shell_path(tracker.directory)
    say(f"W&B: offline, since {why}. To upload: `wandb sync {place}`; to look: `wandb leet {place}`.")
    return tracker


def _redacted(value: Any, secrets: Sequence[str | None]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item, secrets) for item in value]
    return environment.redact(value, secrets) if isinstance(value, str) else value


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
