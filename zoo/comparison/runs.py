"""Training runs as they were recorded, from run directories or from W&B, and the figures that they are compared by."""

import statistics
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from zoo import metrics

STATUSES = ("finished", "interrupted", "failed", "running", "crashed")
UNKNOWN = "unknown"  # a family or a data set that a run does not tell
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # embeddings, overrides and isolates of Unicode
NO_GROUPS = "-"  # of a network whose spatial convolutions are depthwise


@dataclass(frozen=True)
class Evaluation:
    """What the network made of every image of a split, counted."""

    split: str  # "validation"
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, int, int], ...]  # true class, predicted class, images; no zeros


@dataclass(frozen=True)
class Run:
    """One training run as it was recorded."""

    path: str  # the run directory as shown to the user, or ENTITY/PROJECT/ID on W&B
    name: str
    status: str  # one of STATUSES: "crashed" is one that says "running" and whose process is gone
    result: dict[str, Any]  # what result.json says
    history: dict[str, list[float | None]]  # columns of metrics.csv, a value an epoch
    evaluation: Evaluation | None


# What result.json only says of a run that has ended is taken from the epochs of one that has not.
FROM_HISTORY: dict[str, tuple[str, Callable[[Sequence[float]], float]]] = {
    "val_top1": (metrics.VAL_TOP1, lambda values: values[-1]),
    "best_val_top1": (metrics.VAL_TOP1, max),
    "val_top5": (metrics.VAL_TOP5, lambda values: values[-1]),
    "train_loss": (metrics.TRAIN_LOSS, lambda values: values[-1]),
    "val_loss": (metrics.VAL_LOSS, lambda values: values[-1]),
    "train_images_per_second": (
        metrics.TRAIN_IMAGES_PER_SECOND,
        lambda values: statistics.median(values[1:] or values),  # caches fill in the first epoch
    ),
    "peak_memory_bytes": ("peak_memory_bytes", max),
    "seconds": (metrics.SECONDS, lambda values: values[-1]),
}


def figure(run: Run, key: str) -> float | None:
    """The figure `key`, one of `zoo.metrics.METRICS`: of the last whole epoch where the run has not ended."""
    value = run.result.get(key)
    if value is None and key in FROM_HISTORY:
        column, chosen = FROM_HISTORY[key]
        values = [each for each in run.history.get(column, []) if each is not None]
        value = chosen(values) if values else None
    return value


def epochs(run: Run) -> int:
    """How many epochs the run has finished."""
    told = run.result.get("epochs")
    return told if told is not None else len(run.history.get(metrics.EPOCH, []))


def family(run: Run) -> str:
    """The family of the network: what the run says, else that of the zoo's network of this name."""
    return run.result.get("family") or _families().get(run.result.get("model"), UNKNOWN)


def dataset(run: Run) -> str:
    return run.result.get("dataset") or UNKNOWN


def groups(run: Run) -> str:
    """Groups in a few letters: "32", "13+13+12" for uneven ones, or `NO_GROUPS`."""
    value = run.result.get("groups")
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    return NO_GROUPS if value is None else str(value)


def wandb_id(run: Run) -> str | None:
    """W&B's id of the run; None where it was not logged there."""
    told = run.result.get("wandb")
    return told.get("id") if isinstance(told, dict) else None


@cache
def _families() -> dict[str, str]:
    """Name of a network -> its family; older runs tell only the name."""
    from zoo.registry import family_key, variants

    return {name: family_key(config) for name, config in variants().items()}


def printable(text: str) -> str:
    """`text` for a terminal: what moves the cursor, turns the line round or cannot be encoded becomes U+FFFD."""
    # Control characters, lone surrogates, the ends of line and paragraph, and the marks that turn text round.
    unfit = ("Cc", "Cs", "Zl", "Zp")
    return "".join(
        "\ufffd" if unicodedata.category(letter) in unfit or letter in TURNING else letter for letter in text
    )
