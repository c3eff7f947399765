"""Whether a file computes what its model does: both on the same images, each in its own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.exporting.formats import Bounds
from zoo.exporting.images import Samples

STACK = 16  # images that the model computes at once
Outputs = Sequence[Sequence[np.ndarray]]  # of each image an array for each output, without a batch axis


@dataclass(frozen=True)
class Comparison:
    """How near a file's outputs are to the model's; of several outputs the worst. As `Bounds` has the words.

    agreement: share of the images whose largest output is the same; None where the output is no vector.

    Example:
        >>> from zoo.exporting.verification import compare
        >>> logits = [[np.array([1.0, 3.0])], [np.array([2.0, 0.0])]]
        >>> compare(logits, logits).agreement
        1.0
    """

    difference: float
    cosine: float
    variation: float
    agreement: float | None

    def beyond(self, bounds: Bounds) -> str | None:
        """What is beyond the bounds, in words; None where nothing is."""
        if bounds.difference is not None and not self.difference <= bounds.difference:
            most = f"{bounds.difference:g} is allowed for this format"
            return f"they differ by {self.difference:.2g} of the largest output, and {most}"
        if not self.cosine >= bounds.cosine:
            return f"their cosine similarity is {self.cosine:.3f}, and {bounds.cosine:g} is the least for this format"
        if not self.variation >= bounds.variation:
            least = f"and {bounds.variation:g} is the least"
            return f"they tell no images apart: they vary {self.variation:.3f} times as much as the model's, {least}"
        return None


def compare(actual: Outputs, expected: Outputs) -> Comparison:
    """Compare the outputs for the same images.

    Example:
        >>> from zoo.exporting.verification import compare
        >>> round(compare([[np.array([1.0, 2.1])]], [[np.array([1.0, 2.0])]]).difference, 3)
        0.05
    """
    places = range(len(expected[0]))
    parts = [_compare([each[place] for each in actual], [each[place] for each in expected]) for place in places]
    vectors = len(parts) == 1 and expected[0][0].ndim == 1
    same = [np.argmax(ours[0]) == np.argmax(theirs[0]) for ours, theirs in zip(actual, expected, strict=True)]
    return Comparison(
        max(part[0] for part in parts),
        min(part[1] for part in parts),
        min(part[2] for part in parts),
        float(np.mean(same)) if vectors else None,
    )


def _compare(actual: list[np.ndarray], expected: list[np.ndarray]) -> tuple[float, float, float]:
    """Difference, cosine and variation of one output."""
    if any(ours.shape != theirs.shape for ours, theirs in zip(actual, expected, strict=True)):
        return np.inf, 0.0, 0.0
    ours, theirs = ([each.astype("float64").ravel() for each in arrays] for arrays in (actual, expected))
    largest = max(np.abs(each).max(initial=0) for each in theirs)
    difference = max(np.abs(a - b).max(initial=0) for a, b in zip(ours, theirs, strict=True))
    cosine = float(np.mean([_cosine(a, b) for a, b in zip(ours, theirs, strict=True)]))
    variation = 1.0
    if len(ours) > 1 and len({each.size for each in theirs}) == 1:
        varied = np.stack(theirs) - np.mean(theirs, axis=0)
        if np.abs(varied).max() > 1e-6 * largest:  # else the model itself says the same of all images
            variation = float(np.linalg.norm(np.stack(ours) - np.mean(ours, axis=0)) / np.linalg.norm(varied))
    share = difference / largest if largest else (0.0 if difference == 0 else np.inf)
    return float(share), cosine, variation


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if not lengths:
        return float(not a.any() and not b.any())
    return float(a @ b / lengths)


def accuracy(outputs: Outputs, labels: Sequence[int] | None) -> float | None:
    """Share of the images whose largest output is that of their label; None without labels, or for no vectors.

    Example:
        >>> from zoo.exporting.verification import accuracy
        >>> accuracy([[np.array([1.0, 2.0])], [np.array([1.0, 0.0])]], labels=[1, 1])
        0.5
    """
    if labels is None or len(outputs[0]) != 1 or outputs[0][0].ndim != 1:
        return None
    return float(np.mean([np.argmax(output[0]) == label for output, label in zip(outputs, labels, strict=True)]))


def computed(model: Any, samples: Samples) -> list[list[np.ndarray]]:
    """What a Keras model gives for each of the images, in inference.

    Example:
        >>> from zoo.exporting.images import Samples
        >>> from zoo.exporting.verification import computed
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
        >>> computed(model, Samples([[np.array([-1.0, 2.0], "float32")]]))[0][0]
        array([0., 2.], dtype=float32)
    """
    import keras
    import tensorflow as tf

    single = isinstance(model, keras.Sequential) or not isinstance(model.input, (dict, list, tuple))
    structure = model.inputs[0] if single else model.input
    fixed = model.inputs[0].shape[0]

    def call(*arrays: Any) -> Any:
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(structure, arrays), training=False))

    specifications = [tf.TensorSpec(each.shape, each.dtype) for each in model.inputs]
    function = tf.function(call, autograph=False).get_concrete_function(*specifications)
    outputs: list[list[np.ndarray]] = []
    for arrays, number in _stacked(samples, fixed):
        results = [np.asarray(each) for each in function(*map(tf.constant, arrays))]
        outputs += [[result[place] for result in results] for place in range(number)]
    return outputs


def _stacked(samples: Samples, fixed: int | None) -> Any:
    """Batches of the model's size; where that is open, of some neighbouring images of one shape."""
    if fixed is not None:
        yield from samples.batches(fixed)
        return
    start = 0
    while start < len(samples.inputs):
        shapes = [array.shape for array in samples.inputs[start]]
        end = start + 1
        while end < min(start + STACK, len(samples.inputs)) and shapes == [x.shape for x in samples.inputs[end]]:
            end += 1
        yield [np.stack(arrays) for arrays in zip(*samples.inputs[start:end], strict=True)], end - start
        start = end
