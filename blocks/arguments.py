"""Checks of layer arguments, and the sentences that their errors are written in."""

from collections.abc import Sequence


def divisors(number: int) -> list[int]:
    """All positive divisors of `number`, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def nearest(value: int, allowed: Sequence[int]) -> list[int]:
    """The allowed values next to `value`: the largest below it and the smallest above it."""
    below = [a for a in allowed if a < value]
    above = [a for a in allowed if a > value]
    return ([max(below)] if below else []) + ([min(above)] if above else [])


def check_groups(groups: int, channels: int, what: str) -> None:
    """Raise ValueError unless `groups` divides `channels`; `what` says which channels they are."""
    if channels % groups:
        near = nearest(groups, divisors(channels))
        found = (
            f"divisors nearest to {groups} are {near[0]} and {near[1]}"
            if len(near) == 2
            else (f"divisor nearest to {groups} is {near[0]}")
        )
        raise ValueError(f"groups={groups} does not divide {channels} {what}; the {found}.")


def positive(value: object, name: str) -> int:
    """`value` as an int >= 1; raises ValueError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"{name}={value!r} is not allowed: it must be an integer of at least 1.")
    return value.__index__()


def pair(value: object, name: str) -> tuple[int, int]:
    """`value`, an integer or two of them (height, width), as a pair of ints >= 1."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name}={value!r} has {len(value)} entries: give one integer, or two (height, width).")
        return positive(value[0], name), positive(value[1], name)
    return (positive(value, name),) * 2


Padding = str | tuple[tuple[int, int], tuple[int, int]]


def padding_of(value: object) -> Padding:
    """Padding in its one form: "same", "valid" or ((top, bottom), (left, right)), in pixels.

    Accepted: those three, one integer for all four sides, or two for (height, width).
    Raises ValueError for anything else, negative numbers included.
    """
    if isinstance(value, str) and value.lower() in ("same", "valid"):
        return value.lower()

    def sides(entry: object) -> tuple[int, int]:
        both = entry if isinstance(entry, (tuple, list)) else (entry, entry)
        if len(both) != 2 or any(isinstance(b, bool) or not isinstance(b, int) or b < 0 for b in both):
            raise ValueError
        return int(both[0]), int(both[1])

    try:
        rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
        return sides(rows), sides(columns)
    except (ValueError, TypeError):
        raise ValueError(
            f'padding={value!r} is not allowed: give "same", "valid", a number of pixels of at least 0, '
            "(height, width) or ((top, bottom), (left, right))."
        ) from None


def data_format_of(value: str | None, default: str) -> str:
    """ "channels_last" or "channels_first"; None is `default`. Raises ValueError otherwise."""
    value = default if value is None else value
    if value not in ("channels_last", "channels_first"):
        raise ValueError(f'data_format={value!r} is not allowed: use "channels_last" or "channels_first".')
    return value


def output_size(size: int | None, kernel: int, stride: int, dilation: int, padding: str | tuple[int, int]):
    """Length of one spatial axis after a convolution or pooling; None stays None."""
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    margin = 0 if padding == "valid" else sum(padding)
    return (size + margin - (kernel - 1) * dilation - 1) // stride + 1


def output_shape(shape, filters, kernel, strides, dilation, padding, data_format) -> tuple:
    """Shape of a 2-D convolution's output, batch axis first.

    Raises ValueError where the (padded) input is smaller than the dilated kernel.
    """
    last = data_format == "channels_last"
    spatial = shape[1:3] if last else shape[2:4]
    axes = (padding, padding) if isinstance(padding, str) else padding
    sizes = tuple(output_size(*axis) for axis in zip(spatial, kernel, strides, dilation, axes, strict=True))
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(
            f"An input of {spatial[0]} x {spatial[1]} pixels is too small for a kernel of {kernel[0]} x {kernel[1]} "
            f"with dilation {dilation} and padding {padding!r}."
        )
    return (shape[0], *sizes, filters) if last else (shape[0], filters, *sizes)
