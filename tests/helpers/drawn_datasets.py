"""Data sets of TFDS with random images, prepared where their publishers cannot be reached."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds


def prepare_drawn(name: str, data_dir: Path, images: int = 60, size: tuple[int, int] = (40, 48)) -> None:
    """Write the data set that TFDS calls `name`, as it declares it, with random images in its splits; once.

    Args:
        images: of each split; their labels go through the first ten classes in turn, so that every part has them all.
        size: (height, width) of images whose size the data set leaves open.
    """
    real = tfds.builder(name, data_dir=data_dir)
    if real.is_prepared():
        return
    splits = ("train", "test" if name.partition("/")[0] not in ("imagenet2012", "imagenette") else "validation")

    def value(feature, number: int):
        if isinstance(feature, tfds.features.Image):
            shape = [side or other for side, other in zip(feature.shape, (*size, 3), strict=True)]
            return np.random.default_rng(number).integers(0, 256, shape, np.uint8)
        return number % min(feature.num_classes, 10) if isinstance(feature, tfds.features.ClassLabel) else str(number)

    def split_generators(self, manager):
        return {split: generate(self.info.features, index * images) for index, split in enumerate(splits)}

    def generate(features, first: int):
        for number in range(first, first + images):
            yield number, {key: value(feature, number) for key, feature in features.items()}

    with tfds.core.registered.skip_registration():
        drawn = type("Drawn", (type(real),), {"name": real.name, "_split_generators": split_generators})
    config = real.builder_config.name if real.builder_config else None
    drawn(config=config, data_dir=data_dir).download_and_prepare()
