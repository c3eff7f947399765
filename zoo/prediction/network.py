"""A network that is open in its runtime, and what its outputs say. Needs NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zoo.errors import UserError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Network:
    """One input of pictures, one output of classes.

    name: how messages call it.
    shape: of the input, with the batch axis; None is a dynamic axis.
    call: float32 images, or levels where it `takes_levels`, in the shape of the input -> outputs (B, classes).
    takes_levels: whether the input are integers, so that preprocessing must lie inside.
    activation: "softmax" or "logits" where the file shows it; None where it does not.
    config: the JSON of its `DataConfig` where it lies in the file.

    Raises UserError, when called by `outputs`, where the runtime fails or its output is no row for each picture.

    Example:
        >>> from zoo.prediction.network import Network
        >>> means = Network("means", (None, 3, None, None), call=lambda images: images.mean((2, 3)))
        >>> means.channels_first, means.outputs(np.ones((2, 8, 8, 3), "float32")).shape
        (True, (2, 3))
    """

    name: str
    shape: Shape
    call: Callable[[np.ndarray], np.ndarray]
    takes_levels: bool = False
    activation: str | None = None
    config: str | None = None

    @property
    def channels_first(self) -> bool:
        """Whether the channels lie before height and width, as in networks of PyTorch."""
        return self.shape[3] not in (1, 3) and self.shape[1] in (1, 3)

    @property
    def channels(self) -> int | None:
        return self.shape[1] if self.channels_first else self.shape[3]

    @property
    def size(self) -> tuple[int | None, int | None]:
        """(height, width) of the pictures; None is dynamic."""
        height, width = self.shape[2:4] if self.channels_first else self.shape[1:3]
        return height, width

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """float64 (B, classes) for images (B, height, width, C).

        A network with a fixed batch gets batches of that size, the last one filled up with zeros.

        Raises UserError where the runtime fails, or its output is not one row of classes for each picture.
        """
        if self.channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        count, fixed = len(images), self.shape[0]
        parts = []
        for start in range(0, count, fixed or count):
            part = images[start : start + (fixed or count)]
            missing = (fixed or len(part)) - len(part)
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            parts.append(self._called(part))
        return np.concatenate(parts)[:count]

    def _called(self, images: np.ndarray) -> np.ndarray:
        try:
            outputs = np.asarray(self.call(images), np.float64)
        except UserError:
            raise
        except Exception as error:  # runtimes raise many kinds
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise UserError(f"{self.name} fails on pictures {images.shape}: {reason.rstrip('.')}.") from error
        if outputs.ndim != 2 or len(outputs) != len(images) or outputs.shape[1] < 2:
            raise UserError(
                f"{self.name} gives outputs {outputs.shape} for {len(images)} pictures, and predict needs a row of at "
                "least 2 classes for each."
            )
        return outputs


def check_input(name: str, shapes: list[Shape], outputs: int) -> Shape:
    """The shape of the one input. Raises UserError for a network that is not from pictures to one output.

    Example:
        >>> from zoo.prediction.network import check_input
        >>> check_input("net.onnx", [(None, 224, 224, 3)], outputs=1)
        (None, 224, 224, 3)
    """
    if len(shapes) != 1 or outputs != 1:
        raise UserError(
            f"{name} has {len(shapes)} inputs and {outputs} outputs: predict is for networks from pictures to classes, "
            "with one of each."
        )
    if len(shapes[0]) != 4:
        raise UserError(f"{name} takes inputs {shapes[0]}: predict is for pictures, (batch, height, width, channels).")
    return shapes[0]


@dataclass(frozen=True)
class Prediction:
    """One class for one picture: its number, counted from 0, and its probability.

    Example:
        >>> from zoo.prediction.network import Prediction
        >>> Prediction(index=7, probability=0.9).index
        7
    """

    index: int
    probability: float


def ranked(outputs: np.ndarray, activation: str, top: int) -> list[Prediction]:
    """The `top` classes of one picture's outputs (classes,), the most probable first; of equal ones the first.

    Raises ValueError for outputs that are NaN or infinite.

    Example:
        >>> from zoo.prediction.network import ranked
        >>> [(each.index, round(each.probability, 3)) for each in ranked(np.log([1.0, 3.0, 6.0]), "logits", top=2)]
        [(2, 0.6), (1, 0.3)]
    """
    if not np.isfinite(outputs).all():
        raise ValueError("the outputs of the network are NaN or infinite")
    probabilities = outputs
    if activation == "logits":
        powers = np.exp(outputs - outputs.max())
        probabilities = powers / powers.sum()
    order = np.argsort(-outputs, kind="stable")[:top]  # of the outputs: probabilities of far ones are all 0
    return [Prediction(int(index), float(probabilities[index])) for index in order]
