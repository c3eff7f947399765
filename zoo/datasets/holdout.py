"""Which examples are held out to validate on, where a data set says nothing of it: by their names alone."""

import hashlib
import os
import unicodedata
from collections.abc import Collection, Sequence


def held_out(names: Collection[str], share: float, seed: int) -> set[str]:
    """Those of the examples of one class that are not trained on: `share` of them, rounded, those of the least hashes.

    At least one is held out and one is not, where there are two. It follows from the names and the seed, whatever
    machine, order or number of other classes: one example more, or less, moves at most one other, since the share is
    exact.

    Args:
        names: such as "cat/01.jpg"; composed and decomposed accents are one name.
        share: above 0 and below 1.

    Example:
        >>> from zoo.datasets.holdout import held_out
        >>> sorted(held_out([f"cat/{number}.jpg" for number in range(10)], share=0.2, seed=0))
        ['cat/6.jpg', 'cat/7.jpg']
        >>> held_out(["cat/0.jpg"], share=0.9, seed=0)
        set()
    """
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return set(sorted(names, key=lambda name: (_hash(name, seed), name))[:count])


def fold_numbers(names: Sequence[str], labels: Sequence[int], count: int, seed: int) -> list[int]:
    """The fold, 0 to count - 1, of each example: stratified, so that no two folds differ by more than one in any class.

    It follows from the names, labels and seed alone; the sizes of the folds differ by one at most, too.

    Args:
        names: one of each example, no two alike, such as "cat/01.jpg".
        labels: the class of each.

    Example:
        >>> from zoo.datasets.holdout import fold_numbers
        >>> numbers = fold_numbers([f"{number}.jpg" for number in range(6)], [0, 0, 0, 0, 1, 1], count=2, seed=0)
        >>> sorted(numbers[:4]), sorted(numbers[4:])
        ([0, 0, 1, 1], [0, 1])
    """
    order = sorted(range(len(names)), key=lambda index: (labels[index], _hash(names[index], seed), names[index]))
    numbers = [0] * len(names)
    for place, index in enumerate(order):  # goes on from class to class, or the first folds would be the larger ones
        numbers[index] = place % count
    return numbers


def _hash(name: str, seed: int) -> bytes:
    normal = unicodedata.normalize("NFC", name).replace(os.sep, "/")
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(normal))).digest()
