"""What `result.json` says of a run: of its settings and surroundings at the start, and of its training at the end."""

import statistics
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo import environment, hardware, metrics
from zoo.registry import family_key
from zoo.tracking.config import group_name, run_name
from zoo.training.early_stopping import EarlyStopping
from zoo.training.settings import Settings


@dataclass(frozen=True)
class Sweep:
    """The sweep that a run belongs to: its id, a time stamp, and the overrides that vary within it."""

    id: str | None = None
    swept: Collection[str] = ()


def initial_facts(settings: Settings, sweep: Sweep) -> dict[str, Any]:
    """What is known of a run before it begins."""
    names = (settings.model.name, settings.groups, settings.dataset.name)
    # The name of a network tells its groups: resnext50_32x4d, mobilenetv1_025_g2.
    shared = (family_key(settings.model), *names[1:]) if "groups" in sweep.swept else names
    return {
        "name": settings.tracking.name or run_name(*names),
        "group": settings.tracking.group or group_name(*shared, swept=sweep.swept, sweep_id=sweep.id),
        "model": settings.model.name,
        "family": family_key(settings.model),
        "family_settings": asdict(settings.model),
        "groups": settings.groups,
        "dataset": settings.dataset.name,
        "seed": settings.seed,
        "small_stem": settings.small_stem,
        "epochs_planned": settings.recipe.epochs,
        **environment.source(Path(__file__).parent),
        "versions": environment.versions(),
        "packages": environment.packages(),
        "variables": environment.variables(),
        **hardware.described(),
    }


def training_facts(rows: list[dict[str, Any]], stopping: EarlyStopping | None = None) -> dict[str, Any]:
    """What the rows of the epochs say of the training: of the epoch whose weights the model has, and of the best."""
    last = rows[-1] if rows else {}
    if stopping is not None and stopping.has_best_weights:
        last = next(row for row in rows if row[metrics.EPOCH] == stopping.best_epoch + 1)
    validated = [row for row in rows if row[metrics.VAL_TOP1] is not None]
    best = max(validated, key=lambda row: row[metrics.VAL_TOP1], default={})
    rates = _steady_rates(rows)
    return {
        "epochs": len(rows),
        "early_stopping": None if stopping is None else stopping.outcome(),
        "train_loss": last.get(metrics.TRAIN_LOSS),
        "train_top1": last.get(metrics.TRAIN_TOP1),
        "val_loss": last.get(metrics.VAL_LOSS),
        "val_top1": last.get(metrics.VAL_TOP1),
        "val_top5": last.get(metrics.VAL_TOP5),
        "best_val_top1": best.get(metrics.VAL_TOP1),
        "best_epoch": best.get(metrics.EPOCH),
        "skipped_steps": sum(row[metrics.SKIPPED_STEPS] for row in rows),
        "train_images_per_second": statistics.median(rates) if rates else None,
        "latency_seconds": None,  # measured last
    }


def _steady_rates(rows: list[dict[str, Any]]) -> list[float]:
    """Images per second of the epochs after the first, in which caches fill; of the first where it is the only one."""
    rates = [row[metrics.TRAIN_IMAGES_PER_SECOND] for row in rows]
    return rates[1:] or rates
