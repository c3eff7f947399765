"""Losses of a recipe beside the cross-entropy."""

from typing import Any

import keras
from keras import ops

from zoo.typing import Tensor


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
        if len(labels.shape) < 2 or labels.shape[-1] != classes:
            labels = ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), classes, dtype=logits.dtype)
            labels = labels * (1 - self.smoothing) + self.smoothing / classes
        labels = ops.cast(labels, logits.dtype)
        if self.threshold is not None:
            labels = ops.cast(ops.greater(labels, self.threshold), logits.dtype)
        return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing, "threshold": self.threshold}
