"""The report on W&B: what was compared, who is best at which cost, and the panels of the workspace.

Names of runs and data sets come from anybody: in Markdown every sign that could mean something is written as a
number (`&#42;`), and elsewhere W&B shows text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from zoo.comparison.ranking import FRONTS, Row, accuracy_of, ranked
from zoo.comparison.runs import Run, dataset, family, printable
from zoo.comparison.table import columns
from zoo.comparison.wandb import panels
from zoo.metrics import METRICS

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import PanelGrid, Report
    from wandb_workspaces.reports.v2.interface import PanelTypes

LISTED = 8  # names in one sentence


def report_spec(
    entity: str, project: str, runs: Sequence[Run], ids: Sequence[str], metric: str, moment: datetime
) -> Report:
    """The report, not saved yet: nothing is sent.

    Args:
        runs: what the ranking and the Pareto fronts are taken from.
        ids: W&B's ids of the same runs, which the panels show.
        metric: key of `zoo.metrics.METRICS`, to rank by.
        moment: the time of the ranking, in UTC.
    """
    import wandb_workspaces.reports.v2 as wr

    rows = ranked(runs, metric)
    accuracy, count, grouping = accuracy_of(metric), len(ids), panels.grouped_by(runs)

    def grid(drawn: list[PanelTypes], across: int, grouped: bool) -> PanelGrid:
        runset = wr.Runset(
            entity=entity,
            project=project,
            name="Compared runs",
            filters=panels.only(ids),
            groupby=[f"config.{key}" for key in grouping] if grouped else [],
            order=[wr.OrderBy(wr.SummaryMetric(metric), ascending=not METRICS[metric].higher_is_better)],
            pinned_columns=panels.columns(metric),
            lock_columns=True,
        )
        return wr.PanelGrid(runsets=[runset], panels=panels.laid_out(drawn, across))

    return wr.Report(
        entity=entity,
        project=project,
        title=f"Comparison of {_runs(count)} by {METRICS[metric].title}",
        description=f"As of {moment:%Y-%m-%d %H:%M} UTC, by `zoo compare --publish`.",
        width="fluid",
        blocks=[
            wr.P(_compared(runs, rows, metric, moment)),
            wr.H2("Ranking"),
            wr.MarkdownBlock(markdown_table(rows, metric)),
            wr.H2("Pareto fronts"),
            wr.P(f"What no other row of its data set beats in {METRICS[accuracy].title} and in the cost at once:"),
            wr.UnorderedList([*_fronts(rows)] or ["No run has both figures yet."]),
            wr.H2("Accuracy against cost"),
            grid(panels.scatters(accuracy), across=3, grouped=False),
            wr.H2("Learning curves"),
            grid(panels.curves(count), across=2, grouped=True),
            wr.H2("Costs"),
            grid(panels.bars(metric, count), across=3, grouped=True),
            wr.H2("Classes"),
            grid(panels.classes(), across=2, grouped=False),
            wr.H2("Mistakes and layers"),
            grid(panels.tables(), across=1, grouped=False),
            wr.H2("Runs and what sets them apart"),
            grid(panels.differences(), across=1, grouped=False),
        ],
    )


def escaped(text: str) -> str:
    """`text` for Markdown that may hold HTML and formulas: shown as it is, whatever it holds."""
    return re.sub(r"[^\w ,%±()=\ufffd-]|_", lambda sign: f"&#{ord(sign[0])};", printable(text))


def markdown_table(rows: Sequence[Row], metric: str) -> str:
    """The ranked table in Markdown."""
    wanted = columns(metric)
    lines = [[escaped(heading) for heading, *_ in wanted]]
    lines.append(["---:" if right else "---" for _, right, _ in wanted])
    lines += [[escaped(cell(row)) for *_, cell in wanted] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _compared(runs: Sequence[Run], rows: Sequence[Row], metric: str, moment: datetime) -> str:
    """What is compared, in a few sentences. W&B shows a paragraph as it is, so it needs no escapes."""
    families, datasets = _names(list(map(family, runs))), _names(list(map(dataset, runs)))
    unfinished = sum(run.status != "finished" for run in runs)
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    return (
        f"This report compares {_runs(len(runs))} in {len(rows)} {'row' if len(rows) == 1 else 'rows'}, by"
        f" {METRICS[metric].title} ({better} is better). Families: {families}. Data sets: {datasets}."
        f" Runs that differ in their seed alone share a row, with mean and standard deviation over the seeds."
        + (" Repeats of a seed count as their mean." if any(len(row.runs) > len(row.seeds) for row in rows) else "")
        + (f" {unfinished} of the runs had not finished." if unfinished else "")
        + f" Ranking and Pareto fronts are those of {moment:%Y-%m-%d %H:%M} UTC; the panels follow the runs."
    )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _names(names: Sequence[str]) -> str:
    every = sorted({printable(name) for name in names})
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return f"{', '.join(every[:LISTED])}{more}"


def _fronts(rows: Sequence[Row]) -> list[str]:
    """A line for each data set and cost, with the names of the members from the cheapest on."""
    lines = []
    for name in dict.fromkeys(dataset(row.first) for row in rows):
        for cost in FRONTS:
            members = [row for row in rows if dataset(row.first) == name and cost in row.front]
            members.sort(key=lambda row: row.figures[cost].mean)
            if members:
                listed = ", ".join(printable(row.label) for row in members)
                lines.append(f"{printable(name)}, against {METRICS[cost].title}: {listed}")
    return lines
