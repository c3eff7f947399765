"""MixUp and CutMix of a batch with itself in reverse order, and of its labels.

Sources: Zhang et al. 2017, mixup, arXiv:1710.09412; Yun et al. 2019, CutMix, arXiv:1905.04899; timm's `Mixup`, mode
"batch": one draw for all images of a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from zoo.datasets.augmentation_config import MixingConfig

NEITHER, MIXUP, CUTMIX = 0, 1, 2


class Mix(NamedTuple):
    """What is done to a batch: `kind` int32 () of the above, `share` float64 () that its own images keep, and of CutMix
    the box: `top`, `bottom`, `left`, `right`, int32 ().

    Example:
        >>> from zoo.datasets.augmentation.mixing import CUTMIX, Mix
        >>> Mix(CUTMIX, 0.75, top=0, bottom=4, left=4, right=8).share  # of 8 x 8 pixels
        0.75
    """

    kind: tf.Tensor
    share: tf.Tensor
    top: tf.Tensor
    bottom: tf.Tensor
    left: tf.Tensor
    right: tf.Tensor


def draw_mix(key: tf.Tensor, height: int, width: int, config: MixingConfig) -> Mix:
    """The mix of one batch of images of this size. CutMix's share is that of the pixels outside of its box, which is
    cut off at the edges.

    Example:
        >>> from zoo.datasets.augmentation.mixing import CUTMIX, draw_mix
        >>> from zoo.datasets.augmentation_config import MixingConfig
        >>> mix = draw_mix((0, 1), 8, 8, MixingConfig(cutmix_alpha=1.0))
        >>> box = (mix.bottom - mix.top) * (mix.right - mix.left)
        >>> int(mix.kind) == CUTMIX, float(mix.share) == 1 - int(box) / 64
        (True, True)
    """
    keys = tf.random.split(key, 3)
    applied, switch, down, across, of_first, of_second = tf.unstack(
        tf.random.stateless_uniform((6,), keys[0], dtype=tf.float64)
    )
    if config.mixup_alpha and config.cutmix_alpha:
        is_cutmix = switch < config.switch_probability
    else:
        is_cutmix = tf.constant(config.cutmix_alpha > 0)
    alpha = tf.where(is_cutmix, tf.constant(config.cutmix_alpha, tf.float64), config.mixup_alpha)
    # Beta(a, a) is X / (X + Y) of two Gamma(a), and Gamma(a) is Gamma(a + 1) U ** (1 / a): by their logarithms, for
    # where a is small most of them are smaller than any number.
    first, second = (
        tf.math.log(tf.random.stateless_gamma((), each, alpha + 1, dtype=tf.float64)) + tf.math.log(uniform) / alpha
        for each, uniform in zip(tf.unstack(keys[1:]), (of_first, of_second), strict=True)
    )
    share = tf.sigmoid(first - second)
    is_mixed = applied < config.probability
    ratio = tf.sqrt(1 - share)
    top, bottom = _side(height, ratio, down)
    left, right = _side(width, ratio, across)
    area = tf.cast((bottom - top) * (right - left), tf.float64)
    share = tf.where(is_cutmix, 1 - area / (height * width), share)
    kind = tf.where(is_mixed, tf.where(is_cutmix, CUTMIX, MIXUP), NEITHER)
    return Mix(kind, tf.where(is_mixed, share, 1), top, bottom, left, right)


def _side(length: int, ratio: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """First pixel, and that behind the last, of a box that is `ratio` of a side, its middle anywhere on it."""
    cut, middle = tf.cast(length * ratio, tf.int32), tf.cast(length * place, tf.int32)
    return tf.maximum(middle - cut // 2, 0), tf.minimum(middle + (cut + 1) // 2, length)


def apply_mix(
    images: tf.Tensor, labels: tf.Tensor, mix: Mix, num_classes: int, smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Images uint8 (B, H, W, C), of MixUp rounded to whole levels, and labels float32 (B, `num_classes`).

    Args:
        smoothing: share of each label that is spread over all classes before it is mixed.

    Example:
        >>> from zoo.datasets.augmentation.mixing import MIXUP, Mix, apply_mix
        >>> images, labels = np.array([10, 20], "uint8").reshape(2, 1, 1, 1), np.array([0, 1])
        >>> mixed, soft = apply_mix(images, labels, Mix(MIXUP, np.float64(0.75), 0, 1, 0, 1), 2)
        >>> mixed.numpy().ravel(), soft.numpy().tolist()
        (array([12, 18], dtype=uint8), [[0.75, 0.25], [0.25, 0.75]])
    """
    images = tf.convert_to_tensor(images)
    own, other = tf.cast(mix.share, tf.float32), tf.cast(1 - mix.share, tf.float32)

    def mixup() -> tf.Tensor:
        levels = tf.cast(images, tf.float32)
        return tf.cast(tf.round(levels * own + tf.reverse(levels, [0]) * other), tf.uint8)

    def cutmix() -> tf.Tensor:
        rows, reverse = images[:, mix.top : mix.bottom], tf.reverse(images[:, mix.top : mix.bottom], [0])
        middle = [rows[:, :, : mix.left], reverse[:, :, mix.left : mix.right], rows[:, :, mix.right :]]
        return tf.concat([images[:, : mix.top], tf.concat(middle, 2), images[:, mix.bottom :]], 1)

    mixed = tf.switch_case(tf.convert_to_tensor(mix.kind), [lambda: tf.identity(images), mixup, cutmix])
    off = smoothing / num_classes
    targets = tf.one_hot(labels, num_classes, 1 - smoothing + off, off)
    return tf.ensure_shape(mixed, images.shape), targets * own + tf.reverse(targets, [0]) * other


def mix(
    images: tf.Tensor,
    labels: tf.Tensor,
    key: tf.Tensor,
    config: MixingConfig,
    num_classes: int,
    smoothing: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch mixed as drawn from `key`: see `draw_mix` and `apply_mix`.

    Example:
        >>> from zoo.datasets.augmentation.mixing import mix
        >>> from zoo.datasets.augmentation_config import MixingConfig
        >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.arange(4)
        >>> images, labels = mix(images, labels, (0, 1), MixingConfig(mixup_alpha=0.2), num_classes=10)
        >>> images.shape == (4, 8, 8, 3), labels.shape == (4, 10)
        (True, True)
    """
    height, width = images.shape[1:3]
    return apply_mix(images, labels, draw_mix(key, height, width, config), num_classes, smoothing)
