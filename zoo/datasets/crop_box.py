"""The box of a random resized crop, drawn as torchvision and timm do, in a few vector operations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

ATTEMPTS = 10


def random_box(shape: tf.Tensor, seed: tf.Tensor, area: Sequence[float], aspect: Sequence[float]) -> tf.Tensor:
    """int32 (4,): top, left, height and width of a random box in an image.

    As torchvision's RandomResizedCrop and timm draw it: up to ten times a share of the image's area, uniformly, and a
    ratio of width to height, uniformly in its logarithm; the first of them that fits in lies anywhere, uniformly. Where
    none does, the box is the largest in the middle whose ratio lies within `aspect`. Source: Szegedy et al. 2014,
    arXiv:1409.4842, section 6.

    Args:
        shape: int32 (3,), or (2,): height and width of the image come first.
        seed: int64 (2,); the same seed gives the same box.
        area: lowest and highest share of the image's area.
        aspect: lowest and highest width / height.

    Example:
        >>> from zoo.datasets.crop_box import random_box
        >>> random_box((40, 50), (0, 1), area=(1.0, 1.0), aspect=(1.25, 1.25)).numpy()
        array([ 0,  0, 40, 50], dtype=int32)
    """
    size = tf.cast(shape[:2], tf.float32)
    draws = tf.random.stateless_uniform((4, ATTEMPTS), seed)
    logarithms = [math.log(bound) for bound in aspect]
    target = (draws[0] * (area[1] - area[0]) + area[0]) * (size[0] * size[1])
    root = tf.exp((draws[1] * (logarithms[1] - logarithms[0]) + logarithms[0]) * 0.5)  # of width / height
    side = tf.sqrt(target)
    extents = tf.round(tf.stack([side / root, side * root]))  # (2, ATTEMPTS): heights, widths
    room = size[:, None] - extents
    fits = tf.reduce_all((room >= 0) & (extents > 0), axis=0)
    # Uniform over the room + 1 places; float32 may round up to the last but one, which the minimum takes back.
    begin = tf.minimum(tf.floor(draws[2:] * (room + 1)), room)
    drawn = tf.gather(tf.concat([begin, extents], 0), tf.argmax(fits), axis=1)
    box = tf.where(tf.reduce_any(fits), drawn, _middle(size, aspect))
    return tf.cast(box, tf.int32)


def _middle(size: tf.Tensor, aspect: Sequence[float]) -> tf.Tensor:
    """float32 (4,): the largest box in the middle of an image of `size` whose width / height lies within `aspect`."""
    flipped = size[::-1]  # width, height
    extent = tf.minimum(size, tf.round(flipped * tf.constant([1 / aspect[0], aspect[1]], tf.float32)))
    extent = tf.maximum(extent, 1.0)
    return tf.concat([tf.floor((size - extent) / 2), extent], 0)
