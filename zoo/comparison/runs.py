"""Training runs as they were recorded, from run directories or from W&B, and the figures that they are compared by."""

import statistics
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from zoo import metrics

STATUSES = ("finished", "interrupted", "failed", "running", "crashed")
UNKNOWN = "unknown"  # a family or a data set that a run does not record
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
    invalid: tuple[str, ...] = ()  # figures of zoo.metrics.METRICS that `result` had with a value that cannot be


# What result.json only says of a run that has ended is taken from the epochs of one that has not: from the last epoch
# where there is no function of all.
FROM_HISTORY: dict[str, tuple[str, Callable[[Sequence[float]], float] | None]] = {
    "val_top1": (metrics.VAL_TOP1, None),
    "best_val_top1": (metrics.VAL_TOP1, max),
    "val_top5": (metrics.VAL_TOP5, None),
    "train_loss": (metrics.TRAIN_LOSS, None),
    "val_loss": (metrics.VAL_LOSS, None),
    "train_images_per_second": (
        metrics.TRAIN_IMAGES_PER_SECOND,
        lambda values: statistics.median(values[1:] or values),  # caches fill in the first epoch
    ),
    "peak_memory_bytes": ("peak_memory_bytes", max),
    "seconds": (metrics.SECONDS, None),
}
# Recorded as null where it is NaN or infinite; null for anything else means that it was not measured.
NULL_IF_INVALID = ("val_top1", "val_top5", "train_loss", "val_loss", "test_top1", "test_top5", "test_loss")


def figure(run: Run, key: str) -> float | None:
    """The figure `key`, one of `zoo.metrics.METRICS`; None where it is unknown or invalid.

    What result.json does not have is taken from the epochs. Of a run that has ended, the last epoch counts as it is:
    where its value is invalid, no earlier one takes its place. Of a run that goes on, it is the last valid value.
    """
    value = run.result.get(key)
    recorded = key in run.invalid or (run.status == "finished" and key in NULL_IF_INVALID and key in run.result)
    if value is not None or recorded or key not in FROM_HISTORY:
        return value
    column, over_all = FROM_HISTORY[key]
    values = run.history.get(column, [])
    if over_all is None and run.status != "running":
        return values[-1] if values and _is_whole(run) else None
    valid = [each for each in values if each is not None]
    return (over_all(valid) if over_all else valid[-1]) if valid else None


def is_invalid(run: Run, key: str) -> bool:
    """Whether the run has ended with a value for `key` that is no figure: NaN, infinite, or out of its range."""
    if figure(run, key) is not None:
        return False
    if key in run.invalid:
        return True
    measured = epochs(run) > 0 or run.result.get("mode") == "evaluate"  # which has no epochs
    ended = run.status != "running" and key in NULL_IF_INVALID and measured
    return ended and (key in run.result or FROM_HISTORY.get(key, ("",))[0] in run.history)


def _is_whole(run: Run) -> bool:
    """Whether the last epoch of the history is the last one of the run: a damaged line may have been left out."""
    numbers = run.history.get(metrics.EPOCH, [])
    return bool(numbers) and numbers[-1] >= run.result.get("epochs", 0)


def epochs(run: Run) -> int:
    """How many epochs the run has finished."""
    recorded = run.result.get("epochs")
    return recorded if recorded is not None else len(run.history.get(metrics.EPOCH, []))


def planned_epochs(run: Run) -> int | None:
    """How many epochs the run is to have: what it says, else what its configuration says."""
    config = run.result.get("config")
    recipe = config.get("recipe") if isinstance(config, dict) else None
    configured = recipe.get("epochs") if isinstance(recipe, dict) else None
    return run.result.get("epochs_planned", configured if isinstance(configured, int) else None)


def family(run: Run) -> str:
    """The family of the network: what the run says, else that of the zoo's network of this name."""
    return run.result.get("family") or _families().get(str(run.result.get("model")), UNKNOWN)


def dataset(run: Run) -> str:
    return run.result.get("dataset") or UNKNOWN


def seed(run: Run) -> int | str | None:
    """The seed of the run's random numbers, and the fold of its data if there is one; None where it is not recorded."""
    config = run.result.get("config")
    config = config if isinstance(config, dict) else {}
    value = run.result.get("seed", config.get("seed"))
    if not isinstance(value, (int, str)):
        return None
    data = config.get("dataset")
    fold = data.get("fold") if isinstance(data, dict) else None
    return value if fold is None else f"{value}, fold {fold}"


def groups(run: Run) -> str:
    """Groups in a few letters: "32", "13+13+12" for uneven ones, or `NO_GROUPS`."""
    value = run.result.get("groups")
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    return NO_GROUPS if value is None else str(value)


def wandb_id(run: Run) -> str | None:
    """W&B's id of the run; None where it was not logged there."""
    wandb_entry = run.result.get("wandb")
    return wandb_entry.get("id") if isinstance(wandb_entry, dict) else None


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
