"""A training step that changes nothing where the loss or a gradient is NaN or infinite."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import keras

from blocks.ops.keras_internals import apply_in_replica, forget_strategy, step_counter
from zoo.training.averaging import WeightAverage
from zoo.training.optimizers.multi_tensor import all_finite, assign_where
from zoo.training.optimizers.rates import ScaledRates
from zoo.training.replica_share import Share
from zoo.typing import Tensor

if TYPE_CHECKING:
    from zoo.distribution.replicas import Replicas

STEP_LOSS = "step_loss"  # of the step alone, in the logs of a batch, where "loss" is the mean of the epoch
STEP_FINITE = "step_finite"  # 1 where loss and gradients of the step are finite, 0 where the step changed nothing
STEP_OVERFLOW = "step_overflow"  # 1 where the step changed nothing but the scale of the loss, which was too large
SMALLEST_SCALE = 1.0  # of a loss; gradients that are not finite at this one are so without a scale


def guard_steps(model: keras.Model, average: WeightAverage | None = None, replicas: Replicas | None = None) -> None:
    """Let `fit` leave `model` as it was in every step whose loss or gradients are not all finite.

    Weights, the optimizer's state and its number of steps, statistics of normalisations, random states of dropout, and
    the metrics of the epoch are then those before the step. The logs of a batch get `step_loss` and `step_finite`. In
    all other steps the values are those of Keras's own step. On another backend than TensorFlow the step is Keras's.

    Where our kernels are not available, gradients are checked by their sum, which is NaN or infinite where an entry is;
    a sum of finite entries beyond float32's 3.4e38 then counts as infinite too.

    Where the optimizer scales the loss, which then is finite while a gradient is not, the scale is halved, and the logs
    say `step_overflow` and not that the step was not finite: a scale is meant to be that large now and then.

    Args:
        average: of the weights, moved on behind each update.
        replicas: that train `model` together, in whose scope it was built and compiled; each has its share of every
            batch. Loss, gradients and metrics are those of the whole batch, as on one device.

    Example:
        >>> from zoo.training.guarded_step import guard_steps
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> model.compile("sgd", "mse")
        >>> guard_steps(model)
        >>> images = np.array([[np.nan, 1.0]], "float32")
        >>> history = model.fit(images, np.zeros((1, 1)), verbose=0)
        >>> model.layers[0].kernel.numpy().ravel(), int(model.optimizer.iterations)
        (array([1., 1.], dtype=float32), 0)
    """
    if keras.backend.backend() != "tensorflow":
        return
    model.train_step = functools.partial(_train_step, model, average, None)  # type: ignore[method-assign]  # of this model
    if replicas is not None and replicas.count > 1:
        forget_strategy(model)
        model.train_function = replicas.over_batches(functools.partial(_train_step, model, average, replicas))
        model.test_function = replicas.over_batches(functools.partial(_test_step, model, replicas))


def train_alone(model: keras.Model) -> None:
    """Let `evaluate` and `fit` of a model that was trained by several replicas run in this process alone."""
    if keras.backend.backend() == "tensorflow":
        model.train_function = model.test_function = None  # Keras makes its own


def _train_step(
    model: keras.Model, average: WeightAverage | None, replicas: Replicas | None, data: Any
) -> dict[str, Tensor]:
    import tensorflow as tf

    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    before = _values(model.non_trainable_variables)
    share = Share(model, replicas, tf.shape(images)[0]) if replicas else None
    with tf.GradientTape() as tape, share.own_random_states() if share else nullcontext():
        outputs = model(images, training=True)
        loss = model.compute_loss(x=images, y=labels, y_pred=outputs, sample_weight=weights, training=True)
        own_loss, loss = (loss, loss) if share is None else share.losses(loss)
        scaled = model.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, model.trainable_weights)
    for metric in model.metrics:
        if not getattr(metric, "built", True):  # those that the model is compiled with get their variables here
            metric.build(labels, outputs)
    before += _values(model.metrics_variables)

    def measure() -> None:
        _update_metrics(model, own_loss, images, labels, outputs, weights)

    if share is None:
        measure()
    else:
        loss, gradients = share.of_all(measure, loss, gradients)
    finite = all_finite([loss, *gradients])
    _apply_where(finite, model, gradients, average, before)
    logs = {**model.get_metrics_result(), STEP_LOSS: loss, STEP_FINITE: tf.cast(finite, tf.float32)}
    if not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return logs
    scale, steps = model.optimizer.dynamic_scale, model.optimizer.step_counter
    overflow = ~finite & tf.math.is_finite(loss) & (scale.value > SMALLEST_SCALE)
    scale.assign(tf.where(overflow, scale.value / 2, scale.value))
    steps.assign(tf.where(overflow, tf.zeros_like(steps.value), steps.value))
    return {**logs, STEP_FINITE: tf.cast(finite | overflow, tf.float32), STEP_OVERFLOW: tf.cast(overflow, tf.float32)}


def _test_step(model: keras.Model, replicas: Replicas, data: Any) -> dict[str, Tensor]:
    import tensorflow as tf

    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    outputs = model(images, training=False)
    loss = model.compute_loss(x=images, y=labels, y_pred=outputs, sample_weight=weights, training=False)
    share = Share(model, replicas, tf.shape(images)[0])
    own_loss, _ = share.losses(loss)

    share.of_all(lambda: _update_metrics(model, own_loss, images, labels, outputs, weights))
    return dict(model.get_metrics_result())


def step_mark(optimizer: keras.Optimizer) -> tuple[float, ...]:
    """Numbers that are others behind a step that has changed anything.

    Example:
        >>> from zoo.training.guarded_step import step_mark
        >>> step_mark(keras.optimizers.SGD())
        (0,)
    """
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)
    count = int(step_counter(inner).numpy())
    return (count,) if inner is optimizer else (count, float(optimizer.dynamic_scale.numpy()))


def _update_metrics(
    model: keras.Model, loss: Tensor, images: Tensor, labels: Tensor, outputs: Tensor, weights: Tensor | None
) -> None:
    """The first of a compiled model's metrics is the mean loss, which Keras's own steps update too."""
    import tensorflow as tf

    model.metrics[0].update_state(loss, sample_weight=tf.shape(images)[0])
    model.compute_metrics(images, labels, outputs, sample_weight=weights)


def _apply_where(
    finite: Any,
    model: keras.Model,
    gradients: list[Tensor],
    average: WeightAverage | None,
    before: list[tuple[keras.Variable, Tensor]],
) -> None:
    """Update the weights where `finite`, () bool, is true; else give the variables of `before` the values they had."""
    import tensorflow as tf

    optimizer, variables = model.optimizer, model.trainable_weights
    if isinstance(optimizer, ScaledRates) and optimizer.can_skip(gradients, variables):
        # Without branches, into each of which TensorFlow would pass every variable and gradient.
        before = [*before, *_values([step_counter(optimizer)])]
        with optimizer.only_where(finite):
            apply_in_replica(optimizer, gradients, variables)
        if average is not None:
            average.update_after(optimizer, finite)
        assign_where(~finite, before)
        return

    def update() -> None:
        apply_in_replica(optimizer, gradients, variables)
        if average is not None:
            average.update_after(optimizer)

    def restore() -> None:
        for variable, value in before:
            variable.assign(value)

    tf.cond(finite, update, restore)


def _values(variables: list[keras.Variable]) -> list[tuple[keras.Variable, Tensor]]:
    """Variables with what they hold now. Nothing is copied: a step assigns, and changes no buffer in its place."""
    import tensorflow as tf

    return [(variable, tf.convert_to_tensor(variable.value)) for variable in variables]
