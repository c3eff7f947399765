"""Keras's `fit` from any step of any epoch on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from zoo.datasets.pipeline import Data


def fit(
    model: keras.Model,
    data: Data,
    epochs: int,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    first_epoch: int = 0,
    first_step: int = 0,
    class_weight: Mapping[int, float] | None = None,
) -> None:
    """Train until `epochs` epochs of `steps` steps are over, from `first_step` of `first_epoch` on.

    The batches are those that a training without an interruption has at that place. A first step of `steps` leaves the
    validation of that epoch alone to be done.
    """

    def train(epoch: int, end: int, step: int = 0) -> None:
        # Where `steps` are not all that the data have, Keras takes the next from where the last epoch stopped.
        batches = data.stream(*divmod(epoch * steps + step, data.steps_per_epoch))
        model.fit(
            batches,  # endless: Keras looks at a batch before it trains, which would skip an epoch's order
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps - step,
            validation_data=data.validation_share,
            class_weight=class_weight,
            callbacks=list(callbacks),
            shuffle=False,  # the data set shuffles itself
            verbose=0,
        )

    model.stop_training = False
    if first_step == steps:
        _end_epoch(model, data, callbacks, first_epoch)
    elif first_step:
        train(first_epoch, first_epoch + 1, first_step)
    begun = first_epoch + (first_step > 0)
    if begun < epochs and not model.stop_training:
        train(begun, epochs)


def _end_epoch(model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback], epoch: int) -> None:
    """What `fit` does behind the last step of an epoch."""
    listed = keras.callbacks.CallbackList(list(callbacks), model=model)
    listed.on_train_begin()
    listed.on_epoch_begin(epoch)
    logs: dict[str, Any] = {name: float(value) for name, value in model.get_metrics_result().items()}
    figures = model.evaluate(data.validation_share, callbacks=listed, return_dict=True, verbose=0)
    listed.on_epoch_end(epoch, logs | {f"val_{name}": value for name, value in figures.items()})
    listed.on_train_end(logs)
