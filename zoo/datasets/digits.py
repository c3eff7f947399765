"""Handwritten digits as a TFDS data set that needs no network: the 1,797 images that scikit-learn carries.

Importing this module makes `tfds.builder("digits")` known, and its halves "digits_low" and "digits_high".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from zoo.datasets.config import DIGITS

SPLIT_SEED = 0  # part of VERSION: another seed is another data set

_CITATION = """\
@misc{alpaydin1998optical,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49},
}"""


def _splits(**sizes: int) -> tfds.core.splits.SplitDict:
    """Splits of so many examples, one file each."""
    return tfds.core.splits.SplitDict(
        [
            tfds.core.SplitInfo(
                name=name,
                shard_lengths=[size],
                num_bytes=0,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir="", dataset_name="digits", split=name, filetype_suffix="tfrecord"
                ),
            )
            for name, size in sizes.items()
        ]
    )


class Digits(tfds.core.GeneratorBasedBuilder):
    """Digits 0-9, 8x8 pixels, grey: `train` (1,437) and `validation` (360), each with every class in
    proportion.

    Example:
        >>> from zoo.datasets.digits import Digits
        >>> Digits.SPLITS["train"].num_examples, Digits.SPLITS["validation"].num_examples
        (1437, 360)
    """

    NAMES = tuple(map(str, range(10)))
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    SPLITS = _splits(**DIGITS)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "1,797 handwritten digits of 8x8 pixels, the test set of UCI's Optical Recognition of "
                "Handwritten "
                "Digits, as shipped with scikit-learn. Its 17 grey levels are spread over 0..255."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=list(self.NAMES)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        del dl_manager  # nothing is downloaded
        digits = load_digits()
        labels = np.array([self.NAMES.index(name) if name in self.NAMES else -1 for name in digits.target.astype(str)])
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        train, validation = train_test_split(
            np.arange(len(images)), test_size=DIGITS["validation"], random_state=SPLIT_SEED, stratify=digits.target
        )
        return {
            "train": self._generate_examples(images, labels, train[labels[train] >= 0]),
            "validation": self._generate_examples(images, labels, validation[labels[validation] >= 0]),
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> Iterator[Any]:
        for index in chosen:
            yield int(index), {"image": images[index], "label": int(labels[index])}


class DigitsLow(Digits):
    """Digits 0-4 of `Digits`, to pretrain on: `train` (721) and `validation` (180).

    Example:
        >>> from zoo.datasets.digits import DigitsLow
        >>> DigitsLow.name, DigitsLow.NAMES
        ('digits_low', ('0', '1', '2', '3', '4'))
    """

    NAMES = Digits.NAMES[:5]
    SPLITS = _splits(train=721, validation=180)


class DigitsHigh(Digits):
    """Digits 5-9 of `Digits`, to fine-tune on: `train` (716) and `validation` (180).

    Example:
        >>> from zoo.datasets.digits import DigitsHigh
        >>> DigitsHigh.name, DigitsHigh.NAMES
        ('digits_high', ('5', '6', '7', '8', '9'))
    """

    NAMES = Digits.NAMES[5:]
    SPLITS = _splits(train=716, validation=180)
