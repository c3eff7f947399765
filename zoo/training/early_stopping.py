"""Early stopping: Keras's, with a state that can be saved and what `result.json` says of it."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from zoo.training.averaging import WeightAverage
from zoo.training.recipe_config import EarlyStoppingConfig


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Ends `fit` once `monitor` has not improved by more than `min_delta` for `patience` epochs; NaN never improves.

    One training may consist of several fits, in several processes; `finish` ends it. With `restore_best_weights` the
    model then has the weights of the best epoch, also where all epochs were trained; else those of the last.

    Args:
        average: of the weights, which are then what is validated and restored.

    Example:
        >>> from zoo.training.early_stopping import EarlyStopping
        >>> from zoo.training.recipe_config import EarlyStoppingConfig
        >>> stopping = EarlyStopping(EarlyStoppingConfig(patience=2, monitor="val_top1"))
        >>> stopping.patience, stopping.state()
        (2, {'best': None, 'best_epoch': 0, 'wait': 0, 'stopped_epoch': 0})
    """

    def __init__(self, config: EarlyStoppingConfig, average: WeightAverage | None = None) -> None:
        assert config.patience is not None  # else there is no early stopping
        super().__init__(
            monitor=config.monitor,
            min_delta=config.min_delta,
            patience=config.patience,
            mode="min" if config.monitor == "val_loss" else "max",
            restore_best_weights=config.restore_best_weights,
        )
        super().on_train_begin()
        self.average = average
        self.has_best_weights = False  # whether the model has, at the end, the weights of the best epoch

    def state(self) -> dict[str, Any]:
        """Plain values from which a later process goes on: the best figure, its epoch (from 0), the epochs since."""
        best = None if self.best is None else float(self.best)
        counts = {"best_epoch": self.best_epoch, "wait": self.wait, "stopped_epoch": self.stopped_epoch}
        return {"best": best, **counts}

    def restore(self, state: Mapping[str, Any], best_weights: Sequence[np.ndarray] | None) -> None:
        """Go on from what `state` gave in an earlier process, with the weights of its best epoch, as
        `model.get_weights` gives them.
        """
        for name, value in state.items():
            setattr(self, name, value)
        self.best_weights = None if best_weights is None else list(best_weights)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        pass  # Keras's forgets the epochs of earlier fits

    def get_monitor_value(self, logs: Mapping[str, float]) -> float:
        value = super().get_monitor_value(logs)
        # Keras takes the first value for the best, and none is better than NaN.
        return value if not math.isnan(value) else math.inf if self.mode == "min" else -math.inf

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        with self.average.in_model() if self.average else nullcontext():
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        pass  # another fit may go on with the last weights

    def finish(self, model: keras.Model) -> None:
        """Give `model` the weights of the best epoch, where they are to be restored."""
        self.set_model(model)  # there may have been no fit, where an earlier process had stopped already
        super().on_train_end()
        self.has_best_weights = self.restore_best_weights and self.best_weights is not None
        self.best_weights = None  # the model has them

    @property
    def has_stopped(self) -> bool:
        return self.stopped_epoch > 0

    def outcome(self) -> dict[str, Any]:
        """What `result.json` says: whether and why the training ended early, and which weights the model has."""
        best = None if self.best is None or not math.isfinite(self.best) else float(self.best)
        return {
            "stopped": self.has_stopped,
            "reason": self._reason(best) if self.has_stopped else None,
            "monitor": self.monitor,
            "best": best,
            "best_epoch": self.best_epoch + 1,
            "weights": "best" if self.has_best_weights else "last",
        }

    def _reason(self, best: float | None) -> str:
        by = f" by more than {abs(self.min_delta):g}" if self.min_delta else ""  # Keras's has a sign
        epochs = "1 epoch" if self.patience == 1 else f"{self.patience} epochs"
        since = "" if best is None else f", since epoch {self.best_epoch + 1} ({best:.6g})"
        return f"{self.monitor} has not improved{by} for {epochs}{since}"
