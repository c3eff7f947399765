"""How many training images there are, where that can be known without TensorFlow."""

from __future__ import annotations

from zoo.datasets.config import DIGITS, DatasetConfig
from zoo.datasets.folders import ImageFolder, list_folder


def check_batch_size(config: DatasetConfig, batch_size: int, folder: ImageFolder | None = None) -> None:
    """Raises ValueError where no batch of `batch_size` training images would be full, as far as is known yet.

    `folder` is what an image folder holds, where it has been listed.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.sizes import check_batch_size
        >>> check_batch_size(DatasetConfig(source="synthetic", num_classes=10), batch_size=64)
    """
    size = training_size(config, folder)
    if size is not None:
        refuse_larger_batch(config, batch_size, size)


def refuse_larger_batch(config: DatasetConfig, batch_size: int, size: int) -> None:
    """Raises ValueError for a batch larger than the `size` training images.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.sizes import refuse_larger_batch
        >>> refuse_larger_batch(DatasetConfig(), batch_size=64, size=1437)
    """
    if batch_size > size:
        raise ValueError(
            f"batch_size={batch_size} exceeds the {size} training images of {config.name}, so no batch would be full; "
            f"the largest possible is {size}."
        )


def training_size(config: DatasetConfig, folder: ImageFolder | None = None) -> int | None:
    """Training images of a data set; None where it has to be prepared first, or has no such split.

    `folder` is what an image folder holds, where it has been listed.

    Raises:
        ValueError: there is no such data set, or the image folder cannot serve.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.sizes import training_size
        >>> training_size(DatasetConfig())  # the digits of scikit-learn
        1437
    """
    if config.source == "image_folder":
        return len((folder or list_folder(config)).train.paths)
    if config.fold:  # follows from the labels
        return None
    if config.source == "synthetic":
        return config.synthetic_train_size
    if config.builder == "digits" and config.train_split in DIGITS:
        return DIGITS[config.train_split]
    from zoo.datasets.prepare import recorded_splits

    try:
        return recorded_splits(config)[config.train_split].num_examples
    except (KeyError, ValueError, AssertionError):  # TFDS's, for a split it does not have; the loader lists those
        return None
