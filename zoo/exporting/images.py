"""The images that a file is calibrated on and compared with its model on: from arrays, data sets or a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.decoding import decode
from zoo.pictures import pictures_in

MOST = 1000  # images that are kept
CALIBRATION = 200  # of these; more hardly move the scales
DRAWN = 8  # images where none are given
OPEN = 64  # pixels of an axis that is open, of images that are drawn


@dataclass(frozen=True)
class Samples:
    """Images one by one: for each an array, without a batch axis, for every input of the model; labels where known.

    Example:
        >>> from zoo.exporting.images import Samples
        >>> Samples([[np.zeros((8, 8, 3))]], labels=[1]).labels
        [1]
    """

    inputs: Sequence[Sequence[np.ndarray]]
    labels: Sequence[int] | None = None

    def batches(self, batch: int | None) -> Iterator[tuple[list[np.ndarray], int]]:
        """Batches of so many images, and how many of them are not there to fill the last one up.

        Without a number they are single, but for a first batch of two, where they have one shape: both is to work.
        """
        if batch is None:
            for sample in self.inputs:
                yield [array[None] for array in sample], 1
            return
        for start in range(0, len(self.inputs), batch):
            some = list(self.inputs[start : start + batch])
            filled = some + [some[-1]] * (batch - len(some))
            yield [np.stack(arrays) for arrays in zip(*filled, strict=True)], len(some)

    def with_noise(self, share: float) -> Samples:
        """The same with this share of every entry added at random; whole numbers stay."""
        draw = np.random.default_rng(0)

        def noisy(array: np.ndarray) -> np.ndarray:
            if array.dtype.kind != "f":
                return array
            return array * (1 + share * draw.standard_normal(array.shape)).astype(array.dtype)

        return Samples([[noisy(array) for array in arrays] for arrays in self.inputs], self.labels)

    def spread(self, most: int) -> Samples:
        """At most so many, evenly from all of them: a folder has one class after the other."""
        if len(self.inputs) <= most:
            return self
        places = np.linspace(0, len(self.inputs) - 1, most).round().astype(int)
        labels = None if self.labels is None else [self.labels[place] for place in places]
        return Samples([self.inputs[place] for place in places], labels)


def drawn(specifications: Sequence[Any], number: int = DRAWN) -> Samples:
    """Random images for inputs of these specifications: levels for uint8, else standard normal ones."""
    draw = np.random.default_rng(0)
    samples = []
    for _ in range(number):
        arrays = []
        for each in specifications:
            shape = tuple(OPEN if axis is None else axis for axis in each.shape[1:])
            if each.dtype == "uint8":
                arrays.append(draw.integers(0, 256, shape, "uint8"))
            elif each.dtype.startswith(("int", "uint", "bool")):
                arrays.append(draw.integers(0, 2, shape).astype(each.dtype))
            else:
                arrays.append(draw.standard_normal(shape).astype(each.dtype))
        samples.append(arrays)
    return Samples(samples)


def samples_of(
    images: Any,
    specifications: Sequence[Any],
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """At most MOST images of what `zoo.export(images=)` takes, for inputs of these specifications.

    Args:
        prepare: from a picture, uint8 (H, W, 3), to what the model takes; None where that is not known.
        class_names: by which the folders of pictures are recognised that are classes.

    Raises ValueError for what is none of it, or does not suit the model.
    """
    if isinstance(images, (str, os.PathLike)):
        return _from_folder(images, specifications, prepare, class_names)
    if len(specifications) != 1:
        raise ValueError(f"images= is for models with one input of images, and this one has {len(specifications)}.")
    if isinstance(images, tuple) and len(images) == 2:
        pairs = _unbatched([images], specifications[0])
    elif hasattr(images, "shape"):
        pairs = _unbatched([(images, None)], specifications[0])
    elif isinstance(images, Iterable):
        parts = (part if isinstance(part, (tuple, list)) and len(part) > 1 else (part, None) for part in images)
        pairs = _unbatched(parts, specifications[0])
    else:
        raise ValueError(
            f"images={type(images).__name__} is not allowed: give an array, images and labels, a data set of batches, "
            "or a folder of pictures."
        )
    inputs, labels = [], []
    for image, label in pairs:
        inputs.append([image])
        labels.append(label)
        if len(inputs) == MOST:
            break
    if not inputs:
        raise ValueError("images= holds no images.")
    return Samples(inputs, None if None in labels else [int(label) for label in labels])


def _unbatched(parts: Iterable[Any], specification: Any) -> Iterator[tuple[np.ndarray, Any]]:
    """Image by image, with labels or None, of batches or single images."""
    for images, labels, *_ in parts:
        images = np.asarray(images)
        if images.ndim == len(specification.shape) - 1:
            images, labels = images[None], None if labels is None else np.asarray(labels)[None]
        _check(images, specification)
        images = images.astype(specification.dtype, copy=False)
        yield from zip(images, [None] * len(images) if labels is None else _classes(labels, len(images)), strict=True)


def _classes(labels: Any, number: int) -> np.ndarray:
    """(B,) of such labels, a column of them, or one-hot ones (B, classes)."""
    labels = np.asarray(labels)
    if labels.ndim == 2:
        labels = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
    if labels.shape != (number,):
        raise ValueError(f"images= has {number} images and labels of shape {labels.shape}: give one for each.")
    return labels


def _check(images: np.ndarray, specification: Any) -> None:
    expected = tuple(specification.shape)
    suits = images.ndim == len(expected) and all(
        wanted in (None, own) for own, wanted in zip(images.shape[1:], expected[1:], strict=True)
    )
    levels = specification.dtype != "uint8" or images.dtype == np.uint8
    if not suits or not levels or images.dtype.kind not in "fiub":
        wanted = ", ".join("any" if axis is None else str(axis) for axis in expected[1:])
        raise ValueError(
            f"images= of shape {images.shape} and type {images.dtype} do not suit the file, which takes batches of "
            f"{specification.dtype} images ({wanted})."
        )


def _from_folder(
    folder: str | os.PathLike[str],
    specifications: Sequence[Any],
    prepare: Callable[[np.ndarray], np.ndarray] | None,
    class_names: Sequence[str] | None,
) -> Samples:
    if prepare is None or len(specifications) != 1:
        raise ValueError(
            f"images={os.fspath(folder)!r} is a folder of pictures, and it is not known how this model sees pictures: "
            "give config=DataConfig(...) too, or arrays."
        )
    root = Path(folder).expanduser()
    paths = pictures_in(folder)
    if len(paths) > MOST:
        paths = [paths[place] for place in np.linspace(0, len(paths) - 1, MOST).round().astype(int)]
    numbers = {name: number for number, name in enumerate(class_names or ())}
    labels = [numbers.get(path.relative_to(root).parts[0]) for path in paths]
    samples = [[prepare(_decoded(path))] for path in paths]
    _check(samples[0][0][None], specifications[0])
    return Samples(samples, None if None in labels else labels)  # type: ignore[arg-type]  # none of them is None


def _decoded(path: Path) -> np.ndarray:
    import tensorflow as tf

    try:
        return decode(tf.constant(path.read_bytes())).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path} is not a picture that Pillow reads, or a damaged one.") from error
