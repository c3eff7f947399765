"""Which examples are held out to validate on, where a data set says nothing of it: by their names alone."""

import hashlib
import os
import unicodedata
from collections.abc import Collection, Sequence

from zoo.datasets.config import DatasetConfig, parse_fold


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
        ['cat/1.jpg', 'cat/5.jpg']
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


def in_fold(
    config: DatasetConfig, names: Sequence[str], labels: Sequence[int], class_names: Sequence[str] | None, where: str
) -> list[bool]:
    """Which examples of the training split `config.fold` validates on; arguments as in `fold_numbers`.

    Raises ValueError where there are more folds than examples, or the only examples of a class are in this one.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.holdout import in_fold
        >>> config = DatasetConfig(fold="0/2")
        >>> sum(in_fold(config, ["a1", "a2", "b1", "b2"], [0, 0, 1, 1], ("a", "b"), "pets"))
        2
    """
    assert config.fold is not None
    fold, count = parse_fold(config.fold)
    if count > len(names):
        raise ValueError(
            f"dataset.fold={config.fold} is not allowed: {where} has {len(names):,} training images, and so at most "
            f"{len(names):,} folds."
        )
    held = [number == fold for number in fold_numbers(names, labels, count, config.split_seed)]
    lacking = sorted(set(labels) - {label for label, is_held in zip(labels, held, strict=True) if not is_held})
    if lacking:
        name = class_names[lacking[0]] if class_names else lacking[0]
        raise ValueError(
            f"dataset.fold={config.fold} leaves no image of the class {name} to train on: of it {where} has one alone. "
            "Leave the class out, or use another dataset.split_seed."
        )
    return held


def _hash(name: str, seed: int) -> bytes:
    normal = unicodedata.normalize("NFC", name).replace(os.sep, "/")
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(normal))).digest()
