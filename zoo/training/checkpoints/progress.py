"""Where a training stands: what a checkpoint says beside its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo.training.checkpoints.files import CheckpointFile
from zoo.training.epochs import EpochTime


@dataclass(frozen=True)
class Progress:
    """Epochs that are over, steps of the next one, and what is known of them.

    rows: of the epochs, as `metrics.csv` has them.
    seconds: how long the run has taken, without what was lost where it was killed.
    epoch_time: of the epoch that has begun.
    """

    epoch: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    epoch_time: EpochTime | None = None


def progress_of(checkpoint: CheckpointFile | None) -> Progress:
    """Where the training of a checkpoint stood; at its begin where there is none."""
    if checkpoint is None:
        return Progress()
    values = dict(checkpoint.metadata["progress"])
    time = values.pop("epoch_time")
    return Progress(**values, epoch_time=EpochTime(**time) if time else None)
