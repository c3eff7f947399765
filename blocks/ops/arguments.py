"""Checks of layer arguments, and the sentences that their errors are written in."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from blocks.typing import Shape

AXES = {1: "(length,)", 2: "(height, width)", 3: "(depth, height, width)"}
SIDES = {
    1: "((before, after),)",
    2: "((top, bottom), (left, right))",
    3: "((front, back), (top, bottom), (left, right))",
}
UNITS = {1: "steps", 2: "pixels", 3: "voxels"}
MANY = 12  # sizes of groups; an error does not list more of them


def divisors(number: int) -> list[int]:
    """All positive divisors of `number`, ascending.

    Example:
        >>> from blocks.ops.arguments import divisors
        >>> divisors(12)
        [1, 2, 3, 4, 6, 12]
    """
    return [d for d in range(1, number + 1) if number % d == 0]


def nearest(value: int, allowed: Sequence[int]) -> list[int]:
    """The allowed values next to `value`: the largest below it and the smallest above it.

    Example:
        >>> from blocks.ops.arguments import nearest
        >>> nearest(5, [1, 2, 4, 8]), nearest(9, [1, 2, 4, 8])
        ([4, 8], [8])
    """
    below = [a for a in allowed if a < value]
    above = [a for a in allowed if a > value]
    return ([max(below)] if below else []) + ([min(above)] if above else [])


def did_you_mean(value: object, allowed: Sequence[str]) -> str:
    """The end of an error about a misspelt name: a sentence with the nearest of `allowed`, or nothing.

    Example:
        >>> from blocks.ops.arguments import did_you_mean
        >>> did_you_mean("Sane", ("same", "valid"))
        ' Did you mean "same"?'
    """
    close = get_close_matches(str(value).lower(), allowed, n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def split_evenly(channels: int, groups: int) -> tuple[int, ...]:
    """`channels` in `groups` sizes that differ by one at most, the larger ones first.

    Example:
        >>> from blocks.ops.arguments import split_evenly
        >>> split_evenly(67, 4)
        (17, 17, 17, 16)
    """
    size, rest = divmod(channels, groups)
    return (size + 1,) * rest + (size,) * (groups - rest)


def sizes_text(channels: int, groups: int) -> str:
    """What to type for `channels` in `groups` sizes: the sizes, or the call that computes them if they are many.

    Example:
        >>> from blocks.ops.arguments import sizes_text
        >>> sizes_text(10, 3), sizes_text(100, 30)
        ('(4, 3, 3)', 'split_channels(100, 30)')
    """
    return f"split_channels({channels}, {groups})" if groups > MANY else str(split_evenly(channels, groups))


def check_groups(groups: int, channels: int, what: str, uneven: str | None = None, name: str = "groups") -> None:
    """Raise ValueError unless `groups` divides `channels`; `what` says which channels they are.

    `uneven` names the argument that takes one size for each group, where there is one: the error shows how. `name` is
    that of the argument `groups` comes from.

    Example:
        >>> from blocks.ops.arguments import check_groups
        >>> check_groups(24, 64, "filters")
        Traceback (most recent call last):
            ...
        ValueError: groups=24 does not divide 64 filters; the divisors nearest to 24 are 16 and 32.
    """
    groups = positive(groups, name)
    if channels % groups:
        near = nearest(groups, divisors(channels))
        nearest_divisors = (
            f"divisors nearest to {groups} are {near[0]} and {near[1]}"
            if len(near) == 2
            else f"divisor nearest to {groups} is {near[0]}"
        )
        advice = ""
        if uneven and groups < channels:
            what_to_pass = "their sizes" if uneven == "groups" else f"the {uneven} of each"
            advice = f" For uneven groups pass {what_to_pass}, e.g. {uneven}={sizes_text(channels, groups)}."
        raise ValueError(f"{name}={groups} does not divide {channels} {what}; the {nearest_divisors}.{advice}")


def known_channels(shape: Shape, axis: int, layer: str) -> int:
    """Channels of inputs of `shape`, batch axis first; raises ValueError where their number is unknown.

    Example:
        >>> from blocks.ops.arguments import known_channels
        >>> known_channels((None, 32, 32, 16), axis=-1, layer="conv")
        16
    """
    channels = shape[axis]
    if channels is None:
        raise ValueError(f"The number of input channels must be known to build {layer}; got {tuple(shape)}.")
    return channels


def shapes_agree(shape: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes are the same wherever both are known.

    Example:
        >>> from blocks.ops.arguments import shapes_agree
        >>> shapes_agree((None, 8, 8, 16), (2, 8, None, 16)), shapes_agree((2, 8, 8, 16), (2, 8, 8, 1))
        (True, False)
    """
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(a == b for a, b in pairs if None not in (a, b))


