"""The ranked table: for a person on a terminal or in a file, and as rows and a document for programs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TextIO

from zoo.comparison.ranking import FRONTS, Row, SeedStatistics
from zoo.comparison.runs import Run, dataset, family, groups, planned_epochs, printable, seed
from zoo.metrics import COSTS, METRICS

HEADINGS = {  # narrower than the titles of zoo.metrics
    "parameters": "params",
    "macs": "MACs",
    "activations": "activations",
    "peak_memory_bytes": "peak mem",
    "train_images_per_second": "img/s",
    "latency_seconds": "latency",
    "seconds": "duration",
}
FRONT_WORDS = {"macs": "MACs", "parameters": "params", "latency_seconds": "latency"}
NONE, INVALID = "-", "invalid"
# On a narrow terminal: widths to which texts are folded, and columns that give way, the first one first.
FOLDED = {"name": 24, "Pareto front": 14}
FIRST_TO_GO = ("family", "epochs", "peak mem", "status", "data set", "img/s", "groups", "params")


def number(key: str, value: float | None) -> str:
    """A figure of `zoo.metrics.METRICS` in a few letters, with its unit."""
    if value is None:
        return NONE
    kind = METRICS[key].kind
    if kind == "share":
        return f"{100 * value:.2f} %"
    if kind == "loss":
        return f"{value:.4f}"
    if kind == "bytes":
        return _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))
    if kind == "count":
        return _scaled(value, 1000, ("", " K", " M", " G", " T"))
    if kind == "rate":
        return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:,.1f} s"


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    unit = 0
    while value >= 999.5 and unit < len(units) - 1:
        value, unit = value / step, unit + 1
    return f"{value:.3g}{units[unit]}" if value < 999.5 else f"{value:,.0f}{units[unit]}"


def figure_text(row: Row, key: str) -> str:
    """A figure of a row and how far its seeds differ in it: "98.73 ± 0.21 % (3)", "98.73 % (5 repeats)", "invalid"."""
    value, invalid = row.figures.get(key), row.invalid(key)
    if value is None:
        return INVALID if invalid else NONE
    notes = [counts(value)] if value.runs > 1 else []
    notes += [f"{invalid} {INVALID}"] if invalid else []
    text = number(key, value.mean)
    if value.deviation is not None and METRICS[key].kind == "share":
        text = f"{100 * value.mean:.2f} ± {100 * value.deviation:.2f} %"
    elif value.deviation is not None:
        text = f"{text} ± {number(key, value.deviation)}"
    return f"{text} ({', '.join(notes)})" if notes else text


def counts(value: SeedStatistics) -> str:
    """How many seeds and runs a figure is of: "3", "5 repeats" of one seed, or "3 seeds, 7 runs"."""
    if value.runs == value.count:
        return str(value.count)
    return f"{value.runs} repeats" if value.count == 1 else f"{value.count} seeds, {value.runs} runs"


def cell(row: Row, key: str) -> str:
    """A figure of a row, without its spread."""
    value = row.figures.get(key)
    if value is None:
        return INVALID if row.invalid(key) else number(key, None)
    return number(key, value.mean)


def progress(row: Row) -> str:
    """Epochs that were done, of those that were planned where it is fewer: "34/300"."""
    planned = planned_epochs(row.first)
    return f"{row.epochs}/{planned}" if planned and planned > row.epochs else str(row.epochs)


def columns(metric: str) -> list[tuple[str, bool, Callable[[Row], str]]]:
    """Heading, whether it holds numbers, and the cell of a row, of each column."""
    costs = [key for key in COSTS if key != metric]
    return [
        ("rank", True, lambda row: NONE if row.rank is None else str(row.rank)),
        ("name", False, lambda row: printable(row.label)),
        ("family", False, lambda row: printable(family(row.first))),
        ("groups", True, lambda row: printable(groups(row.first))),
        ("data set", False, lambda row: printable(dataset(row.first))),
        ("status", False, lambda row: row.first.status),
        (HEADINGS.get(metric, METRICS[metric].title), True, lambda row: figure_text(row, metric)),
        *((HEADINGS[key], True, partial(cell, key=key)) for key in costs),
        ("epochs", True, progress),
        ("Pareto front", False, lambda row: ", ".join(FRONT_WORDS[key] for key in row.front)),
    ]


def write_table(rows: Sequence[Row], metric: str, file: TextIO, width: int | None = None) -> None:
    """Print the table: with all columns to a file, and on a terminal with those that fit, naming the others.

    Args:
        width: characters of a line of the terminal; None measures it. Given, `file` is taken for a terminal.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = {heading: [cell(row) for row in rows] for heading, _, cell in columns(metric)}
    widths = {heading: max(map(cell_len, [heading, *cells[heading]])) for heading in cells}
    terminal = width is not None or file.isatty()
    if not terminal:
        right = {heading for heading, aligned, _ in columns(metric) if aligned}
        for line in [dict.fromkeys(cells), *range(len(rows))]:
            texts = [(name, name if isinstance(line, dict) else cells[name][line]) for name in cells]
            padded = [_padded(text, widths[name] - cell_len(text), name in right) for name, text in texts]
            file.write("  ".join(padded).rstrip() + "\n")
        return
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)
    for heading in set(FOLDED) & set(widths):
        widths[heading] = min(widths[heading], FOLDED[heading])
    same = [heading for heading in cells if heading != "name" and len(rows) > 1 and len(set(cells[heading])) == 1]
    dropped = []
    for heading in [*same, *(heading for heading in FIRST_TO_GO if heading not in same)]:
        if sum(widths[name] + 2 for name in cells if name not in dropped) <= console.width:
            break
        dropped.append(heading)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, aligned, _ in columns(metric):
        if heading not in dropped:
            folds = heading in FOLDED
            justify: Literal["right", "left"] = "right" if aligned else "left"
            table.add_column(heading, justify=justify, no_wrap=not folds, overflow="fold", min_width=widths[heading])
    for index in range(len(rows)):
        table.add_row(*(Text(cells[heading][index]) for heading in cells if heading not in dropped))
    console.print(table)
    alike = [f"{heading} {cells[heading][0]}" for heading in dropped if heading in same]
    if alike:
        console.print(Text(f"The same in every row: {', '.join(alike)}."))
    if left := [heading for heading in dropped if heading not in same]:
        console.print(Text(f"A wider terminal, or --csv, shows {', '.join(left)} too."))


