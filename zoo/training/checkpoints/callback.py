"""When a checkpoint is written: after an epoch, within one by steps or minutes, and where a training is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo import metrics
from zoo.training.checkpoints.config import CheckpointsConfig
from zoo.training.checkpoints.files import write_checkpoint
from zoo.training.checkpoints.folder import FOLDER, drop_others, file_name, name_best, newest_first
from zoo.training.checkpoints.progress import Progress
from zoo.training.checkpoints.state import TrainingState
from zoo.training.early_stopping import EarlyStopping
from zoo.training.epochs import EpochRows
from zoo.training.files import cannot_write
from zoo.training.guarded_step import step_mark
from zoo.training.non_finite import REMEDIES, DivergedError
from zoo.training.signals import deferred
from zoo.weights.readers.training import WEIGHTS


class Checkpointing(keras.callbacks.Callback):
    """Writes the checkpoints of a training into `directory/checkpoints`; belongs behind `rows` and `stopping` among the
    callbacks.

    Args:
        steps: of an epoch.
        start: where the training begins, and the running metrics of its epoch.
        facts: what else every checkpoint says.
        seconds: how long the run has taken until now.

    Raises:
        DivergedError: a weight is NaN or infinite; the checkpoints are as they were.
        RecordError: a checkpoint cannot be written; those before are as they were.
    """

    def __init__(
        self,
        config: CheckpointsConfig,
        directory: Path,
        state: TrainingState,
        steps: int,
        rows: EpochRows,
        start: Progress,
        running_metrics: Mapping[str, np.ndarray],
        facts: Mapping[str, Any],
        seconds: Callable[[], float],
        stopping: EarlyStopping | None = None,
    ) -> None:
        super().__init__()
        self.config, self.folder, self.state, self.steps = config, directory / FOLDER, state, steps
        self.rows, self.facts, self.seconds, self.stopping = rows, facts, seconds, stopping
        # Epochs that are over, steps of the next, and while a step is running the mark of the one before it.
        self.position: tuple[int, int, tuple[float, ...] | None] = (start.epoch, start.step, None)
        self.written = (start.epoch, start.step)
        # While their variables do not have them: before the epoch goes on, and in its validation.
        self.metrics_of_epoch: Mapping[str, np.ndarray] | None = running_metrics if start.step else None
        self.clock = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.metrics_of_epoch is not None:
            self.state.set_running_metrics(self.metrics_of_epoch)
            self.metrics_of_epoch = None

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        epoch, step, _ = self.position
        self.position = epoch, step, step_mark(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        epoch, step, _ = self.position
        self.position = epoch, step + 1, None
        if step + 1 < self.steps and self._due(step + 1):  # else the epoch's own is near
            self._write()

    def _due(self, step: int) -> bool:
        every, minutes = self.config.every_steps, self.config.every_minutes
        by_steps = every is not None and (self.position[0] * self.steps + step) % every == 0
        return by_steps or (minutes is not None and time.monotonic() - self.clock >= 60 * minutes)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.metrics_of_epoch = self.state.running_metrics()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.position, self.metrics_of_epoch = (epoch + 1, 0, None), None
        self._write()

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return bool(newest_first(self.folder))

    def _write(self) -> None:
        if self.config.keep:
            with deferred(f"Saving {file_name(*self.position[:2])}"):
                self.write()

    def write(self) -> None:
        """Write a checkpoint of the training as it is, unless there is one already or nothing to be kept.

        A signal may have stopped the training anywhere: within a step, which has been done whole or not at all.
        """
        epoch, step, mark_before = self.position
        if mark_before is not None and mark_before != step_mark(self.model.optimizer):
            step += 1
        path = self.folder / file_name(epoch, step)
        is_there = (epoch, step) == self.written and path.exists()
        if not self.config.keep or (epoch, step) == (0, 0) or is_there:
            return
        rows = self.rows.rows[:epoch]  # without that of an epoch whose end was interrupted
        non_finite = self.rows.non_finite
        progress = Progress(
            epoch,
            step,
            rows,
            self.seconds(),
            self.rows.partial() if step else None,
            non_finite.skipped,
            non_finite.in_a_row,
            None if self.stopping is None else self.stopping.state(),
        )
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        write_checkpoint(path, self.state.described(), self._read, {**self.facts, "progress": asdict(progress)})
        self.written, self.clock = (epoch, step), time.monotonic()
        if not step and _last_is_best(rows):
            name_best(path)
        drop_others(path, self.config.keep)

    def _read(self, name: str) -> np.ndarray:
        if self.metrics_of_epoch is not None and name in self.metrics_of_epoch:
            return self.metrics_of_epoch[name]
        values = self.state.read(name)
        # The sum takes one pass over the memory; it may overflow where all entries are finite.
        if name.startswith(f"{WEIGHTS}/") and not (math.isfinite(values.sum()) or np.isfinite(values).all()):
            raise DivergedError(f"The weights have become NaN or infinite, and are not saved: {REMEDIES}.")
        return values


def _last_is_best(rows: list[dict[str, Any]]) -> bool:
    """Whether the last epoch has a better `val_top1` than all before it."""
    values = [row.get(metrics.VAL_TOP1) for row in rows]
    ranks = [-math.inf if value is None or math.isnan(value) else value for value in values]
    return ranks[-1] > max(ranks[:-1], default=-math.inf)
