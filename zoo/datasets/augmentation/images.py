"""All that is done to one training image between its crop and its batch."""

from __future__ import annotations

import tensorflow as tf

from zoo.datasets.augmentation import color, geometry, policies
from zoo.datasets.augmentation_config import ColorJitterConfig
from zoo.datasets.config import DatasetConfig


def is_on(config: DatasetConfig) -> bool:
    """Whether there is anything to do but to shift and flip, which whole batches can be too.

    Example:
        >>> from zoo.datasets.augmentation.images import is_on
        >>> from zoo.datasets.config import DatasetConfig
        >>> is_on(DatasetConfig(flip=True)), is_on(DatasetConfig(policy="randaugment"))
        (False, True)
    """
    return config.policy is not None or config.color_jitter.is_on


def apply(image: tf.Tensor, key: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """uint8 (S, S, C) of such an image: shifted, flipped, then by the policy, then its colours, as `config` says.

    Args:
        key: integers (2,), those of the image alone: they decide all that is drawn.

    Example:
        >>> from zoo.datasets.augmentation.images import apply
        >>> from zoo.datasets.config import DatasetConfig
        >>> apply(np.zeros((8, 8, 1), "uint8"), (0, 1), DatasetConfig(policy="trivialaugment")).shape == (8, 8, 1)
        True
    """
    image = tf.convert_to_tensor(image)
    of_place, of_policy, of_colors = tf.unstack(tf.random.split(key, 3))
    padding = config.crop_padding
    if padding or config.flip:
        right, down, coin = tf.unstack(tf.random.stateless_uniform((3,), of_place))
        if padding:
            right, down = (tf.cast(tf.floor(each * (2 * padding + 1)), tf.int32) - padding for each in (right, down))
            image = geometry.shift(image, right, down, padding)
        if config.flip:
            image = tf.cond(coin < 0.5, lambda: geometry.flip(image), lambda: tf.identity(image))
    if config.policy:
        image = _policy(image, of_policy, config)
    if config.color_jitter.is_on:
        image = jitter(image, of_colors, config.color_jitter)
    return image


def _policy(image: tf.Tensor, key: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    if config.policy == "trivialaugment":
        return policies.trivialaugment(image, key, config.policy_interpolation or "nearest", [0])
    interpolation = config.policy_interpolation or "random"
    fill = [round(255 * min(max(value, 0), 1)) for value in config.mean]
    if config.policy == "autoaugment":
        return policies.autoaugment(image, key, interpolation, fill)
    return policies.randaugment(image, key, config.randaugment, interpolation, fill)


def jitter(image: tf.Tensor, key: tf.Tensor, config: ColorJitterConfig) -> tf.Tensor:
    """Brightness, contrast, saturation and hue changed by drawn factors in drawn order, as torchvision's `ColorJitter`.

    Example:
        >>> from zoo.datasets.augmentation.images import jitter
        >>> from zoo.datasets.augmentation_config import ColorJitterConfig
        >>> jitter(np.zeros((4, 4, 3), "uint8"), (0, 1), ColorJitterConfig(contrast=0.4)).shape == (4, 4, 3)
        True
    """
    image = tf.convert_to_tensor(image)
    pairs = (
        (color.brightness, config.brightness, 1.0),
        (color.contrast, config.contrast, 1.0),
        (color.color, config.saturation, 1.0),
        (color.hue, config.hue, 0.0),
    )
    active = [(function, value, centre) for function, value, centre in pairs if value]
    keys = tf.random.split(key, 2)
    draws = tf.random.stateless_uniform((1 + len(active),), keys[0], dtype=tf.float64)
    order = tf.random.experimental.stateless_shuffle(tf.range(len(active)), keys[1])

    @tf.function(autograph=False)
    def one(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        def branch(index: int) -> tf.Tensor:
            function, value, centre = active[index]
            low, high = max(centre - value, 0.0) if centre else -value, centre + value
            return function(image, low + (high - low) * draws[1 + index])

        return tf.switch_case(number, [lambda index=index: branch(index) for index in range(len(active))])

    def jittered() -> tf.Tensor:
        changed = image
        for step in range(len(active)):
            changed = tf.ensure_shape(one(changed, order[step]), image.shape)
        return changed

    if config.probability >= 1:
        return jittered()
    return tf.cond(draws[0] < config.probability, jittered, lambda: tf.identity(image))
