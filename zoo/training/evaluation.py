"""What a trained network confuses: one pass over the validation images."""

import heapq
import math
from collections import Counter

import keras
import numpy as np

from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import Data
from zoo.tracking.evaluation import Evaluation, Mistake

WORST = 32  # mistakes that are kept with their images


def class_names(data: Data) -> tuple[str, ...]:
    """The names of the classes, or their numbers where the data set has none."""
    return tuple(data.class_names or map(str, range(data.num_classes)))


def evaluate(model: keras.Model, data: Data, config: DatasetConfig, worst: int = WORST) -> Evaluation:
    """Predictions of `model`, which gives logits, for the validation images of `data`, in one pass.

    Only counts and the `worst` mistakes are held, whatever the size of the split. The mistakes with the highest loss
    are the worst, i.e. those with the least probability for the true class.
    """
    confusion: Counter[tuple[int, int]] = Counter()
    worst_mistakes: list[tuple[float, int, Mistake]] = []  # a heap with the mildest mistake on top
    position = 0
    for images, labels in data.validation.as_numpy_iterator():
        logits = _logits(model, images, data.batch_size)
        with np.errstate(invalid="ignore"):  # of logits that are no numbers
            logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        predicted = logits.argmax(axis=1)
        confusion.update(zip(labels.tolist(), predicted.tolist(), strict=True))
        for index in np.flatnonzero(predicted != labels):
            loss = float(-logs[index, labels[index]])
            loss = math.inf if math.isnan(loss) else loss
            if len(worst_mistakes) == worst and loss <= worst_mistakes[0][0]:
                continue
            mistake = Mistake(
                position=position + int(index),
                pixels=pixels(images[index], config),
                true=int(labels[index]),
                predicted=int(predicted[index]),
                true_probability=math.exp(-loss),
                predicted_probability=float(np.exp(logs[index, predicted[index]])),
                loss=loss,
            )
            # The earlier of two equal ones stays, whatever the size of a batch.
            add = heapq.heappush if len(worst_mistakes) < worst else heapq.heapreplace
            add(worst_mistakes, (loss, -mistake.position, mistake))
        position += len(labels)
    mistakes = tuple(mistake for *_, mistake in sorted(worst_mistakes, reverse=True))
    return Evaluation("validation", class_names(data), confusion, mistakes)


def pixels(image: np.ndarray, config: DatasetConfig) -> np.ndarray:
    """uint8 pixels (H, W, 3), or (H, W) of grey ones, of a normalised float32 image (H, W, C)."""
    shares = image * np.asarray(config.std, np.float32) + np.asarray(config.mean, np.float32)
    levels = np.clip(np.rint(shares * 255), 0, 255).astype(np.uint8)
    return levels[..., 0] if levels.shape[-1] == 1 else levels


def _logits(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """float64 logits (B, classes). A smaller last batch is filled up, for another size would trace the network anew."""
    missing = max(0, batch_size - len(images))
    filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing else images
    return np.asarray(model.predict_on_batch(filled), np.float64)[: len(images)]
