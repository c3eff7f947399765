"""The callback that turns each epoch into one row: for `metrics.csv`, for W&B and for the terminal."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from blocks.ops.keras_internals import rate_of_last_step
from zoo import metrics
from zoo.environment import peak_memory_bytes
from zoo.training.non_finite import NonFiniteSteps


@dataclass(frozen=True)
class PartialEpoch:
    """An epoch's training so far: its steps, those of them that were skipped, and seconds.

    timed_steps, timed_seconds: without a step that compiled.
    """

    steps: int = 0
    skipped: int = 0
    seconds: float = 0.0
    timed_seconds: float = 0.0
    timed_steps: int = 0


class EpochRows(keras.callbacks.Callback):
    """Calls `emit(row)` after every epoch and its validation.

    A row has the columns of `zoo.metrics`. `train/loss`, `train/top1` and `train/top5` are running means over the
    epoch; the first step of a process, which compiles, is left out of `train/images_per_second` and
    `train/step_seconds`; `learning_rate` is that of the epoch's last step.

    Args:
        started: when the run began, by `time.perf_counter`.
        non_finite: what is done about steps whose loss is not finite; None stops the training.
        rows, partial: of a run that goes on, those of the epochs that are over, and its first epoch until then.

    Raises:
        DivergedError: what `non_finite` stops the training with, after that step; a row of the epoch until then, with
            the loss of the step and without validation, has been emitted.
    """

    def __init__(
        self,
        batch_size: int,
        started: float,
        emit: Callable[[dict[str, Any]], None],
        non_finite: NonFiniteSteps | None = None,
        rows: Iterable[dict[str, Any]] = (),
        partial: PartialEpoch | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.started, self.emit = batch_size, started, emit
        self.non_finite = non_finite or NonFiniteSteps()
        self.rows: list[dict[str, Any]] = list(rows)
        self.before = partial or PartialEpoch()
        self.compiles = True
        self.validation_seconds = math.inf  # of the last epoch that was finished

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self.start, self.steps = epoch, time.perf_counter(), 0
        self.skipped_before = self.non_finite.skipped - self.before.skipped
        self.first_end = self.last_end = self.start

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None  # Keras's `fit` gives them, here and below
        self.last_end = time.perf_counter()
        self.steps += 1
        if self.steps == 1:
            self.first_end = self.last_end
        # Keras has read the logs from the device.
        if error := self.non_finite.after_step(self.epoch, self.before.steps + self.steps, logs):
            self._add_row(self.epoch, {**logs, "loss": self.non_finite.loss_of(logs)})
            raise error

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None
        self._add_row(epoch, logs)
        self.before, self.compiles = PartialEpoch(), False

    def partial(self) -> PartialEpoch:
        """Of the epoch that is being trained."""
        compiles = self.compiles and self.steps > 1
        start = self.first_end if compiles else self.start
        return PartialEpoch(
            self.before.steps + self.steps,
            self.non_finite.skipped - self.skipped_before,
            self.before.seconds + self.last_end - self.start,
            self.before.timed_seconds + self.last_end - start,
            self.before.timed_steps + self.steps - compiles,
        )

    def _add_row(self, epoch: int, logs: Mapping[str, float]) -> None:
        so_far = self.partial()
        now = time.perf_counter()
        self.validation_seconds = now - self.last_end
        row = {
            metrics.EPOCH: epoch + 1,
            metrics.SECONDS: now - self.started,
            metrics.TRAIN_LOSS: logs["loss"] if so_far.skipped < so_far.steps else math.nan,  # else the mean of nothing
            metrics.TRAIN_TOP1: logs["top1"],
            metrics.TRAIN_TOP5: logs["top5"],
            metrics.TRAIN_IMAGES_PER_SECOND: so_far.timed_steps * self.batch_size / so_far.timed_seconds,
            metrics.TRAIN_STEP_SECONDS: so_far.timed_seconds / so_far.timed_steps,
            metrics.TRAIN_SECONDS: so_far.seconds,
            metrics.LEARNING_RATE: rate_of_last_step(self.model.optimizer),
            metrics.VAL_LOSS: logs.get("val_loss"),
            metrics.VAL_TOP1: logs.get("val_top1"),
            metrics.VAL_TOP5: logs.get("val_top5"),
            metrics.SKIPPED_STEPS: so_far.skipped,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.rows.append(row)
        self.emit(row)
