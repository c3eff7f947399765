"""Parallel convolutions of one tensor, summed, as one convolution.

Source: Ding et al. 2021, RepVGG: Making VGG-style ConvNets Great Again, section 3.3, arXiv:2101.03697. Here for any
kernel sizes and paddings, groups, and strides.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers

import blocks
from blocks.ops.geometry import sides_of
from zoo.folding.linear import Linear, grouped, statistics

MERGEABLE = (blocks.GroupedConv2D, layers.Conv2D, layers.DepthwiseConv2D)
SHARED = ("filters", "groups", "strides", "data_format", "dtype")  # what branches must have in common
Sides = tuple[int, int]


def as_branch(linear: Linear) -> Linear | None:
    """`linear` as a `blocks.GroupedConv2D` that can be summed with others; None where it is of another kind."""
    if linear.kind not in MERGEABLE:
        return None
    branch = linear if linear.kind is blocks.GroupedConv2D else grouped(linear)
    equal = isinstance(branch.config["groups"], int) and isinstance(branch.config["filters"], int)
    return branch if equal and tuple(branch.config["dilation_rate"]) == (1, 1) else None


def alike(branch: Linear, other: Linear) -> bool:
    """Whether two branches of the same input may share one convolution."""
    return all(_plain(branch.config[key]) == _plain(other.config[key]) for key in SHARED)


def merge(branches: Sequence[Linear], norms: Sequence[keras.Layer], shape: tuple[Any, ...]) -> Linear | None:
    """The sum of `branches`, and of `norms` as branches without a convolution, over inputs of `shape`.

    Every kernel is put where its taps lie in a window that covers all of them.
    None where the places of the windows depend on sizes that `shape` leaves open.
    """
    first, channels = branches[0], branches[0].channels
    axis = first.channel_axis(len(shape))
    sizes = [size for index, size in enumerate(shape) if index not in (0, axis)]
    if norms and (tuple(first.config["strides"]) != (1, 1) or shape[axis] != channels):
        return None
    paddings: list[tuple[Sides, ...]] = []
    for branch in branches:
        config = branch.config
        sides = sides_of(config["padding"], sizes, config["kernel_size"], config["strides"])
        if sides is None:
            return None
        paddings.append(sides)
    kernels = [tuple(branch.config["kernel_size"]) for branch in branches]
    paddings += [((0, 0), (0, 0))] * len(norms)
    kernels += [(1, 1)] * len(norms)
    windows = []
    for i in (0, 1):
        window = _window([kernel[i] for kernel in kernels], [pad[i] for pad in paddings], sizes[i])
        if window is None:
            return None
        windows.append(window)
    kernel_size, padding = tuple(size for size, _ in windows), tuple(sides for _, sides in windows)
    per_group = shape[axis] // first.config["groups"]
    factors, summands = zip(*(statistics(norm) for norm in norms), strict=True) if norms else ((), ())

    def read() -> dict[str, np.ndarray]:
        total = np.zeros((*kernel_size, per_group, channels))
        parts = [branch.kernels()["kernel"] for branch in branches]
        parts += [_identity(per_group, channels) * factor for factor in factors]
        for part, ((top, _), (left, _)) in zip(parts, paddings, strict=True):
            row, column = padding[0][0] - top, padding[1][0] - left
            total[row : row + part.shape[0], column : column + part.shape[1]] += part
        return {"kernel": total}

    biases = [branch.bias for branch in branches if branch.bias is not None] + list(summands)
    largest = max(branches, key=lambda branch: np.prod(branch.config["kernel_size"]))
    return replace(
        first,
        config={**largest.config, "kernel_size": kernel_size, "padding": padding, "implementation": None},
        read=read,
        scale=None,
        bias=np.sum(biases, axis=0) if biases else None,
    )


def _window(kernels: list[int], paddings: list[Sides], size: int | None) -> tuple[int, Sides] | None:
    """Length of one axis of the common kernel, and its padding; None where the ends may differ for an unknown size."""
    if size is None and len({sum(sides) - kernel for kernel, sides in zip(kernels, paddings, strict=True)}) > 1:
        return None
    before = max(top for top, _ in paddings)
    ends = [before - top + kernel for kernel, (top, _) in zip(kernels, paddings, strict=True)]
    # The branch whose taps reach furthest says where the last window ends.
    return max(ends), (before, paddings[ends.index(max(ends))][1])


def _identity(per_group: int, channels: int) -> np.ndarray:
    """The 1x1 kernel, (1, 1, per_group, channels), that hands every channel on."""
    kernel = np.zeros((1, 1, per_group, channels))
    outputs = np.arange(channels)
    kernel[0, 0, outputs % per_group, outputs] = 1.0
    return kernel


def _plain(value: Any) -> Any:
    """Lists, which a configuration read from a file has, as tuples."""
    return tuple(value) if isinstance(value, list) else value
