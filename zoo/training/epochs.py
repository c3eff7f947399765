"""The callback that turns each epoch into one row: for `metrics.csv`, for W&B and for the terminal."""

import math
import time
from collections.abc import Callable

import keras

from zoo.training.environment import peak_memory_bytes
from zoo.training.errors import UserError


class Diverged(UserError):
    """The loss is no longer a number, and more training cannot mend that."""


class EpochRows(keras.callbacks.Callback):
    """Calls `emit(row)` after every epoch.

    A row has `epoch` (from 1), `train/loss`, `train/top1`, `train/top5` (running means over the epoch),
    `train/images_per_second`, `train/step_seconds`, `train/seconds` (of training alone; the first step of a run,
    which compiles, is left out of the first two), `learning_rate` (of the epoch's last step), `val/loss`,
    `val/top1`, `val/top5`, `peak_memory_bytes`.

    Raises:
        Diverged: the loss of an epoch is NaN or infinite; its row has been emitted.
    """

    def __init__(self, batch_size: int, emit: Callable[[dict], None]):
        super().__init__()
        self.batch_size, self.emit = batch_size, emit
        self.rows: list[dict] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start, self.steps = time.perf_counter(), 0
        self.first_end = self.last_end = self.start

    def on_train_batch_end(self, batch, logs=None):
        self.last_end = time.perf_counter()
        self.steps += 1
        if self.steps == 1:
            self.first_end = self.last_end

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        compiles = epoch == 0 and self.steps > 1
        seconds = self.last_end - (self.first_end if compiles else self.start)
        steps = self.steps - 1 if compiles else self.steps
        row = {
            "epoch": epoch + 1,
            "train/loss": logs["loss"],
            "train/top1": logs["top1"],
            "train/top5": logs["top5"],
            "train/images_per_second": steps * self.batch_size / seconds,
            "train/step_seconds": seconds / steps,
            "train/seconds": self.last_end - self.start,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "val/loss": logs["val_loss"],
            "val/top1": logs["val_top1"],
            "val/top5": logs["val_top5"],
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.rows.append(row)
        self.emit(row)
        if not math.isfinite(row["train/loss"]):
            raise Diverged(
                f"The loss became {row['train/loss']} in epoch {epoch + 1}: lower recipe.learning_rate "
                "(a tenth is a good try), lengthen recipe.warmup_epochs or set recipe.clip_norm=1."
            )
