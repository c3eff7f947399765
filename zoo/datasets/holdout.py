"""Which examples are held out to validate on, where a data set says nothing of it: by their names alone."""

import hashlib
import os
import unicodedata
from collections.abc import Collection


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


def _hash(name: str, seed: int) -> bytes:
    normal = unicodedata.normalize("NFC", name).replace(os.sep, "/")
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(normal))).digest()
