"""The exponential moving average of the weights, which validation, the saved model and its figures have."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from blocks.ops.keras_internals import step_counter
from zoo.training.optimizers.multi_tensor import handles, kernels_for
from zoo.training.optimizers.rates import descend
from zoo.typing import Tensor

WARMUP_POWER = 2 / 3  # timm's


def decay_at(updates: Any, decay: float, warmup: str | None = None) -> Any:
    """The decay (), float32, of the average at the update of this number, from 1.

    With a `warmup` it is, at most `decay`,

    - "timm": 1 - updates ** (-2 / 3)
    - "tensorflow": (1 + updates) / (10 + updates)

    At the first update it is 0, also without a warm-up, but for TensorFlow's: the average begins with what the weights
    are then, and TensorFlow's with what they were before.

    Source: timm's `ModelEmaV3`; `tf.train.ExponentialMovingAverage` with `num_updates`.

    Example:
        >>> from zoo.training.averaging import decay_at
        >>> [round(float(decay_at(updates, 0.9, "timm")), 3) for updates in (1, 2, 8, 1000)]
        [0.0, 0.37, 0.75, 0.9]
    """
    updates = keras.ops.cast(updates, "float32")
    if warmup == "tensorflow":
        return keras.ops.minimum((1 + updates) / (10 + updates), decay)
    risen = keras.ops.minimum(1 - keras.ops.power(updates, -WARMUP_POWER), decay) if warmup else decay
    return keras.ops.where(updates > 1, risen, 0.0)


class WeightAverage:
    """Averages of all weights of `model`, running statistics included; integers are copied.

    The average becomes average * decay + weight * (1 - decay) after each update of the weights, as in timm's
    `ModelEmaV3`. It can take the weights' place in the model for a while, and they its own.

    Args:
        decay: of the average, at most.
        warmup: how it rises to that, see `decay_at`.

    Raises:
        ValueError: on another backend than TensorFlow.

    Example:
        >>> from zoo.training.averaging import WeightAverage
        >>> layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        >>> model = keras.Sequential([keras.Input((1,)), layer])
        >>> average = WeightAverage(model, decay=0.5)
        >>> layer.set_weights([np.full((1, 1), 3.0)])
        >>> average.update(2)
        >>> with average.in_model():
        ...     layer.kernel.numpy()
        array([[2.]], dtype=float32)
        >>> layer.kernel.numpy()
        array([[3.]], dtype=float32)
    """

    def __init__(self, model: keras.Model, decay: float, warmup: str | None = None) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(f"recipe.ema_decay needs Keras on TensorFlow, not on {keras.backend.backend()}: use null.")
        import tensorflow as tf

        self.decay, self.warmup, self.weights = decay, warmup, list(model.weights)
        self.averages = [
            keras.Variable(np.array(each), dtype=each.dtype, trainable=False, name=each.name) for each in self.weights
        ]
        self.is_in_model = keras.Variable(False, dtype="bool", trainable=False, name="average_in_model")
        # One call, which no signal interrupts: all variables are exchanged, and marked so, or none.
        self._exchange = tf.function(self._exchanged)

    def named(self) -> dict[str, keras.Variable]:
        """The averages by the paths of their weights; a second one of a path counts on."""
        named: dict[str, keras.Variable] = {}
        for weight, average in zip(self.weights, self.averages, strict=True):
            number = 1 + sum(each.path == weight.path for each in self.weights[: len(named)])
            named[weight.path if number == 1 else f"{weight.path}#{number}"] = average
        return named

    def update(self, updates: Tensor | int, where: Tensor | None = None) -> None:
        """Move the averages on to the weights.

        Args:
            updates: number of this update of the weights, from 1.
            where: () bool: false leaves the averages as they are.
        """
        import tensorflow as tf

        share = 1 - decay_at(updates, self.decay, self.warmup)
        pairs = list(zip(self.averages, self.weights, strict=True))
        single = [pair for pair in pairs if pair[1].dtype == "float32"]
        values = [tf.convert_to_tensor(weight.value) for _, weight in single]
        operations = kernels_for(values)
        if operations is not None:
            averages = handles([average for average, _ in single])
            applied = True if where is None else where
            operations.blocks_move_averages(apply=applied, share=share, averages=averages, values=values)
            pairs = [pair for pair in pairs if pair[1].dtype != "float32"]
        if where is None:
            _move(pairs, share)
        elif pairs:
            tf.cond(where, lambda: _move(pairs, share), lambda: None)

    def update_after(self, optimizer: keras.Optimizer, where: Tensor | None = None) -> None:
        """Move the averages on where the step that `optimizer` has just done has changed the weights."""
        import tensorflow as tf

        inner: Any = getattr(optimizer, "inner_optimizer", optimizer)
        steps = inner.gradient_accumulation_steps
        if not steps:
            self.update(inner.iterations.value, where)
            return
        tf.cond(step_counter(inner).value % steps == 0, lambda: self.update(inner.iterations), lambda: None)

    def _exchanged(self) -> None:
        import tensorflow as tf

        for average, weight in zip(self.averages, self.weights, strict=True):
            value = tf.identity(weight.value)
            weight.assign(average)
            average.assign(value)
        self.is_in_model.assign(tf.logical_not(self.is_in_model.value))

    def show(self) -> None:
        """Put the averages into the model, if they are not there already."""
        if not self.is_in_model.numpy():
            self._exchange()

    def hide(self) -> None:
        """Put the weights back into the model, if they are not there already."""
        if self.is_in_model.numpy():
            self._exchange()

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Within this context the model has the averages."""
        self.show()
        try:
            yield
        finally:
            self.hide()


class AveragedValidation(keras.callbacks.Callback):
    """Lets `fit` validate with the averages of the weights.

    Example:
        >>> from zoo.training.averaging import AveragedValidation, WeightAverage
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> AveragedValidation(WeightAverage(model, decay=0.999)).average.decay
        0.999
    """

    def __init__(self, average: WeightAverage) -> None:
        super().__init__()
        self.average = average

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.average.show()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.average.hide()


def _move(pairs: Sequence[tuple[keras.Variable, keras.Variable]], share: Any) -> None:
    """Move averages on to their weights; what is counted in integers is copied."""
    for average, weight in pairs:
        if weight.dtype.startswith(("float", "bfloat")):
            descend(average, share, average.value - weight.value)
        else:
            average.assign(weight)
