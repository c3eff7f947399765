"""One sentence on a training whose network has not learned what its validation images ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable

HELP = '"Poor accuracy" in docs/train.md'
FAR_BELOW = 0.2  # what training top-1 may exceed validation top-1 by
DEVIATIONS = 2.0  # binomial standard deviations that are taken for chance


def poor_accuracy(
    val_top1: float | None, train_top1: float | None, class_counts: Iterable[int], mixed_labels: bool = False
) -> str | None:
    """What is wrong with the accuracy of a training that has ended, or None.

    Poor is a validation top-1 that naming the most frequent class for every image may reach too (within two binomial
    standard deviations), and one that is more than 20 points, and two standard deviations, below training's.

    Args:
        val_top1: share (0 to 1) of the validation images; None or NaN where it is unknown: nothing is said then.
        train_top1: likewise of the training images.
        class_counts: how many validation images each class has.
        mixed_labels: MixUp or CutMix mixed the training images, so that `train_top1` is no accuracy.

    Example:
        >>> from zoo.training.poor_accuracy import poor_accuracy
        >>> print(poor_accuracy(7 / 24, 1.0, [8, 8, 8]))
        Validation top-1 of 29.17 % (training: 100.00 %) is not clearly above the 33.33 % of always naming the most \
frequent class: see "Poor accuracy" in docs/train.md.
        >>> poor_accuracy(0.98, 0.99, [36] * 10) is None
        True
    """
    counts = list(class_counts)
    images = sum(counts)
    if val_top1 is None or not math.isfinite(val_top1) or images == 0:
        return None
    if train_top1 is not None and (mixed_labels or not math.isfinite(train_top1)):
        train_top1 = None
    constant = max(counts) / images
    if constant < 1 and val_top1 < 1 and val_top1 <= constant + DEVIATIONS * _deviation(constant, images):
        training = "" if train_top1 is None else f" (training: {100 * train_top1:.2f} %)"
        return (
            f"Validation top-1 of {100 * val_top1:.2f} %{training} is not clearly above the {100 * constant:.2f} % of "
            f"always naming the most frequent class: see {HELP}."
        )
    if train_top1 is None or train_top1 - val_top1 <= max(FAR_BELOW, DEVIATIONS * _deviation(val_top1, images)):
        return None
    return (
        f"Validation top-1 of {100 * val_top1:.2f} % is far below the {100 * train_top1:.2f} % of the training images: "
        f"see {HELP}."
    )


def _deviation(share: float, images: int) -> float:
    """Standard deviation of the share that is right of so many images."""
    return math.sqrt(share * (1 - share) / images)
