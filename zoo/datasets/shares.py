"""Which images of a batch a process makes where several make it together."""

from __future__ import annotations

import numpy as np


def places(batch_size: int, share: tuple[int, int], in_pairs: bool = False) -> np.ndarray:
    """int32: the places in a batch that are this share of it. All shares together are the batch, each place once.

    Args:
        share: its number, and of how many.
        in_pairs: an image and the one as far from the end of the batch, which MixUp and CutMix mix it with, are in
            the same share, where they again lie as far from its two ends.

    Example:
        >>> from zoo.datasets.shares import places
        >>> [places(7, (number, 2)).tolist() for number in (0, 1)]
        [[0, 1, 2], [3, 4, 5, 6]]
        >>> [places(7, (number, 2), in_pairs=True).tolist() for number in (0, 1)]
        [[0, 1, 5, 6], [2, 3, 4]]
    """
    number, count = share
    length = -(-batch_size // 2) if in_pairs else batch_size
    first, end = length * number // count, length * (number + 1) // count
    own = np.arange(first, end, dtype=np.int32)
    if not in_pairs:
        return own
    mirrored = batch_size - 1 - own[::-1]
    return np.concatenate([own, mirrored[mirrored >= length]])


def evaluation_share(batch_size: int, share: tuple[int, int]) -> tuple[int, int]:
    """First place of the share in a batch, and that behind the last. Where the last batch is smaller, so is what there
    is of the share.

    Example:
        >>> from zoo.datasets.shares import evaluation_share
        >>> [evaluation_share(10, (number, 3)) for number in range(3)]
        [(0, 4), (4, 8), (8, 10)]
    """
    number, count = share
    size = -(-batch_size // count)
    return min(number * size, batch_size), min((number + 1) * size, batch_size)
