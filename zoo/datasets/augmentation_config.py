"""How training images are augmented: the nested keys of a data set's configuration. Imports no TensorFlow."""

import math
from dataclasses import dataclass, field
from typing import Any

from zoo.checks import close_matches

POLICIES = ("randaugment", "autoaugment", "trivialaugment")
POLICY_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "random")
ERASING_MODES = ("const", "rand", "pixel")
MOST = 16  # operations, boxes and repeats of an image
LARGEST_ALPHA = 1000.0  # at which every share of MixUp is about a half


@dataclass
class RandAugmentConfig:
    """`policy: randaugment`, with timm's operations and levels: `rand-m7-n2-p0.5-mstd0.5-inc1` is magnitude 7,
    operations 2, probability 0.5, magnitude_std 0.5, increasing.

    Source: Cubuk et al. 2019, arXiv:1909.13719; timm's `auto_augment.py`.

    Example:
        >>> from zoo.datasets.augmentation_config import RandAugmentConfig
        >>> RandAugmentConfig(magnitude=7.0).operations
        2
    """

    operations: int = 2  # drawn for each image, one after the other
    magnitude: float = 9.0  # 0 to 10
    magnitude_std: float | None = 0.5  # of each operation's own magnitude; None: uniform from 0 to magnitude
    probability: float = 0.5  # with which a drawn operation is applied
    increasing: bool = True  # every operation is stronger at a higher magnitude


@dataclass
class ColorJitterConfig:
    """Factors drawn from 1 - value to 1 + value (hue: from -value to value of a turn), in random order.

    Source: torchvision's `ColorJitter`.

    Example:
        >>> from zoo.datasets.augmentation_config import ColorJitterConfig
        >>> ColorJitterConfig(brightness=0.4).is_on, ColorJitterConfig().is_on
        (True, False)
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # at most 0.5
    probability: float = 1.0  # of an image

    @property
    def is_on(self) -> bool:
        return self.probability > 0 and any((self.brightness, self.contrast, self.saturation, self.hue))


@dataclass
class RandomErasingConfig:
    """Boxes of the normalised image that are replaced.

    Source: Zhong et al. 2017, arXiv:1708.04896; timm's `RandomErasing`.

    Example:
        >>> from zoo.datasets.augmentation_config import RandomErasingConfig
        >>> RandomErasingConfig(probability=0.25).mode
        'pixel'
    """

    probability: float = 0.0  # of an image
    mode: str = "pixel"  # "const": 0, the mean; "rand": one normal colour; "pixel": normal noise
    count: int = 1  # boxes of an image at most; their number is drawn, and they share the area
    area: list[float] = field(default_factory=lambda: [0.02, 0.33333333])  # share of the image: lowest, highest
    aspect: list[float] = field(default_factory=lambda: [0.3, 3.3333333])  # height / width: lowest, highest


@dataclass
class MixingConfig:
    """MixUp and CutMix of a batch with itself in reverse order, its labels mixed alike.

    Source: Zhang et al. 2017, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; timm's `Mixup`, mode "batch".

    Example:
        >>> from zoo.datasets.augmentation_config import MixingConfig
        >>> MixingConfig(mixup_alpha=0.1, cutmix_alpha=1.0).is_on
        True
    """

    mixup_alpha: float = 0.0  # of the Beta distribution of MixUp's share; 0: no MixUp
    cutmix_alpha: float = 0.0  # of CutMix's area; 0: no CutMix
    probability: float = 1.0  # of a batch
    switch_probability: float = 0.5  # of CutMix, where both are on

    @property
    def is_on(self) -> bool:
        return self.probability > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


def check_augmentation(config: Any) -> None:
    """Raise ValueError, in one sentence, for the first invalid value of these keys of a `DatasetConfig`.

    Example:
        >>> from zoo.datasets.augmentation_config import check_augmentation
        >>> from zoo.datasets.config import DatasetConfig
        >>> check_augmentation(DatasetConfig(policy="randaugmnet"))
        Traceback (most recent call last):
            ...
        ValueError: dataset.policy='randaugmnet' is not known: did you mean randaugment, trivialaugment, autoaugment?
    """
    _one_of("policy", config.policy, POLICIES)
    _one_of("policy_interpolation", config.policy_interpolation, POLICY_INTERPOLATIONS)
    _one_of("random_erasing.mode", config.random_erasing.mode, ERASING_MODES, optional=False)
    _count("repeats", config.repeats)
    _count("randaugment.operations", config.randaugment.operations)
    _count("random_erasing.count", config.random_erasing.count)
    for name in ("randaugment", "color_jitter", "random_erasing", "mixing"):
        _within(f"{name}.probability", getattr(config, name).probability, 0, 1)
    _within("mixing.switch_probability", config.mixing.switch_probability, 0, 1)
    _within("randaugment.magnitude", config.randaugment.magnitude, 0, 10)
    if config.randaugment.magnitude_std is not None:
        _within("randaugment.magnitude_std", config.randaugment.magnitude_std, 0, 10)
    for key, most in (("brightness", 10), ("contrast", 10), ("saturation", 10), ("hue", 0.5)):
        _within(f"color_jitter.{key}", getattr(config.color_jitter, key), 0, most)
    for key in ("mixup_alpha", "cutmix_alpha"):
        _within(f"mixing.{key}", getattr(config.mixing, key), 0, LARGEST_ALPHA)
    _pair("random_erasing.area", config.random_erasing.area, 1.0)
    _pair("random_erasing.aspect", config.random_erasing.aspect, math.inf)


def _one_of(key: str, value: Any, allowed: tuple[str, ...], optional: bool = True) -> None:
    if value not in allowed and not (optional and value is None):
        raise ValueError(f"dataset.{key}={value!r} is not known: {close_matches(str(value), allowed)}")


def _count(key: str, value: int) -> None:
    if not 1 <= value <= MOST:
        nearest = 1 if value < 1 else MOST
        raise ValueError(
            f"dataset.{key}={value} is not allowed: it must be from 1 to {MOST}; the nearest is {nearest}."
        )


def _within(key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN neither
        nearest = most if value > most else least
        raise ValueError(
            f"dataset.{key}={value:g} is not allowed: it must be from {least:g} to {most:g}; the nearest is "
            f"{nearest:g}."
        )


def _pair(key: str, value: Any, highest: float) -> None:
    pair = list(value)
    if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= highest or not math.isfinite(pair[1]):
        limit = "" if math.isinf(highest) else f" <= {highest:g}"
        raise ValueError(f"dataset.{key}={pair} is not allowed: it must be two numbers, 0 < lowest <= highest{limit}.")
