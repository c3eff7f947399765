"""Accuracies of integer labels, and of soft ones, of which the class with the largest share counts."""

from typing import Any

import keras
from keras import ops

from zoo.training.losses import are_soft
from zoo.typing import Tensor


def _classes(labels: Tensor, logits: Tensor) -> Tensor:
    return ops.argmax(labels, axis=-1) if are_soft(labels, logits) else labels


class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of images whose largest logit (B, classes) is that of their label (B,), or largest label (B, classes).

    Example:
        >>> from zoo.training.accuracies import Accuracy
        >>> accuracy = Accuracy()
        >>> accuracy.update_state(np.array([[0.3, 0.7], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
        >>> float(accuracy.result())
        0.5
    """

    def update_state(  # type: ignore[override]  # its base class, but one, has one argument for both
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Any:
        return super().update_state(_classes(y_true, y_pred), y_pred, sample_weight)


class TopKAccuracy(keras.metrics.SparseTopKCategoricalAccuracy):
    """The same for the `k` largest logits.

    Example:
        >>> from zoo.training.accuracies import TopKAccuracy
        >>> accuracy = TopKAccuracy(k=2)
        >>> accuracy.update_state(np.array([1]), np.array([[0.2, 0.3, 0.5]], "float32"))
        >>> float(accuracy.result())
        1.0
    """

    def update_state(  # type: ignore[override]  # its base class, but one, has one argument for both
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Any:
        return super().update_state(_classes(y_true, y_pred), y_pred, sample_weight)
