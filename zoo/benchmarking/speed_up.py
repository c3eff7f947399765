"""How many times as fast each row is as the row that it is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BASELINE = "stock"  # the contender


def with_speed_up(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with `speed_up`: its images per second over those of its baseline, or None without one.

    The baseline is the contender "stock" of the same network in the same mode, batch and image size. Where that was not
    measured, it is the first row of that mode with as many parameters: of a file and the same model converted, the one
    that was named first. A row that nothing is compared with has none.

    Example:
        >>> from zoo.benchmarking.speed_up import with_speed_up
        >>> common = {"name": "net", "mode": "training", "batch": 32, "height": 96, "width": 96, "parameters": 5}
        >>> rates = {"bfloat16": 60.0, "stock": 20.0}
        >>> rows = [common | {"contender": name, "images_per_second": rate} for name, rate in rates.items()]
        >>> [row["speed_up"] for row in with_speed_up(rows)]
        [3.0, 1.0]
    """
    baselines = [_baseline(row, rows) for row in rows]
    compared = [id(baseline) for row, baseline in zip(rows, baselines, strict=True) if baseline is not row]
    return [
        {**row, "speed_up": _ratio(row, baseline) if id(baseline) in compared else None}
        for row, baseline in zip(rows, baselines, strict=True)
    ]


def _baseline(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    if row["images_per_second"] is None:
        return None
    setting = ("mode", "batch", "height", "width")
    alike = [
        other
        for other in rows
        if other["images_per_second"] is not None and all(other[key] == row[key] for key in setting)
    ]
    own = [other for other in alike if other["name"] == row["name"] and other["contender"] == BASELINE]
    as_large = [other for other in alike if other["parameters"] == row["parameters"] is not None]
    return next(iter(own or as_large), None)


def _ratio(row: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> float | None:
    return None if baseline is None else row["images_per_second"] / baseline["images_per_second"]
