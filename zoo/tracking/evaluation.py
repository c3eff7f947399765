"""What a trained network confuses, as it is recorded and shown."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else."""

    position: int  # of the image in the split, from 0
    pixels: np.ndarray  # uint8 (H, W) or (H, W, 3), as the network saw it, before it was normalised
    true: int  # class indices
    predicted: int
    true_probability: float
    predicted_probability: float
    loss: float  # -log(true_probability), infinite where the logits are no numbers


@dataclass(frozen=True)
class Evaluation:
    """The predictions of one network on one split, counted."""

    split: str
    classes: tuple[str, ...]
    confusion: Counter[tuple[int, int]] = field(default_factory=Counter)  # (true, predicted) -> images
    mistakes: tuple[Mistake, ...] = ()  # the worst first

    def plain(self) -> dict[str, Any]:
        """What `evaluation.json` holds; `confusion` as triples [true class, predicted class, images], without zeros."""
        entries = [[true, predicted, images] for (true, predicted), images in sorted(self.confusion.items())]
        return {"split": self.split, "classes": list(self.classes), "confusion": entries}

    def images(self) -> Counter[int]:
        """How many images each class has."""
        images: Counter[int] = Counter()
        for (true, _), count in self.confusion.items():
            images[true] += count
        return images

    def per_class(self) -> list[tuple[str, int, int]]:
        """For each class its name, its images and how many of them were recognised."""
        images = self.images()
        return [(name, images[index], self.confusion[index, index]) for index, name in enumerate(self.classes)]
