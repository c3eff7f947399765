"""One replica's share of a training step: what it adds to the loss, the gradients and the metrics of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from blocks.layers.batch_norm import BatchNormalization
from blocks.ops.keras_internals import random_states, sublayers
from zoo.typing import Tensor

if TYPE_CHECKING:
    from zoo.distribution.replicas import Replicas

SPREAD = 0x9E3779B9  # 2**32 / the golden ratio: seeds of neighbouring replicas lie far apart


class Share:
    """The share of one replica, in which it is created, while a step is traced.

    Sums over the replicas of mean * images here / images of the batch are the means over the batch, whatever the sizes
    of the shares: one may be empty.

    Args:
        images: how many this replica has, ().
    """

    def __init__(self, model: keras.Model, replicas: Replicas, images: Tensor) -> None:
        import tensorflow as tf

        self.model, self.replicas = model, replicas
        own = tf.cast(images, tf.float32)
        total = replicas.sums([own])[0]
        self.weight = own / total

    @contextmanager
    def own_random_states(self) -> Iterator[None]:
        """Within this context dropout and the like draw other numbers in each replica; the states stay those of all."""
        import tensorflow as tf

        number = self.replicas.number()
        states = [state for layer in sublayers(self.model) for state in random_states(layer)] if number else []
        offset = tf.constant([number * SPREAD % 2**32, 0], tf.uint32)
        for state in states:
            state.assign(tf.cast(tf.cast(state.value, tf.uint32) + offset, state.dtype))
        yield
        for state in states:
            state.assign(tf.cast(tf.cast(state.value, tf.uint32) - offset, state.dtype))

    def losses(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of the share, 0 of none, and what it adds to that of the batch; from what Keras computes, who
        divides it by the number of replicas.
        """
        import tensorflow as tf

        own = tf.where(self.weight > 0, loss * tf.cast(self.replicas.count, loss.dtype), tf.zeros_like(loss))
        return own, own * tf.cast(self.weight, loss.dtype)

    def of_all(
        self, measure: Callable[[], None], loss: Tensor | None = None, gradients: Sequence[Tensor | None] = ()
    ) -> tuple[Any, list[Any]]:
        """Loss and gradients of the batch; the metrics, by what `measure` adds to them, are too, and the running
        statistics of normalisations are means over the replicas.
        """
        import tensorflow as tf

        metrics = self.model.metrics_variables
        before = [tf.identity(variable.value) for variable in metrics]
        for variable in metrics:
            variable.assign(tf.zeros_like(variable.value))  # sums of many images would round what few add
        measure()
        statistics = running_statistics(self.model) if gradients else []
        own = [tf.identity(variable.value) for variable in metrics]
        moved = [variable.value * tf.cast(self.weight, variable.dtype) for variable in statistics]
        summed = self.replicas.sums([loss, *gradients, *own, *moved])
        summed_loss, rest = summed[0], summed[1:]
        summed_gradients, rest = rest[: len(gradients)], rest[len(gradients) :]
        for variable, earlier, added in zip(metrics, before, rest[: len(metrics)], strict=True):
            variable.assign(earlier + added)
        for variable, value in zip(statistics, rest[len(metrics) :], strict=True):
            variable.assign(value)
        return summed_loss, summed_gradients


def running_statistics(model: keras.Model) -> list[keras.Variable]:
    """Mean and variance of the normalisations in which a training moves them in each replica otherwise."""
    layers: list[Any] = [layer for layer in sublayers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    moving = [
        layer
        for layer in layers
        if layer.trainable
        and not getattr(layer, "statistics_frozen", False)
        and not getattr(layer, "statistics_of_all_replicas", False)  # those are equal already
    ]
    return [variable for layer in moving for variable in (layer.moving_mean, layer.moving_variance)]


def synchronise_statistics(model: keras.Model) -> None:
    """Let the normalisations of `model` compute with mean and variance of whole batches, not of one replica's share."""
    for layer in sublayers(model):
        if isinstance(layer, BatchNormalization):
            layer.statistics_of_all_replicas = True
