"""Groups of unequal size: how channels and filters are shared among them, and which are computed together."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from blocks.ops.arguments import MANY, check_groups, did_you_mean, positive, sizes_text, split_evenly

REMAINDERS = ("spread", "first", "last")


@dataclass(frozen=True)
class GroupRun:
    """Neighbouring groups with equally many channels and equally many filters: one grouped convolution.

    groups: how many they are; channels, filters: of all of them together.

    Example:
        >>> from blocks.ops.group_sizes import GroupRun
        >>> GroupRun(groups=3, channels=48, filters=96)  # three groups of 16 channels and 32 filters each
        GroupRun(groups=3, channels=48, filters=96)
    """

    groups: int
    channels: int
    filters: int


def split_channels(channels: int, groups: int, remainder: str = "spread") -> tuple[int, ...]:
    """Sizes of `groups` groups that make up `channels`: what a layer takes as `groups`.

    Args:
        remainder: who takes what is left where `groups` does not divide `channels`. "spread": the first groups, one
            channel each, so that 64 in 5 is (13, 13, 13, 13, 12). "first": the first group takes it all, as in
            MixNet, (16, 12, 12, 12, 12). "last": the last group does, (12, 12, 12, 12, 16).

    Raises:
        ValueError: more groups than channels, numbers below 1, an unknown `remainder`.

    Source of "first": Tan and Le 2019, MixConv: Mixed Depthwise Convolutional Kernels, arXiv:1907.09595, as its
    authors' code splits channels.

    Example:
        >>> blocks.split_channels(67, 4)
        (17, 17, 17, 16)
        >>> blocks.split_channels(64, 5, remainder="first")
        (16, 12, 12, 12, 12)
        >>> blocks.split_channels(3, 4)
        Traceback (most recent call last):
            ...
        ValueError: groups=4 is more than 3 channels; the nearest that works is 3.
    """
    channels, groups = positive(channels, "channels"), positive(groups, "groups")
    if groups > channels:
        raise ValueError(f"groups={groups} is more than {channels} channels; the nearest that works is {channels}.")
    if remainder not in REMAINDERS:
        hint = did_you_mean(remainder, REMAINDERS)
        raise ValueError(f'remainder={remainder!r} is not allowed: use "spread", "first" or "last".{hint}')
    if remainder == "spread":
        return split_evenly(channels, groups)
    size, rest = divmod(channels, groups)
    others = (size,) * (groups - 1)
    return (size + rest, *others) if remainder == "first" else (*others, size + rest)


def apportion(filters: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """`filters` in proportion to the sizes of the groups, by largest remainder, and at least 1 for each.

    Every group gets the whole part of its share; what is left goes one by one to the largest fractions, to the
    earlier group where two are equal. A group that would have none then takes one from the group that has most.

    Raises ValueError where there are fewer filters than groups.

    Example:
        >>> from blocks.ops.group_sizes import apportion
        >>> apportion(134, (16, 16, 16, 19)), apportion(4, (1, 1, 100))
        ((32, 32, 32, 38), (1, 1, 2))
    """
    if filters < len(sizes):
        raise ValueError(
            f"filters={filters} is too few for {len(sizes)} groups, which need one each; the nearest that works is "
            f"{len(sizes)}."
        )
    total = sum(sizes)
    shares = [filters * size // total for size in sizes]
    by_fraction = sorted(range(len(sizes)), key=lambda group: -(filters * sizes[group] % total))
    for group in by_fraction[: filters - sum(shares)]:
        shares[group] += 1
    while 0 in shares:
        shares[shares.index(max(shares))] -= 1
        shares[shares.index(0)] += 1
    return tuple(shares)


def groups_of(value: object) -> int | tuple[int, ...]:
    """`groups` as a number of equal groups, or as a tuple of sizes; raises ValueError for anything below 1.

    Example:
        >>> from blocks.ops.group_sizes import groups_of
        >>> groups_of(4), groups_of([16, 16, 19])
        (4, (16, 16, 19))
    """
    if not isinstance(value, (tuple, list)):
        return positive(value, "groups")
    return _entries(value, "groups", "(16, 16, 19)")


def filters_of(value: object, groups: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """`filters` as an int, or as a tuple with one entry for each of `groups`; raises ValueError otherwise.

    Example:
        >>> from blocks.ops.group_sizes import filters_of
        >>> filters_of(64, groups=4), filters_of([32, 32, 38], groups=(16, 16, 19))
        (64, (32, 32, 38))
    """
    if not isinstance(value, (tuple, list)):
        filters = positive(value, "filters")
        if isinstance(groups, int):
            check_groups(groups, filters, "filters", uneven="filters")
        else:
            apportion(filters, groups)
        return filters
    entries = _entries(value, "filters", "(32, 32, 38)")
    count = groups if isinstance(groups, int) else len(groups)
    if len(entries) != count:
        total = max(sum(entries), count)
        shares = split_evenly(total, count) if isinstance(groups, int) else apportion(total, groups)
        example = total if count > MANY else shares
        raise ValueError(
            f"filters={entries} has {len(entries)} entries for groups={groups}: give one number in all, or one for "
            f"each of the {count} groups, e.g. filters={example}."
        )
    return entries


def _entries(value: Sequence[object], name: str, example: str) -> tuple[int, ...]:
    try:
        entries = tuple(positive(entry, name) for entry in value)
    except ValueError:
        entries = ()
    if not entries:
        raise ValueError(
            f"{name}={value!r} is not allowed: give one integer of at least 1, or one for each group, e.g. "
            f"{name}={example}."
        )
    return entries


def group_runs(groups: int | tuple[int, ...], filters: int | tuple[int, ...], channels: int) -> tuple[GroupRun, ...]:
    """The grouped convolutions that a convolution of `channels` inputs comes down to, in the channels' order.

    Raises ValueError where a number of groups does not divide `channels`, or sizes do not add up to it.

    Example:
        >>> from blocks.ops.group_sizes import group_runs
        >>> group_runs((16, 16, 19), 51, channels=51)
        (GroupRun(groups=2, channels=32, filters=32), GroupRun(groups=1, channels=19, filters=19))
    """
    if isinstance(groups, int):
        check_groups(groups, channels, "input channels", uneven="groups")
        if isinstance(filters, int):
            return (GroupRun(groups, channels, filters),)
        groups = (channels // groups,) * groups
    if sum(groups) != channels:
        example = sizes_text(channels, min(len(groups), channels))
        raise ValueError(
            f"groups={groups} are {sum(groups)} channels together, but there are {channels} input channels: for "
            f"instance groups={example} fits them."
        )
    shares = apportion(filters, groups) if isinstance(filters, int) else filters
    runs = []
    for (size, share), members in itertools.groupby(zip(groups, shares, strict=True)):
        count = len(list(members))
        runs.append(GroupRun(count, count * size, count * share))
    return tuple(runs)
