"""What `zoo predict` is tested with: a small network, pictures of every kind, and what training's evaluation gives."""

import csv
import io
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.data_config import DataConfig
from zoo.datasets import augment
from zoo.datasets.config import DatasetConfig

CLASSES = ("cat", "dog", "Käfer")
DATASET = DatasetConfig(
    name="pets",
    source="image_folder",
    builder=None,
    data_dir="pets",
    image_size=16,
    channels=3,
    mean=[0.4, 0.5, 0.6],
    std=[0.2, 0.25, 0.3],
    crop_fraction=0.875,
    resize_method="bicubic",
)


def network(channels: int = 3, activation: str | None = None, classes: int = 3) -> keras.Model:
    """Pictures (B, 16, 16, channels) to classes, which differ from picture to picture."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, channels), name="images")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(images)
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(classes, activation=activation, name="logits")(x), name="pets")


def write_pictures(folder: Path) -> list[str]:
    """Pictures of every kind that decoders treat differently; their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(6):
        rows, columns = np.mgrid[0 : 20 + 3 * number, 0 : 34 - 2 * number]
        waves = np.sin(rows[..., None] / (2 + number) + columns[..., None] * random.uniform(-0.5, 0.5, 3))
        pixels = np.clip(127 + 90 * waves + random.normal(0, 20, waves.shape), 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels)
        picture.save(folder / f"{number}.jpg", quality=90, subsampling=number % 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("L").save(folder / "grey.png")
    picture.convert("P").save(folder / "palette.png")
    picture.save(folder / "lossless.webp", lossless=True)
    transparent = picture.copy()
    transparent.putalpha(Image.fromarray(random.integers(0, 256, pixels.shape[:2], np.uint8)))
    transparent.save(folder / "transparent.png")
    Image.fromarray(random.integers(0, 2**16, (20, 24)).astype(np.uint16)).save(folder / "deep.png")
    frames = [picture.convert("P"), picture.rotate(180).convert("P")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    return [str(path) for path in sorted(folder.iterdir())]


def evaluated(model: keras.Model, paths: list[str], config: DatasetConfig = DATASET) -> np.ndarray:
    """Probabilities (pictures, classes) as training's evaluation computes them."""
    images = [augment.decode(tf.io.read_file(path), config.channels) for path in paths]
    batch = tf.stack([augment.centre_square(image, config) for image in images])
    outputs = np.asarray(model(augment.normalise(batch, config)), np.float64)
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def table(text: str) -> dict[str, list[tuple[int, float]]]:
    """picture -> (index, probability) of its classes, of `zoo predict --csv`."""
    rows: dict[str, list[tuple[int, float]]] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        rows.setdefault(row["picture"], []).append((int(row["index"]), float(row["probability"])))
    return rows


def check_same(
    predicted: dict[str, list[tuple[int, float]]], expected: dict[str, np.ndarray], tolerance: float
) -> None:
    """The same pictures, most probable classes and probabilities, but where two are within twice the tolerance."""
    assert list(predicted) == list(expected)
    for path, probabilities in expected.items():
        classes = [index for index, _ in predicted[path]]
        first, second = np.sort(probabilities)[::-1][:2]
        assert classes[0] == probabilities.argmax() or first - second <= 2 * tolerance, path
        values = [value for _, value in predicted[path]]
        np.testing.assert_allclose(values, probabilities[classes], rtol=0, atol=tolerance, err_msg=path)
        assert values == sorted(values, reverse=True)


def expected_config(**changes) -> DataConfig:
    from zoo.datasets.config import data_config

    config = data_config(DATASET, CLASSES, "pets")
    return DataConfig(**{**{key: getattr(config, key) for key in config.__dataclass_fields__}, **changes})
