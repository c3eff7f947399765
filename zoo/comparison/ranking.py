"""Runs in order: those that differ in the seed alone together, ranked by a metric within each data set."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.checks import close_matches
from zoo.comparison import configuration, pareto
from zoo.comparison.runs import Run, dataset, epochs, figure, is_invalid, seed
from zoo.metrics import ACCURACIES, METRICS

FRONTS = ("macs", "parameters", "latency_seconds")  # the costs that a Pareto front is drawn against


@dataclass(frozen=True)
class SeedStatistics:
    """A figure over the seeds of a row. Repeats of a seed count as their mean: they tell nothing of other seeds."""

    mean: float
    deviation: float | None  # standard deviation of the sample of seeds (n - 1); None of a single seed
    count: int  # seeds
    runs: int  # that have the figure; more than seeds where one was run several times


@dataclass(frozen=True)
class Row:
    """A configuration with its finished runs, which differ in the seed or repeat one; or a single run."""

    label: str
    runs: tuple[Run, ...]
    figures: dict[str, SeedStatistics]  # of zoo.metrics.METRICS, those that a run has
    rank: int | None = None  # within the data set, 1 is best, equal rows share it; None without the metric
    front: tuple[str, ...] = ()  # the costs, of FRONTS, for which no other row of the data set beats it

    @property
    def first(self) -> Run:
        """A run that stands for all of them."""
        return self.runs[0]

    @property
    def seeds(self) -> dict[int | str | None, int]:
        """Seed -> how many of the runs have it. Runs without a recorded seed count as repeats of one."""
        return Counter(map(seed, self.runs))

    def invalid(self, key: str) -> int:
        """How many of the runs have ended with an invalid value for the figure `key`; they are not in its mean."""
        return sum(is_invalid(run, key) for run in self.runs)

    @property
    def epochs(self) -> int:
        return max(map(epochs, self.runs))


def check_metric(key: str) -> str:
    """`key`, a figure to rank by. Raises ValueError, with the nearest names, for an unknown one."""
    if key not in METRICS:
        raise ValueError(f"There is no metric {key!r}: {close_matches(key, METRICS)}")
    return key


def accuracy_of(metric: str) -> str:
    """The accuracy of the Pareto fronts: the one that is ranked by, else that on the validation split."""
    return metric if metric in ACCURACIES else "val_top1"


def ranked(runs: Sequence[Run], metric: str = "val_top1", single: bool = False) -> list[Row]:
    """Rows, data set by data set, the best first; rows without the metric come last.

    Args:
        metric: key of `zoo.metrics.METRICS`.
        single: a row for each run. Else finished runs that differ in the seed alone share a row; one that has not
            finished keeps a row of its own, for its figures are those of another number of epochs.
    """
    gathered: dict[tuple[Any, ...], list[Run]] = {}
    for index, run in enumerate(runs):
        together = not single and run.status == "finished"
        gathered.setdefault(configuration.identity(run) if together else (index,), []).append(run)
    groups = list(gathered.values())
    named = zip(configuration.labels(groups), groups, strict=True)
    rows = [Row(label, tuple(group), _figures(group)) for label, group in named]
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(dataset(row.first), []).append(row)
    return [row for name in sorted(by_dataset) for row in _in_order(_with_fronts(by_dataset[name], metric), metric)]


def _figures(runs: Sequence[Run]) -> dict[str, SeedStatistics]:
    figures = {}
    for key in METRICS:
        of_seed: dict[int | str | None, list[float]] = {}
        for run in runs:
            if (value := figure(run, key)) is not None:
                of_seed.setdefault(seed(run), []).append(value)
        if of_seed:
            means = [_mean(values) for values in of_seed.values()]
            deviation = statistics.stdev(means) if len(means) > 1 else None
            figures[key] = SeedStatistics(_mean(means), deviation, len(means), sum(map(len, of_seed.values())))
    return figures


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(set(values)) == 1 else statistics.fmean(values)  # a count that all share stays whole


def _in_order(rows: Sequence[Row], metric: str) -> list[Row]:
    sign = -1 if METRICS[metric].higher_is_better else 1
    known = sorted((row for row in rows if metric in row.figures), key=lambda row: sign * row.figures[metric].mean)
    means = [row.figures[metric].mean for row in known]
    order = [replace(row, rank=means.index(row.figures[metric].mean) + 1) for row in known]
    return order + [row for row in rows if metric not in row.figures]


def _with_fronts(rows: Sequence[Row], metric: str) -> list[Row]:
    accuracy = accuracy_of(metric)
    members: list[list[str]] = [[] for _ in rows]
    for cost in FRONTS:
        both = [index for index, row in enumerate(rows) if accuracy in row.figures and cost in row.figures]
        points = [(rows[index].figures[accuracy].mean, rows[index].figures[cost].mean) for index in both]
        for place in pareto.front(points):
            members[both[place]].append(cost)
    return [replace(row, front=tuple(costs)) for row, costs in zip(rows, members, strict=True)]
