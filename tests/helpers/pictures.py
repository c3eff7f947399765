"""Images to train on: batches as arrays, and folders of written pictures."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.datasets.config import DatasetConfig

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}  # settings of a Preprocessing that leaves values as they are


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Noise, of which every error of a pixel or a weight shows."""
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, channels), np.uint8)


def arrays(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def assert_same(first: tf.data.Dataset, second: tf.data.Dataset) -> None:
    for one, other in zip(arrays(first), arrays(second), strict=True):
        np.testing.assert_array_equal(one, other)


def same(first: tf.data.Dataset, second: tf.data.Dataset) -> bool:
    return bool(np.array_equal(arrays(first)[0], arrays(second)[0]))


def write_folder(root: Path, counts: dict[str, dict[str, int]], channels: int = 3, suffix: str = "png") -> None:
    """Images of noise, of 20x30 pixels, below root/split/class."""
    random = np.random.default_rng(0)
    for split, classes in counts.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (20, 30, channels), dtype=np.uint8)
                encode = tf.io.encode_png if suffix == "png" else tf.io.encode_jpeg
                (root / split / name / f"{index}.{suffix}").write_bytes(encode(pixels).numpy())


def folder_config(root: Path, **changes) -> DatasetConfig:
    config = DatasetConfig(
        name="folder",
        source="image_folder",
        builder=None,
        data_dir=str(root),
        image_size=16,
        channels=3,
        mean=[0.5],
        std=[0.5],
    )
    return dataclasses.replace(config, **changes)
