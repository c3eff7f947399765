"""Where a training stands: what a checkpoint says beside its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo.training.epochs import PartialEpoch
from zoo.weights.readers.training import CheckpointFile


@dataclass(frozen=True)
class Progress:
    """Epochs that are over, steps of the next one, and what is known of them.

    rows: of the epochs, as `metrics.csv` has them.
    seconds: how long the run has taken, without what was lost where it was killed.
    partial: the epoch that has begun.
    skipped, skipped_in_a_row: steps of the run, and the latest, whose loss or gradients were not finite.
    early_stopping: its state, where the recipe has it.
    """

    epoch: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    partial: PartialEpoch | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0
    early_stopping: dict[str, Any] | None = None


def progress_of(checkpoint: CheckpointFile | None) -> Progress:
    """Where the training of a checkpoint stood; at its begin where there is none."""
    if checkpoint is None:
        return Progress()
    values = dict(checkpoint.metadata["progress"])
    partial = values.pop("partial")
    return Progress(**values, partial=PartialEpoch(**partial) if partial else None)
