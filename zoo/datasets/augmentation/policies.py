"""RandAugment and AutoAugment as timm has them, TrivialAugment as torchvision has it, for one image, uint8 (H, W, C).

Sources: Cubuk et al. 2019, RandAugment, arXiv:1909.13719; Cubuk et al. 2018, AutoAugment, arXiv:1805.09501; Müller and
Hutter 2021, TrivialAugment, arXiv:2103.10158; timm's `data/auto_augment.py`, torchvision's `transforms/autoaugment.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.datasets.augmentation import color, geometry
from zoo.datasets.augmentation_config import RandAugmentConfig

Argument = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of a level, 0 to 10, and a sign, 1 or -1; both float64 ()


class Operation(NamedTuple):
    """`function(image, argument)`; of those that move pixels `function(image, argument, interpolation, fill)`.

    Example:
        >>> from zoo.datasets.augmentation.policies import TIMM
        >>> TIMM["Rotate"].moves, TIMM["Invert"].argument
        (True, None)
    """

    function: Callable[..., tf.Tensor]
    argument: Argument | None = None
    moves: bool = False


class Step(NamedTuple):
    """One drawn operation: its number (that of no operation: their count), level, sign, and bicubic or bilinear.

    Example:
        >>> from zoo.datasets.augmentation.policies import Step
        >>> Step(number=3, level=7.0, sign=-1.0, is_cubic=False).level
        7.0
    """

    number: tf.Tensor
    level: tf.Tensor
    sign: tf.Tensor
    is_cubic: tf.Tensor


def _share(level: tf.Tensor, most: float) -> tf.Tensor:
    return level / 10 * most


def _whole(level: tf.Tensor, most: int) -> tf.Tensor:
    return tf.cast(level / 10 * most, tf.int32)


def _signed(most: float) -> Argument:
    return lambda level, sign: _share(level, most) * sign


def _factor(level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _share(level, 1.8) + 0.1


def _increasing_factor(level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1 + _share(level, 0.9) * sign, 0.1)


def _relative(translate: Callable[..., tf.Tensor], axis: int) -> Callable[..., tf.Tensor]:
    def moved(image: tf.Tensor, share: tf.Tensor, *arguments: Any) -> tf.Tensor:
        return translate(image, share * image.shape[axis], *arguments)

    return moved


_ALWAYS = {  # whose level means the same in every list of timm's
    "AutoContrast": Operation(color.auto_contrast),
    "Equalize": Operation(color.equalize),
    "Invert": Operation(color.invert),
    "Rotate": Operation(geometry.rotate, _signed(30), True),
    "SolarizeAdd": Operation(color.solarize_add, lambda level, sign: _whole(level, 110)),
    "ShearX": Operation(geometry.shear_x, _signed(0.3), True),
    "ShearY": Operation(geometry.shear_y, _signed(0.3), True),
    "TranslateXRel": Operation(_relative(geometry.translate_x, 1), _signed(0.45), True),
    "TranslateYRel": Operation(_relative(geometry.translate_y, 0), _signed(0.45), True),
}
_ENHANCE = {
    "Color": color.color,
    "Contrast": color.contrast,
    "Brightness": color.brightness,
    "Sharpness": color.sharpness,
}
TIMM: dict[str, Operation] = {
    **_ALWAYS,
    "Posterize": Operation(color.posterize, lambda level, sign: _whole(level, 4)),
    "PosterizeIncreasing": Operation(color.posterize, lambda level, sign: 4 - _whole(level, 4)),
    "PosterizeOriginal": Operation(color.posterize, lambda level, sign: 4 + _whole(level, 4)),
    "Solarize": Operation(color.solarize, lambda level, sign: _whole(level, 256)),
    "SolarizeIncreasing": Operation(color.solarize, lambda level, sign: 256 - _whole(level, 256)),
    **{name: Operation(function, _factor) for name, function in _ENHANCE.items()},
    **{f"{name}Increasing": Operation(function, _increasing_factor) for name, function in _ENHANCE.items()},
}
_DEPENDENT = ("Posterize", "Solarize", *_ENHANCE)  # of which there are increasing variants
RANDAUGMENT = (*_ALWAYS, *_DEPENDENT)
RANDAUGMENT_INCREASING = (*_ALWAYS, *(f"{name}Increasing" for name in _DEPENDENT))

# Pairs of (operation, probability, level): those that AutoAugment's search found for ImageNet, table 9 of the paper.
_P, _S, _E, _R, _A = "PosterizeOriginal", "Solarize", "Equalize", "Rotate", "AutoContrast"
AUTOAUGMENT = (
    ((_P, 0.4, 8), (_R, 0.6, 9)),
    ((_S, 0.6, 5), (_A, 0.6, 5)),
    ((_E, 0.8, 8), (_E, 0.6, 3)),
    ((_P, 0.6, 7), (_P, 0.6, 6)),
    ((_E, 0.4, 7), (_S, 0.2, 4)),
    ((_E, 0.4, 4), (_R, 0.8, 8)),
    ((_S, 0.6, 3), (_E, 0.6, 7)),
    ((_P, 0.8, 5), (_E, 1.0, 2)),
    ((_R, 0.2, 3), (_S, 0.6, 8)),
    ((_E, 0.6, 8), (_P, 0.4, 6)),
    ((_R, 0.8, 8), ("Color", 0.4, 0)),
    ((_R, 0.4, 9), (_E, 0.6, 2)),
    ((_E, 0.0, 7), (_E, 0.8, 8)),
    (("Invert", 0.6, 4), (_E, 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    ((_R, 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), (_S, 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), (_E, 1.0, 9)),
    (("Color", 0.4, 0), (_E, 0.6, 3)),
    ((_E, 0.4, 7), (_S, 0.2, 4)),
    ((_S, 0.6, 5), (_A, 0.6, 5)),
    (("Invert", 0.6, 4), (_E, 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    ((_E, 0.8, 8), (_E, 0.6, 3)),
)
AUTOAUGMENT_OPERATIONS = tuple(dict.fromkeys(name for pair in AUTOAUGMENT for name, _, _ in pair))

BINS = 31  # strengths of TrivialAugment


def _line(first: float, last: float) -> np.ndarray:
    """float32 (BINS,), as `torch.linspace` rounds them: counted from the nearer end."""
    places, step = np.arange(BINS, dtype=np.float32), np.float32(last - first) / np.float32(BINS - 1)
    from_first, from_last = np.float32(first) + step * places, np.float32(last) - step * places[::-1]
    return np.where(places < BINS // 2, from_first, from_last)


def _moved_back(translate: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """torchvision moves the image by whole pixels where timm's operations move what is read."""

    def moved(image: tf.Tensor, pixels: tf.Tensor, *arguments: Any) -> tf.Tensor:
        return translate(image, -tf.cast(tf.cast(pixels, tf.int32), tf.float64), *arguments)

    return moved


