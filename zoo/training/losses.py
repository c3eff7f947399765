"""Losses of a recipe: of integer labels, and of soft ones, the shares of classes that MixUp and CutMix give."""

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


class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of raw logits (B, classes) with integer labels (B,), targets smoothed over all classes.

    Soft labels (B, classes) are taken as they are: mixing smooths them.

    Source: Szegedy et al. 2016, Rethinking the Inception Architecture, section 7, arXiv:1512.00567.

    Example:
        >>> from zoo.training.losses import SmoothedCrossentropy
        >>> loss = SmoothedCrossentropy(smoothing=0.1)
        >>> round(float(loss(np.array([0]), np.zeros((1, 10), "float32"))), 4)  # the logarithm of 10
        2.3026
    """

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smoothing = smoothing

    def call(self, labels: Tensor, logits: Tensor) -> Tensor:
        if are_soft(labels, logits):
            return keras.losses.categorical_crossentropy(labels, logits, from_logits=True)
        plain = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if not self.smoothing:
            return plain
        uniform = -ops.mean(ops.log_softmax(logits, axis=-1), axis=-1)
        return (1 - self.smoothing) * plain + self.smoothing * uniform

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


class BinaryCrossentropy(keras.losses.Loss):
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
        super().__init__(**kwargs)
        self.smoothing, self.threshold = smoothing, threshold

    def call(self, labels: Tensor, logits: Tensor) -> Tensor:
        classes = logits.shape[-1]
        if not are_soft(labels, logits):
            labels = ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), classes, dtype=logits.dtype)
            labels = labels * (1 - self.smoothing) + self.smoothing / classes
        labels = ops.cast(labels, logits.dtype)
        if self.threshold is not None:
            labels = ops.cast(ops.greater(labels, self.threshold), logits.dtype)
        return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing, "threshold": self.threshold}
