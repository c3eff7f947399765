"""The saved workspace on W&B: the panels of a comparison over its runs, which go on with the runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from zoo.comparison.ranking import accuracy_of
from zoo.comparison.wandb import panels
from zoo.metrics import EPOCH, METRICS

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def workspace_spec(
    entity: str,
    project: str,
    ids: Sequence[str],
    metric: str,
    moment: datetime,
    grouped_by: Sequence[str] = panels.GROUPED_BY,
) -> Workspace:
    """The workspace, not saved yet: nothing is sent.

    Args:
        ids: W&B's ids of the runs that are compared; no others are shown.
        metric: key of `zoo.metrics.METRICS`, that the runs are ordered by.
        moment: part of the name, in UTC.
        grouped_by: config keys, see `panels.grouped_by`.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    count = len(ids)
    sections = {
        "Accuracy against cost": (panels.scatters(accuracy_of(metric)), 3),
        "Learning curves": (panels.curves(count), 2),
        "Costs": (panels.bars(metric, count), 3),
        "Classes": (panels.classes(), 2),
        "Mistakes and layers": (panels.tables(), 1),
        "Differences": (panels.differences(), 1),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Comparison by {METRICS[metric].title}, {moment:%Y-%m-%d %H:%M} UTC",
        sections=[
            ws.Section(
                name=name,
                panels=drawn,
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=across, rows=-(-len(drawn) // across)),
                panel_settings=ws.SectionPanelSettings(x_axis=EPOCH),
            )
            for name, (drawn, across) in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=EPOCH, max_runs=max(count, panels.FEWEST)),
        runset_settings=ws.RunsetSettings(
            filters=panels.only(ids),
            groupby=[expr.Config(key) for key in grouped_by],
            order=[expr.Ordering(expr.Summary(metric), ascending=not METRICS[metric].higher_is_better)],
            pinned_columns=panels.columns(metric),
        ),
    )
