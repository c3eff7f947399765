"""Padding and output sizes of convolutions and pooling, on every backend; the one definition of "same"."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from keras import ops

from blocks.ops.arguments import AXES, SIDES, UNITS, did_you_mean
from blocks.typing import Shape

Padding: TypeAlias = str | tuple[tuple[int, int], ...]


def padding_of(value: object, rank: int = 2) -> Padding:
    """Padding in its one form: "same", "valid", "causal" (1-D alone), or a pair (before, after) for each axis.

    Accepted: those names, one integer for all sides, or a sequence that has an integer or a pair for each axis.
    Raises ValueError for anything else, negative numbers included.

    Example:
        >>> from blocks.ops.geometry import padding_of
        >>> padding_of(1), padding_of((1, 2)), padding_of(((0, 1), (0, 1)))
        (((1, 1), (1, 1)), ((1, 1), (2, 2)), ((0, 1), (0, 1)))
        >>> padding_of("causal", rank=1)
        'causal'
    """
    names = ("same", "valid", "causal") if rank == 1 else ("same", "valid")
    if isinstance(value, str) and value.lower() in names:
        return value.lower()

    def sides(entry: object) -> tuple[int, int]:
        before, after = entry if isinstance(entry, (tuple, list)) else (entry, entry)
        if any(isinstance(b, bool) or not hasattr(b, "__index__") or b < 0 for b in (before, after)):
            raise ValueError
        return before.__index__(), after.__index__()

    try:
        axes = value if isinstance(value, (tuple, list)) else (value,) * rank
        if len(axes) != rank:
            raise ValueError
        return tuple(sides(axis) for axis in axes)
    except ValueError:
        listed = ", ".join(f'"{name}"' for name in names)
        hint = did_you_mean(value, names) if isinstance(value, str) else ""
        raise ValueError(
            f"padding={value!r} is not allowed: give {listed}, a number of {UNITS[rank]} of at least 0, "
            f"{AXES[rank]} or {SIDES[rank]}.{hint}"
        ) from None


def resolve_causal(padding: Padding, kernel: Sequence[int], dilation: Sequence[int]) -> Padding:
    """`padding` with "causal" written out: zeros in front only, so that no output sees a later input.

    Example:
        >>> from blocks.ops.geometry import resolve_causal
        >>> resolve_causal("causal", kernel=(3,), dilation=(2,)), resolve_causal("same", (3,), (2,))
        (((4, 0),), 'same')
    """
    return (((kernel[0] - 1) * dilation[0], 0),) if padding == "causal" else padding


def same_padding(size: Any, kernel: int, stride: int, dilation: int = 1) -> tuple[Any, Any]:
    """What "same" pads before and after one axis of `size`: a number or a tensor, or None where `stride` is 1.

    The output has ceil(size / stride) entries; where the padding is odd, the end has one more.

    Source: TensorFlow's "SAME".

    Example:
        >>> from blocks.ops.geometry import same_padding
        >>> same_padding(224, kernel=3, stride=2), same_padding(None, kernel=3, stride=1)
        ((0, 1), (1, 1))
    """
    extent = (kernel - 1) * dilation + 1
    if stride == 1:
        total = extent - 1
    elif isinstance(size, int):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    else:
        total = ops.maximum((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def sides_of(
    padding: Padding,
    sizes: Sequence[Any],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> tuple[tuple[Any, Any], ...] | None:
    """(before, after) that `padding` adds to each axis of `sizes`; None where it depends on an unknown size.

    Example:
        >>> from blocks.ops.geometry import sides_of
        >>> sides_of("same", (224, 224), (7, 7), (2, 2)), sides_of("valid", (None, None), (7, 7), (2, 2))
        (((2, 3), (2, 3)), ((0, 0), (0, 0)))
    """
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if not isinstance(padding, str):
        return tuple((before, after) for before, after in padding)
    axes = list(zip(sizes, kernel, strides, dilation or (1,) * len(kernel), strict=True))
    if any(size is None and stride > 1 for size, _, stride, _ in axes):
        return None
    return tuple(same_padding(*axis) for axis in axes)


def output_size(
    size: int | None, kernel: int, stride: int, dilation: int, padding: str | tuple[int, int]
) -> int | None:
    """Length of one spatial axis after a convolution or pooling; None stays None.

    Example:
        >>> from blocks.ops.geometry import output_size
        >>> output_size(224, kernel=7, stride=2, dilation=1, padding=(3, 3)), output_size(None, 7, 2, 1, "same")
        (112, None)
    """
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    margin = 0 if isinstance(padding, str) else sum(padding)
    return (size + margin - (kernel - 1) * dilation - 1) // stride + 1


def output_shape(
    shape: Shape,
    filters: int | None,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Padding,
    data_format: str,
) -> Shape:
    """Shape of a convolution's output, batch axis first; `kernel` has one size for each spatial axis.

    Raises ValueError where the (padded) input is smaller than the dilated kernel.

    Example:
        >>> from blocks.ops.geometry import output_shape
        >>> output_shape((8, 224, None, 3), 64, (7, 7), (2, 2), (1, 1), ((3, 3), (3, 3)), "channels_last")
        (8, 112, None, 64)
    """
    rank = len(kernel)
    last = data_format == "channels_last"
    spatial = tuple(shape[1:-1] if last else shape[2:])
    padding = resolve_causal(padding, kernel, dilation)
    axes: Sequence[str | tuple[int, int]] = (padding,) * rank if isinstance(padding, str) else padding
    sizes = tuple(output_size(*axis) for axis in zip(spatial, kernel, strides, dilation, axes, strict=True))
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(
            f"An input of {' x '.join(map(str, spatial))} {UNITS[rank]} is too small for a kernel of "
            f"{' x '.join(map(str, kernel))} with dilation {dilation} and padding {padding!r}."
        )
    return (shape[0], *sizes, filters) if last else (shape[0], filters, *sizes)
