"""Accuracies of integer labels, and of soft ones, of which the class with the largest share counts."""

from typing import Any

import keras
from keras import ops

from zoo.training.losses import are_soft
from zoo.typing import Tensor


class _OfClasses(keras.metrics.Metric):
    """Gives the metric behind it, which takes integer labels, the classes of soft ones."""

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        classes = ops.argmax(y_true, axis=-1) if are_soft(y_true, y_pred) else y_true
        return super().update_state(classes, y_pred, sample_weight)


class Accuracy(_OfClasses, keras.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]  # of `Mean` within it
    """The share of images whose largest logit (B, classes) is that of their label (B,), or largest label (B, classes).

    Example:
        >>> from zoo.training.accuracies import Accuracy
        >>> accuracy = Accuracy()
        >>> accuracy.update_state(np.array([[0.3, 0.7], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
        >>> float(accuracy.result())
        0.5
    """


class TopKAccuracy(_OfClasses, keras.metrics.SparseTopKCategoricalAccuracy):  # type: ignore[misc]  # likewise
    """The same for the `k` largest logits.

    Example:
        >>> from zoo.training.accuracies import TopKAccuracy
        >>> accuracy = TopKAccuracy(k=2)
        >>> accuracy.update_state(np.array([1]), np.array([[0.2, 0.3, 0.5]], "float32"))
        >>> float(accuracy.result())
        1.0
    """
