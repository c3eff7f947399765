"""Weights of the classes in the training loss."""

from collections.abc import Sequence

import numpy as np

from zoo.datasets.pipeline import Data
from zoo.training.recipe_config import BALANCED


def class_weights(setting: str | Sequence[float] | None, data: Data) -> dict[int, float] | None:
    """What `recipe.class_weights` means for these data, as Keras's `fit(class_weight=)` takes it.

    The loss of an image is multiplied by the weight of its class, and their mean is over the images of a batch: as
    `sample_weight` is in Keras and scikit-learn. (`torch.nn.CrossEntropyLoss(weight=)` divides by the sum of the
    weights instead, and with label smoothing weights the share of every class.) With "balanced" the mean weight of the
    training images is 1, so that the learning rate stays what it is.

    Raises:
        ValueError: the list has not one number for each class.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.pipeline import load
        >>> from zoo.training.class_weights import class_weights
        >>> data = load(DatasetConfig(source="synthetic", num_classes=2), batch_size=32, seed=0)
        >>> class_weights([1.0, 3.0], data)
        {0: 1.0, 1: 3.0}
    """
    if setting is None:
        return None
    if setting == BALANCED:
        return dict(enumerate(balanced(data.class_counts()).tolist()))
    if len(setting) != data.num_classes:
        raise ValueError(
            f"recipe.class_weights has {len(setting)} numbers, and {data.name} has {data.num_classes} classes: give "
            f"{data.num_classes}, or balanced."
        )
    return dict(enumerate(map(float, setting)))


def balanced(counts: np.ndarray) -> np.ndarray:
    """Weights (C,) of classes with `counts` (C,) images: n / (classes * count). 0 for a class without images.

    Source: King and Zeng 2001, Logistic Regression in Rare Events Data; scikit-learn's `compute_class_weight`, where
    classes are those that occur.

    Example:
        >>> from zoo.training.class_weights import balanced
        >>> balanced(np.array([30, 10, 0]))
        array([0.66666667, 2.        , 0.        ])
    """
    occurring = counts > 0
    weights = np.zeros(len(counts))
    weights[occurring] = counts.sum() / (occurring.sum() * counts[occurring])
    return weights
