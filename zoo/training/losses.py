"""Losses of a recipe: of integer labels, and of soft ones, the shares of classes that MixUp and CutMix give."""

import functools
from typing import Any

import keras
from keras import ops

from zoo.typing import Tensor


def are_soft(labels: Tensor, logits: Tensor) -> bool:
    """Whether labels are shares of classes (B, classes), and not integers (B,) or (B, 1).

    Example:
        >>> from zoo.training.losses import are_soft
        >>> logits = np.zeros((2, 10))
        >>> are_soft(np.zeros(2), logits), are_soft(np.zeros((2, 1)), logits), are_soft(np.zeros((2, 10)), logits)
        (False, False, True)
    """
    return len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1]


class _SmoothingLoss(keras.losses.Loss):
    """A loss of integer labels (B,), which are smoothed in training."""

    is_training = True

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smoothing = smoothing

    @property
    def share(self) -> float:
        """Of the target that is spread over all classes."""
        return self.smoothing if self.is_training else 0.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


def smooth_in_training_alone(model: keras.Model, loss: _SmoothingLoss) -> None:
    """Let `loss`, which `model` is compiled with, take labels as they are where the model is not training.

    The losses of validation and test can then be compared between recipes with other smoothing; timm's train.py
    validates without smoothing too.

    Example:
        >>> from zoo.training.losses import SmoothedCrossentropy, smooth_in_training_alone
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> loss = SmoothedCrossentropy(0.1)
        >>> model.compile(loss=loss)
        >>> smooth_in_training_alone(model, loss)
        >>> round(model.evaluate(np.array([[9.0, 0.0]]), np.array([0]), verbose=0), 4)
        0.0001
    """
    compute = model.compute_loss

    @functools.wraps(compute)
    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        loss.is_training = training  # while a step is traced, in which the share of smoothing is a constant
        try:
            return compute(x, y, y_pred, sample_weight, training)
        finally:
            loss.is_training = True

    model.compute_loss = compute_loss  # type: ignore[method-assign]  # of this model


class SmoothedCrossentropy(_SmoothingLoss):
    """Cross-entropy of raw logits (B, classes) with integer labels (B,), targets smoothed over all classes.

    Soft labels (B, classes) are taken as they are: mixing smooths them.

    Source: Szegedy et al. 2016, Rethinking the Inception Architecture, section 7, arXiv:1512.00567.

    Example:
        >>> from zoo.training.losses import SmoothedCrossentropy
        >>> loss = SmoothedCrossentropy(smoothing=0.1)
        >>> round(float(loss(np.array([0]), np.zeros((1, 10), "float32"))), 4)  # the logarithm of 10
        2.3026
    """

    def call(self, labels: Tensor, logits: Tensor) -> Tensor:
        if are_soft(labels, logits):
            return keras.losses.categorical_crossentropy(labels, logits, from_logits=True)
        plain = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if not self.share:
            return plain
        uniform = -ops.mean(ops.log_softmax(logits, axis=-1), axis=-1)
        return (1 - self.share) * plain + self.share * uniform


class BinaryCrossentropy(_SmoothingLoss):
    """The mean over all classes of the binary cross-entropy of raw logits (B, classes).

    Args:
        smoothing: of integer labels (B,): spread over all classes, as `SmoothedCrossentropy` does. Soft labels
            (B, classes) are taken as they are.
        threshold: labels above it become 1 and the others 0; None leaves them.

    Source: Wightman et al. 2021, ResNet Strikes Back, section 2, arXiv:2110.00476; timm's `BinaryCrossEntropy`.

    Example:
        >>> from zoo.training.losses import BinaryCrossentropy
        >>> round(float(BinaryCrossentropy()(np.array([0]), np.zeros((1, 10), "float32"))), 4)  # the logarithm of 2
        0.6931
    """

    def __init__(self, smoothing: float = 0.0, threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(smoothing, **kwargs)
        self.threshold = threshold

    def call(self, labels: Tensor, logits: Tensor) -> Tensor:
        classes = logits.shape[-1]
        if not are_soft(labels, logits):
            labels = ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), classes, dtype=logits.dtype)
            labels = labels * (1 - self.share) + self.share / classes
        labels = ops.cast(labels, logits.dtype)
        if self.threshold is not None:
            labels = ops.cast(ops.greater(labels, self.threshold), logits.dtype)
        return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}