def _as_signed(magnitude: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return magnitude * sign


def _around_one(magnitude: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return 1 + magnitude * sign


def _unsigned(magnitude: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return magnitude


_NONE = np.zeros(BINS, np.float32)
TRIVIALAUGMENT: dict[str, tuple[Operation, np.ndarray]] = {
    "Identity": (Operation(tf.identity), _NONE),
    "ShearX": (Operation(geometry.shear_x, _as_signed, True), _line(0, 0.99)),
    "ShearY": (Operation(geometry.shear_y, _as_signed, True), _line(0, 0.99)),
    "TranslateX": (Operation(_moved_back(geometry.translate_x), _as_signed, True), _line(0, 32)),
    "TranslateY": (Operation(_moved_back(geometry.translate_y), _as_signed, True), _line(0, 32)),
    "Rotate": (Operation(geometry.rotate, _as_signed, True), _line(0, 135)),
    "Brightness": (Operation(color.brightness, _around_one), _line(0, 0.99)),
    "Color": (Operation(color.color, _around_one), _line(0, 0.99)),
    "Contrast": (Operation(color.contrast, _around_one), _line(0, 0.99)),
    "Sharpness": (Operation(color.sharpness, _around_one), _line(0, 0.99)),
    "Posterize": (Operation(color.posterize, _unsigned), 8 - np.round(np.arange(BINS) / 5)),
    "Solarize": (Operation(color.solarize, _unsigned), _line(255, 0)),
    "AutoContrast": (Operation(color.auto_contrast), _NONE),
    "Equalize": (Operation(color.equalize), _NONE),
}


def draw_randaugment(key: tf.Tensor, config: RandAugmentConfig) -> Step:
    """The operations of one image, each entry (`config.operations`,): drawn with replacement, each applied or not.

    Example:
        >>> from zoo.datasets.augmentation.policies import draw_randaugment
        >>> from zoo.datasets.augmentation_config import RandAugmentConfig
        >>> step = draw_randaugment((0, 1), RandAugmentConfig(operations=3, magnitude=7.0, magnitude_std=0.0))
        >>> step.level.numpy()
        array([7., 7., 7.])
    """
    keys = tf.random.split(key, 2)
    shape = (config.operations,)
    chosen, applied, sign, cubic, level = tf.unstack(tf.random.stateless_uniform((5, *shape), keys[0]))
    number = tf.cast(chosen * len(RANDAUGMENT), tf.int32)
    if config.magnitude_std is None:
        magnitude = config.magnitude * tf.cast(level, tf.float64)
    elif config.magnitude_std > 0:
        noise = tf.random.stateless_normal(shape, keys[1], dtype=tf.float64)
        magnitude = tf.clip_by_value(config.magnitude + config.magnitude_std * noise, 0, 10)
    else:
        magnitude = tf.fill(shape, tf.constant(config.magnitude, tf.float64))
    return Step(tf.where(applied < config.probability, number, len(RANDAUGMENT)), magnitude, _sign(sign), cubic < 0.5)


def draw_autoaugment(key: tf.Tensor) -> Step:
    """The two operations of one image, each entry (2,), of a pair that is drawn from `AUTOAUGMENT`.

    Example:
        >>> from zoo.datasets.augmentation.policies import draw_autoaugment
        >>> draw_autoaugment((0, 1)).level.shape == (2,)
        True
    """
    none = len(AUTOAUGMENT_OPERATIONS)
    table = [[(AUTOAUGMENT_OPERATIONS.index(name), *rest) for name, *rest in pair] for pair in AUTOAUGMENT]
    pair, applied, sign, cubic = tf.unstack(tf.random.stateless_uniform((4, 2), key))
    row = tf.gather(tf.constant(table, tf.float64), tf.cast(pair[0] * len(AUTOAUGMENT), tf.int32))
    number, probability, level = tf.unstack(row, axis=1)
    is_applied = tf.cast(applied, tf.float64) < probability
    return Step(tf.where(is_applied, tf.cast(number, tf.int32), none), level, _sign(sign), cubic < 0.5)


def draw_trivialaugment(key: tf.Tensor) -> Step:
    """The one operation of one image, each entry (1,), and one of its 31 strengths.

    Example:
        >>> from zoo.datasets.augmentation.policies import draw_trivialaugment
        >>> draw_trivialaugment((0, 1)).number.shape == (1,)
        True
    """
    strengths = tf.constant(np.stack([each for _, each in TRIVIALAUGMENT.values()]), tf.float64)
    chosen, strength, sign, cubic = tf.unstack(tf.random.stateless_uniform((4, 1), key))
    number, place = tf.cast(chosen * len(TRIVIALAUGMENT), tf.int32), tf.cast(strength * BINS, tf.int32)
    level = tf.gather_nd(strengths, tf.stack([number, place], 1))
    return Step(number, level, _sign(sign), cubic < 0.5)


def _sign(draw: tf.Tensor) -> tf.Tensor:
    return tf.where(draw < 0.5, tf.constant(1, tf.float64), tf.constant(-1, tf.float64))


def randaugment(
    image: tf.Tensor, key: tf.Tensor, config: RandAugmentConfig, interpolation: str, fill: Sequence[int]
) -> tf.Tensor:
    """The image after `config.operations` drawn operations.

    Args:
        interpolation: one of `geometry.INTERPOLATIONS`, or "random": bilinear or bicubic, drawn for each operation.
        fill: one level a channel, of what lies outside of the image.

    Example:
        >>> from zoo.datasets.augmentation.policies import randaugment
        >>> from zoo.datasets.augmentation_config import RandAugmentConfig
        >>> image = np.zeros((8, 8, 3), "uint8")
        >>> randaugment(image, (0, 1), RandAugmentConfig(), "random", [124, 116, 104]).shape == image.shape
        True
    """
    names = RANDAUGMENT_INCREASING if config.increasing else RANDAUGMENT
    return _run(image, [TIMM[name] for name in names], draw_randaugment(key, config), interpolation, fill)


def autoaugment(image: tf.Tensor, key: tf.Tensor, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """The image after a pair of operations of AutoAugment's ImageNet policy; arguments as of `randaugment`.

    Example:
        >>> from zoo.datasets.augmentation.policies import autoaugment
        >>> autoaugment(np.zeros((8, 8, 3), "uint8"), (0, 1), "nearest", [0, 0, 0]).shape == (8, 8, 3)
        True
    """
    operations = [TIMM[name] for name in AUTOAUGMENT_OPERATIONS]
    return _run(image, operations, draw_autoaugment(key), interpolation, fill)


def trivialaugment(image: tf.Tensor, key: tf.Tensor, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """The image after one operation of TrivialAugment's wide set; arguments as of `randaugment`.

    Example:
        >>> from zoo.datasets.augmentation.policies import trivialaugment
        >>> trivialaugment(np.zeros((8, 8, 3), "uint8"), (0, 1), "nearest", [0, 0, 0]).shape == (8, 8, 3)
        True
    """
    operations = [operation for operation, _ in TRIVIALAUGMENT.values()]
    return _run(image, operations, draw_trivialaugment(key), interpolation, fill)


def apply_operation(
    image: tf.Tensor,
    operation: Operation,
    level: tf.Tensor,
    sign: tf.Tensor,
    interpolation: str,
    fill: Sequence[int],
) -> tf.Tensor:
    """One operation at one level (float64 ()) and sign (float64 ()).

    Example:
        >>> from zoo.datasets.augmentation.policies import TIMM, apply_operation
        >>> image = np.full((1, 1, 1), 255, "uint8")
        >>> apply_operation(image, TIMM["Invert"], 0.0, 1.0, "nearest", [0]).numpy().item()
        0
    """
    arguments = [] if operation.argument is None else [operation.argument(level, sign)]
    return operation.function(image, *arguments, *((interpolation, fill) if operation.moves else ()))


def _run(
    image: tf.Tensor, operations: Sequence[Operation], steps: Step, interpolation: str, fill: Sequence[int]
) -> tf.Tensor:
    """The image after all `steps`; of the operations only those that are drawn are computed."""

    @tf.function(autograph=False)  # traced once, however many steps there are
    def one(image: tf.Tensor, number: tf.Tensor, level: tf.Tensor, sign: tf.Tensor, is_cubic: tf.Tensor) -> tf.Tensor:
        def branch(operation: Operation) -> tf.Tensor:
            applied = partial(apply_operation, image, operation, level, sign, fill=fill)
            if not operation.moves or interpolation != "random":
                return applied(interpolation=interpolation)
            return tf.cond(
                is_cubic, lambda: applied(interpolation="bicubic"), lambda: applied(interpolation="bilinear")
            )

        branches = [partial(branch, operation) for operation in operations]
        return tf.ensure_shape(tf.switch_case(number, [*branches, lambda: tf.identity(image)]), image.shape)

    image = tf.convert_to_tensor(image)
    for step in range(steps.number.shape[0]):
        image = one(image, *(each[step] for each in steps))
    return image
