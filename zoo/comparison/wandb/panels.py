"""The panels that W&B draws of a comparison, in a workspace and in a report alike, and the keys that they read.

A panel finds a figure under the key that training logs it with: in the summary, a key of `zoo.metrics.METRICS`; in the
history, a column of `metrics.csv`; in the config, `family` and what the resolved configuration has; and in tables,
which are named here with their columns, see `zoo.tracking.panels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo import metrics
from zoo.comparison.configuration import determining, differing
from zoo.comparison.runs import Run, family, groups
from zoo.metrics import COSTS, METRICS

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes

# W&B keeps the table of a chart `KEY` (`wandb.plot_table`, `wandb.plot.bar`) under KEY_table.
CONFUSION_TABLE = f"{metrics.CONFUSION}_table"
CONFUSION_CHART, CONFUSION_COLUMNS = "wandb/confusion_matrix/v1", ("Actual", "Predicted", "nPredictions")
PER_CLASS_TABLE = f"{metrics.PER_CLASS}_table"
PER_CLASS_CHART, PER_CLASS_LABEL, PER_CLASS_VALUE = "wandb/bar/v0", "class", "accuracy"
TABLES = (metrics.MISTAKES, metrics.LAYERS)  # shown as they are

# Config keys, with dots into the resolved configuration.
FAMILY, GROUPS, NETWORK, DATASET, SEED = "family", "groups", "network", "dataset.name", "seed"
GROUPED_BY = (FAMILY, GROUPS)  # and what else sets the configurations apart, see `grouped_by`

AGAINST = ("macs", "parameters", "latency_seconds")  # costs that accuracy is drawn against
CURVES = (metrics.VAL_TOP1, metrics.VAL_LOSS, metrics.TRAIN_TOP1, metrics.TRAIN_LOSS)
CLOCKS = {metrics.EPOCH: "epoch", metrics.SECONDS: "wall time in seconds"}
FEWEST = 10  # runs that a panel shows at least
WIDE, TALL = 24, 8  # of a report's grid: its columns, and rows of a panel


def titled(key: str) -> str:
    """The title of a figure, as a heading has it: "Validation top-1"."""
    title = METRICS[key].title
    return f"{title[0].upper()}{title[1:]}"


def scatters(accuracy: str) -> list[PanelTypes]:
    """Accuracy against each cost, a point for each run."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.ScatterPlot(
            title=f"{titled(accuracy)} against {METRICS[cost].title}",
            x=wr.SummaryMetric(cost),
            y=wr.SummaryMetric(accuracy),
            log_x=True,
            legend_template=f"${{run:displayName}} ${{config:{FAMILY}}} ${{config:{GROUPS}}}",
        )
        for cost in AGAINST
    ]


def curves(runs: int) -> list[PanelTypes]:
    """Learning curves, each against the epoch and against the wall time."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(
            title=f"{curve} by {name}",
            x=clock,
            y=[curve],
            title_x=name,
            title_y=curve,
            max_runs_to_show=max(runs, FEWEST),
        )
        for curve in CURVES
        for clock, name in CLOCKS.items()
    ]


def bars(metric: str, runs: int) -> list[PanelTypes]:
    """The metric that is ranked by, and each cost, a bar for each run or group of runs."""
    import wandb_workspaces.reports.v2 as wr

    most = max(runs, FEWEST)
    return [
        wr.BarPlot(title=titled(key), metrics=[key], max_runs_to_show=most, max_bars_to_show=most)
        for key in dict.fromkeys([metric, *COSTS])
    ]


def classes() -> list[PanelTypes]:
    """Confusion matrix and accuracy of each class."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.CustomChart(
            query=_table_of(CONFUSION_TABLE),
            chart_name=CONFUSION_CHART,
            chart_fields={column: column for column in CONFUSION_COLUMNS},
            chart_strings={"title": "Confusion matrix"},
        ),
        wr.CustomChart(
            query=_table_of(PER_CLASS_TABLE),
            chart_name=PER_CLASS_CHART,
            chart_fields={"label": PER_CLASS_LABEL, "value": PER_CLASS_VALUE},
            chart_strings={"title": "Accuracy by class"},
        ),
    ]


def _table_of(key: str) -> dict[str, Any]:
    """A chart's query for the table of each run, with the run's id and name beside it."""
    return {"summaryTable": {"tableKey": key}, "id": {}, "name": {}}


def tables() -> list[PanelTypes]:
    """The worst mistakes with their images, and the layers of the networks."""
    import wandb_workspaces.reports.v2 as wr

    return [wr.WeavePanelSummaryTable(table_name=key) for key in TABLES]


def differences() -> list[PanelTypes]:
    """What the configurations of the runs do not have in common."""
    import wandb_workspaces.reports.v2 as wr

    return [wr.RunComparer(diff_only="split")]


def laid_out(panels: Sequence[Any], across: int) -> list[Any]:
    """The panels of a report's grid, `across` in a row."""
    width = WIDE // across
    for index, panel in enumerate(panels):
        layout = panel.layout
        layout.x, layout.y = width * (index % across), TALL * (index // across)
        layout.w, layout.h = width, TALL
    return list(panels)


def columns(metric: str) -> list[str]:
    """Columns of the table of runs, as W&B addresses them, in order."""
    config = [f"config:{_in_config(key)}" for key in (FAMILY, GROUPS, DATASET, SEED)]
    return ["run:displayName", *config, "run:state", *(f"summary:{key}" for key in dict.fromkeys([metric, *COSTS]))]


def _in_config(key: str) -> str:
    """W&B keeps each first key's value under "value": dataset.name -> dataset.value.name."""
    first, dot, rest = key.partition(".")
    return f"{first}.value{dot}{rest}"


def grouped_by(runs: Sequence[Run]) -> list[str]:
    """Config keys such that runs which are equal in them differ in the seed alone: W&B averages over a group."""
    settings = [determining(run) for run in runs]
    values: dict[str, list[str | None]] = {
        FAMILY: [family(run) for run in runs],
        GROUPS: [groups(run) for run in runs],
        NETWORK: [run.result.get("model") for run in runs],
    }
    values |= {key: [each.get(key) for each in settings] for key in differing(settings) if key not in values}
    chosen = list(GROUPED_BY)
    groups_now = list(zip(*(values[key] for key in chosen), strict=True))
    for key, column in values.items():
        finer = list(zip(groups_now, column, strict=True))
        if len(set(finer)) > len(set(groups_now)):
            chosen += [key] if key not in chosen else []
            groups_now = finer
    return chosen


def only(ids: Sequence[str]) -> str:
    """The filter that leaves these runs."""
    return f'Metric("ID") in {list(ids)!r}'
