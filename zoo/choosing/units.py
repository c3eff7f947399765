"""Amounts with their units, as `zoo choose` takes them: strictly, for 5m is not 5M and 10 is no time."""

from __future__ import annotations

import re

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
COUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
LARGEST = 1e15


def seconds(text: str) -> float:
    """A time with its unit, in seconds. Raises ValueError, with what is allowed and the nearest valid, for another.

    Example:
        >>> from zoo.choosing.units import seconds
        >>> seconds("10ms"), seconds("0.01s")
        (0.01, 0.01)
        >>> seconds("10")
        Traceback (most recent call last):
            ...
        ValueError: '10' is no time: give a number and us, ms or s, as in 10ms or 0.01s; the nearest is 10ms.
    """
    match = re.fullmatch(NUMBER + "(us|ms|s)", text)
    value = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if 0 < value <= LARGEST:
        return value
    raise ValueError(
        f"{text!r} is no time: give a number and us, ms or s, as in 10ms or 0.01s; the nearest is "
        f"{_nearest(text, tuple(SECONDS), 'ms', '10ms')}."
    )


def count(text: str) -> int:
    """A number of weights or operations, whole. Raises ValueError, with what is allowed and the nearest valid.

    Example:
        >>> from zoo.choosing.units import count
        >>> count("5M"), count("5e6"), count("2.5k")
        (5000000, 5000000, 2500)
        >>> count("5m")
        Traceback (most recent call last):
            ...
        ValueError: '5m' is no number: give a whole one, or one with k, M or G, as in 5M or 5e6; the nearest is 5M.
    """
    match = re.fullmatch(NUMBER + "(k|M|G|)", text)
    value = float(match[1]) * COUNTS[match[2]] if match else 0.0
    if 0 < value <= LARGEST and abs(value - round(value)) < 1e-6 * value:
        return round(value)
    raise ValueError(
        f"{text!r} is no number: give a whole one, or one with k, M or G, as in 5M or 5e6; the nearest is "
        f"{_nearest(text, ('k', 'M', 'G'), 'M' if '.' in text else '', '5M')}."
    )


def percent(text: str) -> float:
    """An accuracy in percent. Raises ValueError, with what is allowed and the nearest valid, for another.

    Example:
        >>> from zoo.choosing.units import percent
        >>> percent("72"), percent("72.5%")
        (72.0, 72.5)
        >>> percent("0.72")
        Traceback (most recent call last):
            ...
        ValueError: '0.72' is no accuracy: give percent, at least 1 and below 100, as in 72; the nearest is 72.
    """
    match = re.fullmatch(NUMBER + "%?", text)
    value = float(match[1]) if match else 0.0
    if match and 1 <= value < 100:
        return value
    nearest = f"{100 * value:g}" if 0.01 <= value < 1 else "1" if value < 1 else "99.9"
    raise ValueError(
        f"{text!r} is no accuracy: give percent, at least 1 and below 100, as in 72; the nearest is "
        f"{nearest if match else '72'}."
    )


def megabytes(text: str) -> float:
    """A size in MB (10^6 bytes). Raises ValueError, with what is allowed and the nearest valid, for another.

    Example:
        >>> from zoo.choosing.units import megabytes
        >>> megabytes("20")
        20.0
        >>> megabytes("20MB")
        Traceback (most recent call last):
            ...
        ValueError: '20MB' is no size: give MB (10^6 bytes) as a number above 0, as in 20; the nearest is 20.
    """
    match = re.fullmatch(NUMBER, text)
    value = float(match[1]) if match else 0.0
    if 0 < value <= LARGEST:
        return value
    begins = re.match(NUMBER, text)
    nearest = begins[1] if begins and float(begins[1]) > 0 else "20"
    raise ValueError(
        f"{text!r} is no size: give MB (10^6 bytes) as a number above 0, as in 20; the nearest is {nearest}."
    )


def _nearest(text: str, units: tuple[str, ...], usual: str, example: str) -> str:
    """The number that `text` begins with, and the unit that it may mean; `example` where it begins with none."""
    plain = re.sub(r"(?<=\d),(?=\d{3}(\D|$))", "", text.strip())  # 5,000,000
    match = re.match(NUMBER + r"\s*([^\W\d_]*)", re.sub(r"(?<=\d),(?=\d)", ".", plain))  # 1,5ms
    if match is None or not 0 < float(match[1]) <= LARGEST:
        return example
    unit = next((each for each in units if each.lower() == match[2].lower()), usual)
    number = match[1]
    if unit == "" and float(number) != round(float(number)):
        number = str(max(1, round(float(number))))
    proposal = f"{number}{unit}"
    return proposal if proposal != text else example
