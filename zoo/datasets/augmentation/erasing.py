"""Random erasing of boxes of normalised images.

Source: Zhong et al. 2017, Random Erasing, arXiv:1708.04896; timm's `RandomErasing`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.datasets.augmentation_config import RandomErasingConfig

ATTEMPTS = 10  # to draw a box that fits


class Boxes(NamedTuple):
    """Of N boxes: the image that each lies in, its first row and column, its size, all int32 (N,); its key (N, 2).

    Example:
        >>> from zoo.datasets.augmentation.erasing import draw_boxes
        >>> from zoo.datasets.augmentation_config import RandomErasingConfig
        >>> boxes = draw_boxes((0, 1), 8, 32, 32, RandomErasingConfig(probability=1.0, count=2))
        >>> boxes.top.shape == boxes.height.shape == boxes.image.shape
        True
    """

    image: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    key: tf.Tensor


def draw_boxes(key: tf.Tensor, batch: tf.Tensor | int, height: int, width: int, config: RandomErasingConfig) -> Boxes:
    """The boxes of a batch of images of this size, none or up to `config.count` of each image.

    Example:
        >>> from zoo.datasets.augmentation.erasing import draw_boxes
        >>> from zoo.datasets.augmentation_config import RandomErasingConfig
        >>> draw_boxes((0, 1), 8, 32, 32, RandomErasingConfig(probability=1.0)).image.numpy()
        array([0, 1, 2, 3, 4, 5, 6, 7], dtype=int32)
    """
    keys = tf.random.split(key, 4)
    erased, number = tf.unstack(tf.random.stateless_uniform((2, batch), keys[0]))
    count = tf.where(erased < config.probability, 1 + tf.cast(number * config.count, tf.int32), 0)
    shape = (batch, config.count, ATTEMPTS)
    area, aspect = tf.unstack(tf.random.stateless_uniform((2, *shape), keys[1], dtype=tf.float64))
    low, high = config.area
    area = (low + (high - low) * area) * height * width / tf.cast(tf.maximum(count, 1), tf.float64)[:, None, None]
    low, high = (math.log(each) for each in config.aspect)
    aspect = tf.exp(low + (high - low) * aspect)
    rows, columns = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = (rows < height) & (columns < width)
    first = tf.argmax(fits, axis=-1)[..., None]
    rows, columns = (tf.gather(each, first, batch_dims=2)[..., 0] for each in (rows, columns))
    down, right = tf.unstack(tf.random.stateless_uniform((2, batch, config.count), keys[2], dtype=tf.float64))
    top, left = tf.floor(down * (height - rows + 1)), tf.floor(right * (width - columns + 1))
    drawn = (tf.range(config.count) < count[:, None]) & tf.reduce_any(fits, -1)
    places = tf.where(drawn)
    top, left, rows, columns = (tf.cast(tf.gather_nd(each, places), tf.int32) for each in (top, left, rows, columns))
    box_keys = tf.reshape(tf.random.split(keys[3], batch * config.count), (batch, config.count, 2))
    return Boxes(tf.cast(places[:, 0], tf.int32), top, left, rows, columns, tf.gather_nd(box_keys, places))


def erase(
    images: tf.Tensor, key: tf.Tensor, config: RandomErasingConfig, drawn: tuple[int, np.ndarray] | None = None
) -> tf.Tensor:
    """float32 (B, H, W, C) of normalised images with the boxes replaced: by 0, one normal colour or normal noise.

    drawn: where the images are a part of a batch, its size and their places in it; their boxes are those of the whole.

    Example:
        >>> from zoo.datasets.augmentation.erasing import erase
        >>> from zoo.datasets.augmentation_config import RandomErasingConfig
        >>> images = np.ones((1, 16, 16, 3), "float32")
        >>> bool((erase(images, (0, 1), RandomErasingConfig(probability=1.0, mode="const")).numpy() == 0).any())
        True
    """
    height, width, channels = images.shape[1:]
    if drawn is None:
        boxes = draw_boxes(key, tf.shape(images)[0], height, width, config)
    else:
        boxes = _boxes_of(draw_boxes(key, drawn[0], height, width, config), *drawn)

    def replaced(index: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, top, left, rows, columns, box_key = (each[index] for each in boxes)
        shape = tf.stack([1, rows, columns, channels])
        if config.mode == "pixel":
            box = tf.random.stateless_normal(shape, box_key)
        elif config.mode == "rand":
            box = tf.broadcast_to(tf.random.stateless_normal((channels,), box_key), shape)
        else:
            box = tf.zeros(shape)
        begin = tf.stack([image, top, left, 0])
        # In place, where nothing else uses the images: a box costs its own pixels and no others.
        changed = tf.raw_ops.TensorStridedSliceUpdate(
            input=images, begin=begin, end=begin + shape, strides=[1, 1, 1, 1], value=box
        )
        return index + 1, tf.ensure_shape(changed, images.shape)

    count = tf.size(boxes.image)
    return tf.while_loop(lambda index, _: index < count, replaced, (0, tf.convert_to_tensor(images)))[1]


def _boxes_of(boxes: Boxes, batch_size: int, places: np.ndarray) -> Boxes:
    """The boxes of the images at these places of a batch, numbered as they are there."""
    numbers = np.full(batch_size, -1, np.int32)
    numbers[places] = np.arange(len(places))
    own = tf.gather(numbers, boxes.image)
    return Boxes(*(tf.boolean_mask(each, own >= 0) for each in (own, *boxes[1:])))
