"""What the files of a run may hold; all else is left out and named, for a comparison must not rest on it."""

import math
from collections.abc import Callable
from typing import Any

from zoo.errors import UserError
from zoo.metrics import COSTS, METRICS, SECONDS

SHOWN = 40  # characters of an invalid value
DEEPEST = 50  # nesting of a configuration
LARGEST = 1e30  # of a figure: more is damage, and would be infinite where it is squared
RECORDED = ("finished", "interrupted", "failed", "running")  # statuses that a run writes
TEXTS = ("name", "group", "model", "dataset", "family", "error", "commit", "changes", "backend", "processor")
MAPPINGS = ("config", "data", "family_settings", "packages", "process", "variables", "versions", "wandb")
COUNTS = ("seed", "epochs", "epochs_planned")


class DamagedError(UserError):
    """A file, or a part of it, that is not what a run writes; the text says what is wrong with it."""


def shown(value: Any) -> str:
    """`value` as Python writes it, cut."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number of a size that a figure can have."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -LARGEST <= value <= LARGEST  # false for NaN too


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def figure_fits(key: str, value: Any) -> bool:
    """Whether a figure of `zoo.metrics.METRICS` can be `value`."""
    if not is_number(value):
        return False
    kind = METRICS[key].kind
    if kind == "share":
        return 0 <= value <= 1
    return kind == "loss" or value > 0 or (value == 0 and key not in COSTS)


def column_fits(column: str, value: float) -> bool:
    """Whether a cell of this column of metrics.csv can be `value`."""
    if not math.isfinite(value) or abs(value) > LARGEST:
        return False
    if column.endswith(("/top1", "/top5")):
        return 0 <= value <= 1
    return value >= 0 if column in (SECONDS, "epoch", "train/seconds", "train/images_per_second") else True


def checked_result(raw: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """What result.json says, without invalid values; one call of `say` names all that were ignored.

    Raises:
        DamagedError: it is no record of a run at all.
    """
    if not isinstance(raw, dict):
        raise DamagedError(f"it holds {shown(raw)} where a run writes an object")
    if raw.get("status") not in RECORDED:
        raise DamagedError(f"status={shown(raw.get('status'))} is none of {', '.join(RECORDED)}")
    wrong = [key for key, value in raw.items() if value is not None and not _fits(key, value)]
    if wrong:
        listed = ", ".join(f"{shown(key)[1:-1]}={shown(raw[key])}" for key in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        say(f"{listed}{more} {'is' if len(wrong) == 1 else 'are'} invalid and ignored")
    return {key: value for key, value in raw.items() if key not in wrong}


def _fits(key: str, value: Any) -> bool:
    if key in METRICS:
        return figure_fits(key, value)
    if key in TEXTS:
        return isinstance(value, str)
    if key in MAPPINGS:
        return isinstance(value, dict) and _is_shallow(value)
    if key in COUNTS:
        return is_count(value)
    if key == "groups":
        many = value if isinstance(value, list) and value else [value]
        return isinstance(value, str) or all(is_count(each) and each > 0 for each in many)
    return True


def _is_shallow(value: Any) -> bool:
    """Whether lists and objects lie in each other at most `DEEPEST` times."""
    level = [value]
    for _ in range(DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [item for items in inner for item in items]
    return not level


def checked_evaluation(raw: Any) -> tuple[str, tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Split, classes and cells of evaluation.json, equal cells added up.

    Raises:
        DamagedError: any of it is not what a run writes; a confusion matrix with holes would only mislead.
    """
    if not isinstance(raw, dict):
        raise DamagedError(f"it holds {shown(raw)} where a run writes an object")
    split, classes, cells = raw.get("split"), raw.get("classes"), raw.get("confusion")
    if not isinstance(split, str):
        raise DamagedError(f"split={shown(split)} is no name")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise DamagedError(f"classes={shown(classes)} is no list of names")
    if not isinstance(cells, list):
        raise DamagedError(f"confusion={shown(cells)} is no list")
    counts: dict[tuple[int, int], int] = {}
    for cell in cells:
        fits = isinstance(cell, list) and len(cell) == 3 and all(map(is_count, cell))
        if not fits or max(cell[:2]) >= len(classes):
            raise DamagedError(f"confusion has {shown(cell)}, which is no [true class, predicted class, images]")
        counts[cell[0], cell[1]] = counts.get((cell[0], cell[1]), 0) + cell[2]
    return split, tuple(classes), tuple((*place, images) for place, images in sorted(counts.items()) if images)