def tensors_of(tensors: Any) -> list[Any]:
    """Several tensors, or one, in a list.

    Example:
        >>> from blocks.ops.arguments import tensors_of
        >>> len(tensors_of(np.zeros((2, 3)))), len(tensors_of((np.zeros(2), np.zeros(3))))
        (1, 2)
    """
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def shapes_of(shape: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The shapes of several inputs, or of one in a list.

    Example:
        >>> from blocks.ops.arguments import shapes_of
        >>> shapes_of((None, 8, 8, 3)), shapes_of([(None, 8), (None, 4)])
        ([(None, 8, 8, 3)], [(None, 8), (None, 4)])
    """
    several = bool(shape) and isinstance(shape[0], (list, tuple))
    return list(map(tuple, shape)) if several else [tuple(shape)]


def check_residual(outputs: Sequence[int | None], residual: Sequence[int | None]) -> None:
    """Raise ValueError unless the shapes agree where they are known: an addition would repeat the smaller one.

    Example:
        >>> from blocks.ops.arguments import check_residual
        >>> check_residual((2, 8, 8, 16), (2, 8, 8, 1))
        Traceback (most recent call last):
            ...
        ValueError: A residual of shape (2, 8, 8, 1) cannot be added to outputs of (2, 8, 8, 16): both must be equal.
    """
    if not shapes_agree(outputs, residual):
        raise ValueError(
            f"A residual of shape {tuple(residual)} cannot be added to outputs of {tuple(outputs)}: both must be equal."
        )


def positive(value: object, name: str) -> int:
    """`value` as an int >= 1; raises ValueError otherwise.

    Example:
        >>> from blocks.ops.arguments import positive
        >>> positive(np.int64(3), "filters")
        3
        >>> positive(2.5, "filters")
        Traceback (most recent call last):
            ...
        ValueError: filters=2.5 is not allowed: it must be an integer of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"{name}={value!r} is not allowed: it must be an integer of at least 1.")
    return value.__index__()


def per_axis(value: object, name: str, rank: int = 2) -> tuple[int, ...]:
    """`value`, an integer or one for each of `rank` axes, as that many ints >= 1; raises ValueError otherwise.

    Example:
        >>> from blocks.ops.arguments import per_axis
        >>> per_axis(3, "strides"), per_axis((1, 2, 2), "strides", rank=3)
        ((3, 3), (1, 2, 2))
    """
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            raise ValueError(f"{name}={value!r} has {len(value)} entries: give one integer, or {AXES[rank]}.")
        return tuple(positive(entry, name) for entry in value)
    return (positive(value, name),) * rank


def data_format_of(value: str | None, default: str) -> str:
    """ "channels_last" or "channels_first"; None is `default`. Raises ValueError otherwise.

    Example:
        >>> from blocks.ops.arguments import data_format_of
        >>> data_format_of(None, default="channels_last")
        'channels_last'
        >>> data_format_of("NHWC", default="channels_last")
        Traceback (most recent call last):
            ...
        ValueError: data_format='NHWC' is not allowed: use "channels_last" or "channels_first".
    """
    value = default if value is None else value
    if value not in ("channels_last", "channels_first"):
        raise ValueError(f'data_format={value!r} is not allowed: use "channels_last" or "channels_first".')
    return value
