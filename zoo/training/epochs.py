"""The callback that turns each epoch into one row: for `metrics.csv`, for W&B and for the terminal."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from zoo import metrics
from zoo.environment import peak_memory_bytes
from zoo.errors import UserError

REMEDIES = "lower recipe.learning_rate (a tenth is a good try), lengthen recipe.warmup_epochs or set recipe.clip_norm=1"


class DivergedError(UserError):
    """The training diverged: loss or weights are no longer finite."""


@dataclass(frozen=True)
class EpochTime:
    """Seconds of an epoch's training so far: in all, and without a step that compiled; with the steps of the latter."""

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
        rows, epoch_time: of a run that goes on, those of the epochs that are over, and of its first epoch until then.

    Raises:
        DivergedError: the loss is NaN or infinite, after the step in which it became so; a row of the epoch until then,
            without validation, has been emitted.
    """

    def __init__(
        self,
        batch_size: int,
        started: float,
        emit: Callable[[dict[str, Any]], None],
        rows: Iterable[dict[str, Any]] = (),
        epoch_time: EpochTime | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.started, self.emit = batch_size, started, emit
        self.rows: list[dict[str, Any]] = list(rows)
        self.before = epoch_time or EpochTime()
        self.compiles = True
        self.validation_seconds = math.inf  # of the last epoch that was finished

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self.start, self.steps = epoch, time.perf_counter(), 0
        self.first_end = self.last_end = self.start

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None  # Keras's `fit` gives them, here and below
        self.last_end = time.perf_counter()
        self.steps += 1
        if self.steps == 1:
            self.first_end = self.last_end
        # The running mean of the epoch, which stays NaN or infinite once it is; Keras has read it from the device.
        loss = logs["loss"]
        if not math.isfinite(loss):
            self._add_row(self.epoch, logs)
            raise DivergedError(
                f"The loss became {loss} in epoch {self.epoch + 1}: {REMEDIES} (it was so after step {self.steps})."
            )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        assert logs is not None
        self._add_row(epoch, logs)
        self.before, self.compiles = EpochTime(), False

    def epoch_time(self) -> EpochTime:
        """Of the epoch that is being trained."""
        compiles = self.compiles and self.steps > 1
        start = self.first_end if compiles else self.start
        return EpochTime(
            self.before.seconds + self.last_end - self.start,
            self.before.timed_seconds + self.last_end - start,
            self.before.timed_steps + self.steps - compiles,
        )

    def _add_row(self, epoch: int, logs: Mapping[str, float]) -> None:
        took = self.epoch_time()
        now = time.perf_counter()
        self.validation_seconds = now - self.last_end
        row = {
            metrics.EPOCH: epoch + 1,
            metrics.SECONDS: now - self.started,
            metrics.TRAIN_LOSS: logs["loss"],
            metrics.TRAIN_TOP1: logs["top1"],
            metrics.TRAIN_TOP5: logs["top5"],
            metrics.TRAIN_IMAGES_PER_SECOND: took.timed_steps * self.batch_size / took.timed_seconds,
            metrics.TRAIN_STEP_SECONDS: took.timed_seconds / took.timed_steps,
            metrics.TRAIN_SECONDS: took.seconds,
            metrics.LEARNING_RATE: float(self.model.optimizer.learning_rate),
            metrics.VAL_LOSS: logs.get("val_loss"),
            metrics.VAL_TOP1: logs.get("val_top1"),
            metrics.VAL_TOP5: logs.get("val_top5"),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.rows.append(row)
        self.emit(row)
