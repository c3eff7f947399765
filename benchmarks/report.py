"""Tables of a comparison: CSV, ratios, geometric means. Imports no framework.

A ratio says how many times as fast the zoo is: its speed over the other contender's, above 1 where the zoo is faster.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

OURS = "zoo"


def add_ratios(rows: Iterable[dict], seconds: str, same: Sequence[str], ours: str = OURS) -> None:
    """Put `ratio_to_zoo` into each row: its `seconds` over those of our row that agrees with it in `same`."""
    rows = list(rows)
    own = {tuple(row[key] for key in same): row[seconds] for row in rows if row["contender"] == ours}
    for row in rows:
        reference, value = own.get(tuple(row[key] for key in same)), row[seconds]
        row["ratio_to_zoo"] = value / reference if reference and value else None


def geometric_mean(values: Iterable[float]) -> float:
    """Raises ValueError for none."""
    values = list(values)
    if not values:
        raise ValueError("There is no geometric mean of nothing.")
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(rows: Iterable[Mapping], by: Sequence[str], ours: str = OURS) -> list[tuple]:
    """(values of `by`, contender, geometric mean of the ratios, how many) for each group and contender but ours."""
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if row["contender"] != ours and row["ratio_to_zoo"] is not None:
            groups.setdefault((*(row[key] for key in by), row["contender"]), []).append(row["ratio_to_zoo"])
    return [(*group, geometric_mean(ratios), len(ratios)) for group, ratios in groups.items()]


def write_csv(path: str | Path, rows: Sequence[Mapping], columns: Sequence[str]) -> None:
    """Write the rows; a missing value is an empty cell. Folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: cell(row[key]) for key in columns} for row in rows)


def cell(value: object) -> object:
    """A value as the CSV has it: six digits of a float, nothing for None."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def read_csv(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def rate(value: float | None, unit: str = "") -> str:
    """A figure with three or four digits, or a dash."""
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{unit}"


def milliseconds(seconds: float | None) -> str:
    """A time as it is printed, or a dash."""
    return rate(None if seconds is None else 1000 * seconds, " ms")
