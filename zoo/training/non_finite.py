"""What happens where the loss or a gradient of a training step is NaN or infinite, and in which layer it began."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from blocks.ops.keras_internals import sublayers
from zoo.errors import UserError
from zoo.training.guarded_step import STEP_FINITE, STEP_LOSS, STEP_OVERFLOW
from zoo.typing import Tensor

REMEDIES = "lower recipe.learning_rate (a tenth is a good try), lengthen recipe.warmup_epochs or set recipe.clip_norm=1"
MOST_IN_A_ROW = 10  # steps that are skipped one after the other before the run stops


class DivergedError(UserError):
    """The training diverged: loss, gradients or weights are no longer finite."""


class NonFiniteSteps:
    """Stops a training at a step whose loss or gradients are not finite, or skips and counts such steps.

    The model must be guarded (`zoo.training.guarded_step`): it is then as before the step. Of a model that is not, the
    running mean of the loss is watched, and `skip` is the same as `stop`.

    Args:
        policy: "stop" or "skip", as `recipe.non_finite` has it.
        locate: from the epoch (from 0) and the step in it (from 1) to a sentence on where it began.
        say: called with a line on the first step that is skipped here, but for those of a scale that was too large.
        skipped, in_a_row: steps of the run until now, and the latest of them, that were skipped.
    """

    def __init__(
        self,
        policy: str = "stop",
        locate: Callable[[int, int], str] = lambda epoch, step: "",
        say: Callable[[str], None] = print,
        skipped: int = 0,
        in_a_row: int = 0,
    ) -> None:
        self.policy, self.locate, self.say = policy, locate, say
        self.skipped, self.in_a_row = skipped, in_a_row
        self.has_said = False

    def loss_of(self, logs: Mapping[str, float]) -> float:
        """The loss of the step, or the mean of the epoch until then where it is not known by itself."""
        return logs.get(STEP_LOSS, logs["loss"])

    def is_finite(self, logs: Mapping[str, float]) -> bool:
        """Whether the step was sound, by its logs."""
        return bool(logs.get(STEP_FINITE, math.isfinite(logs["loss"])))

    def after_step(self, epoch: int, step: int, logs: Mapping[str, float]) -> DivergedError | None:
        """Count the step. Returns what the training is to be stopped with, or None where it goes on.

        Args:
            epoch: from 0.
            step: of the epoch, from 1.
        """
        if logs.get(STEP_OVERFLOW):
            self.skipped += 1  # the next one has half the scale
            return None
        if self.is_finite(logs):
            self.in_a_row = 0
            return None
        loss = self.loss_of(logs)
        what = f"The loss became {loss}" if not math.isfinite(loss) else "A gradient became NaN or infinite"
        if self.policy == "stop" or STEP_FINITE not in logs:
            where = self.locate(epoch, step)
            sentence = f"{what} in epoch {epoch + 1}: {REMEDIES} (it was so after step {step}). {where}"
            return DivergedError(sentence.rstrip())
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row == MOST_IN_A_ROW:
            where = self.locate(epoch, step)
            return DivergedError(
                f"{MOST_IN_A_ROW} steps in a row were skipped, until step {step} of epoch {epoch + 1}, for loss or "
                f"gradients were NaN or infinite: {REMEDIES}. {where}"
            )
        if not self.has_said:
            self.has_said = True
            where = self.locate(epoch, step)
            self.say(f"{what} in epoch {epoch + 1}, step {step}: skipped (recipe.non_finite=skip). {where}")
        return None


def first_non_finite(model: keras.Model, images: Tensor, labels: Tensor) -> str:
    """A sentence on where NaN or infinity appears first as `model` takes a training step on a batch.

    One forward pass, layer by layer, and only where all outputs are finite a backward pass. The model stays as it is.

    Example:
        >>> from zoo.training.non_finite import first_non_finite
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="fc"), keras.layers.ReLU()])
        >>> model.layers[0].kernel.assign(np.full((2, 3), 3e38))
        >>> first_non_finite(model, np.ones((1, 2), "float32"), np.zeros(1))
        'Infinity appeared first in the output of fc (Dense): 3 of 3 values.'
    """
    if spot := _spot(images):
        return f"{spot[0]} is in the images of this step: {spot[1]}."
    changed = model.non_trainable_variables  # statistics, and random states, which a pass moves on
    before = [keras.ops.convert_to_numpy(variable) for variable in changed]
    try:
        return _in_outputs(model, images) or _in_gradients(model, images, labels)
    finally:
        for variable, value in zip(changed, before, strict=True):
            variable.assign(value)


def _in_outputs(model: keras.Model, images: Tensor) -> str | None:
    sentences: list[str] = []

    def check(layer: keras.Layer, outputs: Any) -> None:
        for spot in map(_spot, () if sentences else keras.tree.flatten(outputs)):
            if spot:
                names = " and ".join(weight.name for weight in layer.weights if _spot(weight))
                since = f", whose {names} became so in an earlier update" if names else ""
                layer_name = f"{layer.name} ({type(layer).__name__})"
                sentences.append(f"{spot[0]} appeared first in the output of {layer_name}{since}: {spot[1]}.")

    with _after_each_layer(model, check):
        model(images, training=True)
    return sentences[0] if sentences else None


def _in_gradients(model: keras.Model, images: Tensor, labels: Tensor) -> str:
    import tensorflow as tf

    order: list[keras.Layer] = []
    with tf.GradientTape() as tape, _after_each_layer(model, lambda layer, outputs: order.append(layer)):
        outputs = model(images, training=True)
        loss = model.compute_loss(x=images, y=labels, y_pred=outputs, training=True)
    if spot := _spot(loss):
        return (
            f"{spot[0]} appeared first in the loss: all layers have finite outputs, logits up to {_largest(outputs)}."
        )
    gradients = tape.gradient(loss, model.trainable_weights)
    by_weight = {id(weight): each for weight, each in zip(model.trainable_weights, gradients, strict=True)}
    for layer in reversed(order):  # as the gradient passes through them
        for weight in layer.trainable_weights:
            gradient = by_weight.get(id(weight))
            if gradient is not None and (spot := _spot(gradient)):
                name = f"{weight.name} of {layer.name} ({type(layer).__name__})"
                return f"{spot[0]} appeared first in the gradient of {name}: {spot[1]}."
    return "It did not appear again when the step was repeated: sums over several threads are rounded differently."


@contextmanager
def _after_each_layer(model: keras.Model, look: Callable[[keras.Layer, Any], None]) -> Iterator[None]:
    """Call `look` with each layer within `model` and what it has just computed, in the order of the computation."""
    layers = list(sublayers(model, include_self=False))

    def watched(layer: keras.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def call_and_look(*arguments: Any, **options: Any) -> Any:
            outputs = call(*arguments, **options)
            look(layer, outputs)
            return outputs

        return call_and_look

    for layer in layers:
        object.__setattr__(layer, "call", watched(layer, layer.call))  # past Keras, which tracks attributes
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _spot(values: Any) -> tuple[str, str] | None:
    """What is not finite in an array, and how much of it; None where all is, or it holds no floats."""
    array = np.asarray(keras.ops.convert_to_numpy(values))
    if array.dtype.kind in "iub":
        return None
    array = array.astype(np.float32) if array.dtype.itemsize < 4 else array  # bfloat16 is no number type of NumPy's
    wrong = array.size - np.isfinite(array).sum()
    if not wrong:
        return None
    kind = "NaN" if np.isnan(array).any() else "Infinity"
    return kind, f"{wrong:,} of {array.size:,} values"


def _largest(values: Tensor) -> str:
    return f"{np.abs(keras.ops.convert_to_numpy(keras.ops.cast(values, 'float32'))).max():.3g}"
