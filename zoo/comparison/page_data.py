"""The data of a comparison's page, small enough for one file: runs, curves, classes and settings.

Texts are as they were recorded, cut where they are very long; the page shows them as text.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from zoo import metrics
from zoo.comparison import configuration
from zoo.comparison.ranking import FRONTS, accuracy_of, ranked
from zoo.comparison.runs import Run, dataset, epochs, family, figure, groups, is_invalid, planned_epochs, seed
from zoo.comparison.table import HEADINGS

CURVES = {"val_top1": metrics.VAL_TOP1, "train_loss": metrics.TRAIN_LOSS, "val_loss": metrics.VAL_LOSS}
MOST_POINTS = 60_000  # epochs over all runs; more are thinned out
FEWEST_EPOCHS = 20  # that a run keeps
MOST_CELLS = 300_000  # of all confusion matrices; those of the best runs are kept
LONGEST_NAME, LONGEST_TEXT = 300, 600  # characters
MOST_NOTES = 200


def page_data(runs: Sequence[Run], metric: str, notes: Sequence[str], created_at: datetime) -> dict[str, Any]:
    """Everything that the page shows, in JSON's types.

    Args:
        metric: that runs are ranked by when the page is opened, a key of `zoo.metrics.METRICS`.
        notes: what could not be read, a sentence each.
    """
    rows = ranked(runs, metric)
    row_of = {id(run): index for index, row in enumerate(rows) for run in row.runs}
    labels = configuration.labels([[run] for run in runs])
    notes = list(notes)
    evaluations, classes = _evaluations([run for row in rows for run in row.runs], notes)
    settings = [configuration.recorded(run) for run in runs]
    keys = configuration.differing(settings)  # what all runs share is no difference between any two
    texts: dict[str, int] = {}
    points = sum(len(run.history.get(metrics.EPOCH, [])) for run in runs)
    longest = max(FEWEST_EPOCHS, MOST_POINTS // max(1, len(runs))) if points > MOST_POINTS else None
    run_entries: list[dict[str, Any]] = [
        {
            "label": _cut(label, LONGEST_NAME),
            "name": _parts(label, run),
            "seed": seed(run),
            "path": _cut(run.path, LONGEST_NAME),
            "row": row_of[id(run)],
            "status": run.status,
            "family": _cut(family(run), LONGEST_NAME),
            "groups": _cut(groups(run), LONGEST_NAME),
            "dataset": _cut(dataset(run), LONGEST_NAME),
            "epochs": epochs(run),
            "planned": planned_epochs(run),
            "error": _cut(run.result.get("error") or "", LONGEST_TEXT),
            "values": {key: value for key in metrics.METRICS if (value := figure(run, key)) is not None},
            "invalid": [key for key in metrics.METRICS if is_invalid(run, key)],
            "curves": _curves(run, longest),
            "evaluation": evaluations.get(id(run)),
            "settings": [
                texts.setdefault(_cut(known[key], LONGEST_TEXT), len(texts)) if key in known else None for key in keys
            ],
        }
        for run, label, known in zip(runs, labels, settings, strict=True)
    ]
    left = len(notes) - MOST_NOTES
    return {
        "made": created_at.strftime("%Y-%m-%d %H:%M %Z").strip(),
        "metric": metric,
        "accuracy": accuracy_of(metric),
        "metrics": {
            key: {
                "title": each.title,
                "short": HEADINGS.get(key, each.title),
                "kind": each.kind,
                "higher": each.higher_is_better,
            }
            for key, each in metrics.METRICS.items()
            if key in (metric, "val_top1", *metrics.COSTS) or any(key in run["values"] for run in run_entries)
        },
        "costs": list(metrics.COSTS),
        "fronts": list(FRONTS),
        "rows": [{"label": _cut(row.label, LONGEST_NAME), "name": _parts(row.label, row.first)} for row in rows],
        "runs": run_entries,
        "classes": classes,
        "keys": [_cut(key, LONGEST_NAME) for key in keys],
        "settings": len({key for known in settings for key in known}),
        "texts": list(texts),
        "thinned": longest,
        "notes": [_cut(note, LONGEST_TEXT) for note in notes[:MOST_NOTES]]
        + ([f"And {left} more, which the command has named."] if left > 0 else []),
    }


def _parts(label: str, run: Run) -> list[str]:
    """The run's name in a label, without the data set at its end, which need not be repeated; and the rest."""
    name, rest = run.name, label[len(run.name) :].strip()
    # As names of runs are made of theirs, see zoo.tracking.config.
    suffix = "-" + re.sub(r"[^\w.+-]+", "-", dataset(run)).strip("-")
    return [_cut(name.removesuffix(suffix) or name, LONGEST_NAME), _cut(rest, LONGEST_NAME)]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _curves(run: Run, longest: int | None) -> dict[str, list[float | None]]:
    """What is drawn of the epochs; at most `longest` of them, evenly chosen, the last one always."""
    numbers = run.history.get(metrics.EPOCH, [])
    indices: Sequence[int] = range(len(numbers))
    if longest is not None and len(numbers) > longest:
        indices = [round(place * (len(numbers) - 1) / (longest - 1)) for place in range(longest)]
    columns = {key: run.history[column] for key, column in CURVES.items() if column in run.history}
    seconds = _seconds(run)
    if numbers:
        columns["epoch"] = numbers
    if seconds:
        columns["seconds"] = seconds
    return {key: [_short(column[index]) for index in indices] for key, column in columns.items()}


def _seconds(run: Run) -> list[float | None]:
    """Wall time at the end of each epoch; of training alone, added up, where older runs tell no more."""
    recorded = run.history.get(metrics.SECONDS, [])
    if any(value is not None for value in recorded):
        return recorded
    each = run.history.get(metrics.TRAIN_SECONDS, [])
    if not each or None in each:
        return []
    return list(accumulate(each))


def _short(value: float | None) -> float | int | None:
    """`value` with five digits, which is more than a chart can show."""
    if value is None:
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() else short


def _evaluations(best_first: Sequence[Run], notes: list[str]) -> tuple[dict[int, dict[str, Any]], list[list[str]]]:
    """id of a run -> its confusion matrix, as far as they fit, and the lists of classes that they name."""
    classes: dict[tuple[str, ...], int] = {}
    matrices, cells, without = {}, 0, 0
    for run in best_first:
        if run.evaluation is None:
            continue
        if cells + len(run.evaluation.confusion) > MOST_CELLS:
            without += 1
            continue
        cells += len(run.evaluation.confusion)
        matrices[id(run)] = {
            "split": _cut(run.evaluation.split, LONGEST_NAME),
            "classes": classes.setdefault(run.evaluation.classes, len(classes)),
            "cells": [number for cell in run.evaluation.confusion for number in cell],
        }
    if without:
        notes.append(
            f"The confusion matrices of {without} runs are not in this page, which would be too large with them; "
            "those of the best-ranked runs are. Comparing fewer runs brings them in."
        )
    return matrices, [[_cut(name, LONGEST_NAME) for name in names] for names in classes]