def _padded(text: str, space: int, right: bool) -> str:
    return " " * space + text if right else text + " " * space


def csv_rows(rows: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    """Column -> value of each row: a figure is its mean, the standard deviation over the seeds, and how many have it.

    `repeats` has the number of runs of each of the `seeds`, in their order; `invalid` the figures that a run has ended
    with an invalid value for.
    """
    figures = [metric, *(key for key in METRICS if key != metric)]
    records = []
    for row in rows:
        values: dict[str, Any] = {
            "rank": row.rank,
            "name": printable(row.label),
            "family": printable(family(row.first)),
            "groups": printable(groups(row.first)),
            "dataset": printable(dataset(row.first)),
            "status": row.first.status,
            "runs": len(row.runs),
            "seeds": [str(each) for each in row.seeds if each is not None],
            "repeats": [str(runs) for each, runs in row.seeds.items() if each is not None],
            "invalid": _invalid(row),
        }
        for key in figures:
            known = row.figures.get(key)
            values |= {
                key: known and known.mean,
                f"{key}_sd": known and known.deviation,
                f"{key}_n": known.count if known else 0,
            }
        values |= {"epochs": row.epochs, "epochs_planned": planned_epochs(row.first)}
        records.append(values | {"pareto": row.front, "paths": [printable(run.path) for run in row.runs]})
    return records


def _invalid(row: Row) -> list[str]:
    return [key for key in METRICS if row.invalid(key)]


def document(rows: Sequence[Row], metric: str) -> dict[str, Any]:
    """The rows in JSON's types: {"metric": ..., "rows": [{"rank": 1, "figures": {...}, "runs": [...], ...}]}."""

    def run_values(run: Run) -> dict[str, Any]:
        values = {"path": run.path, "name": run.name, "status": run.status, "seed": seed(run)}
        return values | ({"error": run.result["error"]} if run.result.get("error") else {})

    def values(row: Row) -> dict[str, Any]:
        return {
            "rank": row.rank,
            "name": row.label,
            "family": family(row.first),
            "groups": row.first.result.get("groups"),
            "dataset": dataset(row.first),
            "status": row.first.status,
            "figures": {
                key: {"mean": each.mean, "deviation": each.deviation, "seeds": each.count, "runs": each.runs}
                for key, each in row.figures.items()
            },
            "repeats": [{"seed": each, "runs": runs} for each, runs in row.seeds.items()],
            "invalid": {key: row.invalid(key) for key in _invalid(row)},
            "epochs": row.epochs,
            "epochs_planned": planned_epochs(row.first),
            "pareto": list(row.front),
            "runs": [run_values(run) for run in row.runs],
        }

    chosen = METRICS[metric]
    described = {"key": metric, "title": chosen.title, "higher_is_better": chosen.higher_is_better}
    return {"metric": described, "fronts": list(FRONTS), "rows": [values(row) for row in rows]}
