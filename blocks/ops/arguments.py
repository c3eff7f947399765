"""Checks of layer arguments, and the sentences that their errors are written in."""

from collections.abc import Sequence
from difflib import get_close_matches

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
    """All positive divisors of `number`, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def nearest(value: int, allowed: Sequence[int]) -> list[int]:
    """The allowed values next to `value`: the largest below it and the smallest above it."""
    below = [a for a in allowed if a < value]
    above = [a for a in allowed if a > value]
    return ([max(below)] if below else []) + ([min(above)] if above else [])


def did_you_mean(value: object, allowed: Sequence[str]) -> str:
    """The end of an error about a misspelt name: a sentence with the nearest of `allowed`, or nothing."""
    close = get_close_matches(str(value).lower(), allowed, n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def split_evenly(channels: int, groups: int) -> tuple[int, ...]:
    """`channels` in `groups` sizes that differ by one at most, the larger ones first."""
    size, rest = divmod(channels, groups)
    return (size + 1,) * rest + (size,) * (groups - rest)


def sizes_text(channels: int, groups: int) -> str:
    """What to type for `channels` in `groups` sizes: the sizes, or the call that computes them if they are many."""
    return f"split_channels({channels}, {groups})" if groups > MANY else str(split_evenly(channels, groups))


def known_channels(shape: Shape, axis: int, layer: str) -> int:
    """The channels of inputs of `shape`, along `axis`. Raises ValueError where they are not known."""
    channels = shape[axis]
    if channels is None:
        raise ValueError(f"The number of input channels must be known to build {layer}; got {tuple(shape)}.")
    return channels


def check_groups(groups: int, channels: int, what: str, uneven: str | None = None, name: str = "groups") -> None:
    """Raise ValueError unless `groups` divides `channels`; `what` says which channels they are.

    `uneven` names the argument that takes one size for each group, where there is one: the error shows how. `name` is
    that of the argument `groups` comes from.
    """
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


def positive(value: object, name: str) -> int:
    """`value` as an int >= 1; raises ValueError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"{name}={value!r} is not allowed: it must be an integer of at least 1.")
    return value.__index__()


def per_axis(value: object, name: str, rank: int = 2) -> tuple[int, ...]:
    """`value`, an integer or one for each of `rank` axes, as that many ints >= 1; raises ValueError otherwise."""
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            raise ValueError(f"{name}={value!r} has {len(value)} entries: give one integer, or {AXES[rank]}.")
        return tuple(positive(entry, name) for entry in value)
    return (positive(value, name),) * rank


def data_format_of(value: str | None, default: str) -> str:
    """ "channels_last" or "channels_first"; None is `default`. Raises ValueError otherwise."""
    value = default if value is None else value
    if value not in ("channels_last", "channels_first"):
        raise ValueError(f'data_format={value!r} is not allowed: use "channels_last" or "channels_first".')
    return value
