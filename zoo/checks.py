"""What family configurations check and round alike; pure Python, so that it runs before TensorFlow is imported.

OmegaConf's structured configs know types, which `zoo.training.settings` leaves to them, and no ranges or choices; and a
network that is described in Python passes through none.
"""

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any


def round_channels(channels: float, divisor: int = 8, floor: float = 0.9) -> int:
    """The multiple of `divisor` nearest to `channels`, at least one, and never below `floor` of it.

    Source: Sandler et al. 2018, MobileNetV2: the rounding of its published networks.

    Example:
        >>> from zoo.checks import round_channels
        >>> round_channels(32 * 0.75), round_channels(36), round_channels(10)  # 8 would be below 0.9 of 10
        (24, 40, 16)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < floor * channels else rounded


def check_choice(name: str, value: float, allowed: Iterable[float], what: str) -> None:
    """Raise ValueError unless `value` is one of `allowed`; `what` has that argument.

    Example:
        >>> from zoo.checks import check_choice
        >>> check_choice("depth", 100, (26, 50, 101), "ResNeXt")
        Traceback (most recent call last):
            ...
        ValueError: depth=100 is not allowed for ResNeXt: use 26, 50, 101; the nearest is 101.
    """
    allowed = sorted(allowed)
    if value not in allowed:
        listed = ", ".join(f"{choice:g}" for choice in allowed)
        nearest = min(allowed, key=lambda choice: abs(choice - value))
        raise ValueError(f"{name}={value:g} is not allowed for {what}: use {listed}; the nearest is {nearest:g}.")


def check_name(name: str, value: str, allowed: Iterable[str], what: str) -> None:
    """Raise ValueError unless `value` is one of the names `allowed`; `what` has that argument.

    Example:
        >>> from zoo.checks import check_name
        >>> check_name("size", "lareg", ("small", "large"), "MobileNet v3")
        Traceback (most recent call last):
            ...
        ValueError: size='lareg' is not allowed for MobileNet v3: did you mean large?
    """
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed for {what}: {close_matches(value, allowed)}")


def check_positive(name: str, value: float, what: str) -> None:
    """Raise ValueError unless `value` is above 0 and finite.

    Example:
        >>> from zoo.checks import check_positive
        >>> check_positive("width", -0.5, "MnasNet")
        Traceback (most recent call last):
            ...
        ValueError: width=-0.5 is not allowed for MnasNet: it must be above 0, 1 for instance.
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value:g} is not allowed for {what}: it must be above 0, 1 for instance.")


def check_share(name: str, value: float, what: str) -> None:
    """Raise ValueError unless `value` is at least 0 and below 1, as a rate of dropping is.

    Example:
        >>> from zoo.checks import check_share
        >>> check_share("drop_path", 1.0, "ConvNeXt")
        Traceback (most recent call last):
            ...
        ValueError: drop_path=1.0 is not allowed for ConvNeXt: it is a share, from 0 up to but not 1.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} is not allowed for {what}: it is a share, from 0 up to but not 1.")


def check_groups(groups: int, widths: Iterable[int], convolutions: str, more: str = "") -> None:
    """Raise ValueError unless `groups` divides every one of `widths`, the channels of the `convolutions`.

    Example:
        >>> from zoo.checks import check_groups
        >>> check_groups(5, (8, 12), "1x1 convolution")
        Traceback (most recent call last):
            ...
        ValueError: groups=5 does not divide the channels of every 1x1 convolution: use 1, 2, 4; the nearest is 4.
    """
    common = math.gcd(*widths)
    allowed = [divisor for divisor in range(1, common + 1) if common % divisor == 0]
    if groups not in allowed:
        nearest = min(allowed, key=lambda choice: abs(choice - groups))
        raise ValueError(
            f"groups={groups} does not divide the channels of every {convolutions}: "
            f"use {', '.join(map(str, allowed))}{more}; the nearest is {nearest}."
        )


def check_spatial_groups(groups: int | None, widths: Iterable[int], what: str) -> None:
    """Raise ValueError unless `groups` divides the channels of every spatial convolution; None is depthwise.

    Example:
        >>> from zoo.checks import check_spatial_groups
        >>> check_spatial_groups(None, (24, 40), "LCNet")  # depthwise
        >>> check_spatial_groups(8, (24, 40), "LCNet")
    """
    if groups is not None:
        check_groups(groups, widths, f"spatial convolution of {what}", ", or null for depthwise")


def grouped_name(name: str, groups: int | None, published: int | None = None) -> str:
    """`name`, of a published network, which it keeps with the `published` groups alone: else "mnasnet_050_g4".

    Example:
        >>> from zoo.checks import grouped_name
        >>> grouped_name("alexnet", 2, published=2), grouped_name("alexnet", 4, published=2)
        ('alexnet', 'alexnet_g4')
    """
    return name if groups == published else f"{name}_g{groups}"


def ungrouped_name(name: str) -> str:
    """What `grouped_name` made `name` from.

    Example:
        >>> from zoo.checks import ungrouped_name
        >>> ungrouped_name("mnasnet_050_g4"), ungrouped_name("shufflenet_g4_w1")
        ('mnasnet_050', 'shufflenet_g4_w1')
    """
    return re.sub(r"_g[0-9]+$", "", name)


def regrouped(name: str, groups: int, variants: Mapping[str, Any]) -> str:
    """The name of a network, one of `variants` as a rule, with so many groups.

    Example:
        >>> from zoo.checks import regrouped
        >>> from zoo.models.dpn import VARIANTS
        >>> regrouped("dpn68", 16, VARIANTS), regrouped("dpn68_g16", 32, VARIANTS)
        ('dpn68_g16', 'dpn68')
    """
    name = ungrouped_name(name)
    return grouped_name(name, groups, variants[name].groups if name in variants else None)


def width_name(width: float) -> str:
    """A width multiplier as pytorchcv names it.

    Example:
        >>> from zoo.checks import width_name
        >>> width_name(1), width_name(0.75), width_name(0.5), width_name(1.5)
        ('w1', 'w3d4', 'wd2', 'w3d2')
    """
    ratio = Fraction(width).limit_denominator(64)
    if ratio.denominator == 1:
        return f"w{ratio.numerator}"
    return f"w{'' if ratio.numerator == 1 else ratio.numerator}d{ratio.denominator}"


def close_matches(name: str, known: Iterable[str]) -> str:
    """The known names nearest to `name`, as the end of an error's sentence.

    Example:
        >>> from zoo.checks import close_matches
        >>> close_matches("resnext50", ("resnet50", "resnext50_32x4d", "lcnet_100"))
        'did you mean resnext50_32x4d, resnet50, lcnet_100?'
    """
    known, name = list(known), str(name)
    begun = [each for each in known if len(name) > 3 and each.startswith(name)]  # "resnext50" of "resnext50_32x4d"
    close = list(dict.fromkeys([*begun, *get_close_matches(name, known, n=3, cutoff=0.4)]))[:3]
    return f"did you mean {', '.join(close)}?" if close else f"known are {', '.join(known)}."
