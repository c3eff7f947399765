"""Which images an epoch shows, where it is not each of them once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


class Balanced:
    """Draws of images in which every class is equally frequent, with replacement within a class.

    Classes without images are left out. Source: Kang et al. 2019, Decoupling Representation and Classifier for
    Long-Tailed Recognition, arXiv:1910.09217, section 3 (class-balanced sampling).

    Args:
        labels: int32 (N,), of the images in their order.

    Example:
        >>> from zoo.datasets.sampling import Balanced
        >>> draws = Balanced(np.array([0, 0, 0, 0, 1])).draw(6, order=(0, 1), choice=(0, 2))
        >>> int(np.sum(draws == 4))  # three of six are of the second class, which has one image
        3
    """

    def __init__(self, labels: tf.Tensor):
        labels = np.asarray(labels)
        self._by_class = np.argsort(labels, kind="stable").astype(np.int32)  # indices of images, class after class
        _, self._counts = np.unique(labels, return_counts=True)
        self._starts = np.cumsum(self._counts) - self._counts

    def draw(self, size: int, order: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
        """int32 (size,): indices of images, of each class floor or ceil(size / classes) in random order.

        Args:
            order, choice: seeds int64 (2,), of the order of the classes and of the images in them.
        """
        extra = tf.random.experimental.stateless_fold_in(choice, 1)
        classes = tf.random.experimental.stateless_shuffle(tf.range(len(self._counts)), extra)
        # The first of them have one image more, where their number does not divide `size`.
        classes = tf.gather(classes, tf.range(size) % len(self._counts))
        classes = tf.random.experimental.stateless_shuffle(classes, order)
        share = tf.random.stateless_uniform((size,), choice, dtype=tf.float64)
        counts = tf.gather(tf.constant(self._counts, tf.float64), classes)
        place = tf.cast(tf.floor(share * counts), tf.int32) + tf.gather(tf.constant(self._starts, tf.int32), classes)
        return tf.gather(self._by_class, place)
