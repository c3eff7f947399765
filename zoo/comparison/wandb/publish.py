"""Publishing a comparison on W&B: a saved workspace and a report over runs that are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from zoo.comparison.ranking import check_metric
from zoo.comparison.runs import Run, printable, wandb_id
from zoo.comparison.wandb.connection import Connection, connect
from zoo.comparison.wandb.panels import grouped_by
from zoo.comparison.wandb.report import report_spec
from zoo.comparison.wandb.workspace import workspace_spec
from zoo.environment import redact
from zoo.errors import UserError

ID = r"[\w.-]+"  # of a run: what a filter of W&B can name
Say = Callable[[str], None]


def publish(project: str, runs: Sequence[Run], metric: str, say: Say) -> list[str]:
    """Save a workspace and a report in a project on W&B; the addresses of both.

    Each call makes new ones. They show those of `runs` that are in the project; the figures are W&B's own.

    Args:
        project: ENTITY/PROJECT, or PROJECT of the entity that the API key belongs to.
        runs: read from W&B or from run directories that were logged or uploaded to the project.
        metric: key of `zoo.metrics.METRICS`, to rank by.
        say: called with a line for each run that is not in the project.

    Raises:
        UserError: wandb-workspaces or the server is unavailable, or no run is in the project.
        ValueError: there is no such metric.
    """
    check_metric(metric)
    try:
        import wandb_workspaces.workspaces  # noqa: F401 - before anything is asked of the server
    except ModuleNotFoundError:
        raise UserError(
            '--publish needs the package wandb-workspaces, which is not installed: `pip install -e ".[publish]"`.'
        ) from None
    connection = connect()
    entity, name = connection.project(project)

    def tell(line: str) -> None:
        say(printable(redact(line, connection.secrets)))

    runs_by_id = _in_project(connection, entity, name, runs, tell)
    if not runs_by_id:
        raise UserError(f"There is nothing to publish: none of the {len(runs)} runs is in {entity}/{name}.")
    ids, chosen, moment = list(runs_by_id), list(runs_by_id.values()), datetime.now(UTC)
    workspace = workspace_spec(entity, name, ids, metric, moment, grouped_by(chosen))
    report = report_spec(entity, name, chosen, ids, metric, moment)
    with connection.doing(f"saving the workspace in {entity}/{name}"):
        workspace.save()
        addresses = [workspace.url]
    try:
        with connection.doing(f"saving the report in {entity}/{name}"):
            report.save()
            addresses.append(report.url)
    except UserError:
        tell(f"The workspace was saved: {addresses[0]}")
        raise
    return addresses


def _in_project(connection: Connection, entity: str, project: str, runs: Sequence[Run], say: Say) -> dict[str, Run]:
    """Id on W&B -> run, of those that are in the project; a line for each that is not."""
    where = f"{entity}/{project}"
    there = {run.id for run in connection.runs(entity, project, whole=False)}
    runs_by_id: dict[str, Run] = {}
    for run in runs:
        key = wandb_id(run)
        if not isinstance(key, str) or key not in there:
            say(f"{run.path} is left out, for it is not in {where}{_remedy(run, key, entity, project)}.")
        elif not re.fullmatch(ID, key):
            say(f"{run.path} is left out, for no filter of W&B can name its id {key!r}.")
        elif key in runs_by_id:
            say(f"{run.path} is left out, for on W&B it is the same run as {runs_by_id[key].path}.")
        else:
            runs_by_id[key] = run
    return runs_by_id


def _remedy(run: Run, key: object, entity: str, project: str) -> str:
    """How the run gets there, as the end of a sentence."""
    target = f"-e {shlex.quote(entity)} -p {shlex.quote(project)}"
    if not Path(run.path).is_dir():
        return ": W&B can move it there, on the page of its runs"
    if not key:
        return ": it was not logged to W&B, which tracking=wandb does"
    if not isinstance(key, str) or not re.fullmatch(ID, key):
        return f": {key!r} is no id that training gives"
    folders = sorted(Path(run.path).glob(f"wandb/*run-*-{escape(key)}"))
    if not folders:
        return f": its folder of W&B is gone ({run.path}/wandb/offline-run-*-{key})"
    online = "" if folders[0].name.startswith("offline-") else "--include-online "
    return f": `wandb sync {target} {online}{shlex.quote(str(folders[0]))}` uploads it"
