"""The callback that turns each epoch into one row: for `metrics.csv`, for W&B and for the terminal."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from zoo import metrics
from zoo.environment import peak_memory_bytes
from zoo.training.non_finite import NonFiniteSteps


class EpochRows(keras.callbacks.Callback):
    """Calls `emit(row)` after every epoch and its validation.

    A row has the columns of `zoo.metrics`. `train/loss`, `train/top1` and `train/top5` are running means over the
    epoch; the first step of a run, which compiles, is left out of `train/images_per_second` and `train/step_seconds`;
    `learning_rate` is that of the epoch's last step.

    Args:
        started: when the run began, by `time.perf_counter`.
        non_finite: what is done about steps whose loss is not finite; None stops the training.

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
    ) -> None:
        super().__init__()
        self.batch_size, self.started, self.emit = batch_size, started, emit
        self.non_finite = non_finite or NonFiniteSteps()
        self.rows: list[dict[str, Any]] = []
        self.validation_seconds = math.inf  # of the last epoch that was finished

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self.start, self.steps = epoch, time.perf_counter(), 0
        self.skipped_before = self.non_finite.skipped
        self.first_end = self.last_end = self.start

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None  # Keras's `fit` gives them, here and below
        self.last_end = time.perf_counter()
        self.steps += 1
        if self.steps == 1:
            self.first_end = self.last_end
        # Keras has read the logs from the device.
        if error := self.non_finite.after_step(self.epoch, self.steps, logs):
            self._add_row(self.epoch, {**logs, "loss": self.non_finite.loss_of(logs)})
            raise error

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None
        self._add_row(epoch, logs)

    def _add_row(self, epoch: int, logs: Mapping[str, float]) -> None:
        compiles = epoch == 0 and self.steps > 1
        seconds = self.last_end - (self.first_end if compiles else self.start)
        steps = self.steps - 1 if compiles else self.steps
        now = time.perf_counter()
        self.validation_seconds = now - self.last_end
        skipped = self.non_finite.skipped - self.skipped_before
        row = {
            metrics.EPOCH: epoch + 1,
            metrics.SECONDS: now - self.started,
            metrics.TRAIN_LOSS: logs["loss"] if skipped < self.steps else math.nan,  # else the mean of nothing
            metrics.TRAIN_TOP1: logs["top1"],
            metrics.TRAIN_TOP5: logs["top5"],
            metrics.TRAIN_IMAGES_PER_SECOND: steps * self.batch_size / seconds,
            metrics.TRAIN_STEP_SECONDS: seconds / steps,
            metrics.TRAIN_SECONDS: self.last_end - self.start,
            metrics.LEARNING_RATE: float(self.model.optimizer.learning_rate),
            metrics.VAL_LOSS: logs.get("val_loss"),
            metrics.VAL_TOP1: logs.get("val_top1"),
            metrics.VAL_TOP5: logs.get("val_top5"),
            metrics.SKIPPED_STEPS: skipped,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.rows.append(row)
        self.emit(row)
