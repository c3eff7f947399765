"""JPEGs that cost as much to decode as photographs do: a folder of them, and a TFDS data set of its training images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

HEIGHT, WIDTH, QUALITY, CLASSES = 375, 500, 90, 10


def photograph(number: int) -> Image.Image:
    """Colour gradients under noise whose amplitude falls with the frequency, as it does in photographs."""
    random = np.random.default_rng(number)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = 1
    planes = []
    for strength in (1.0, 0.3, 0.3):  # luma and the two chroma planes
        spectrum = np.fft.rfft2(random.standard_normal((HEIGHT, WIDTH))) / frequency**1.1
        noise = np.fft.irfft2(spectrum, (HEIGHT, WIDTH))
        down, right = random.uniform(-40, 40, 2)
        gradient = down * np.linspace(-1, 1, HEIGHT)[:, None] + right * np.linspace(-1, 1, WIDTH)[None]
        planes.append(128 + strength * (50 * noise / noise.std() + gradient))
    levels = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return Image.fromarray(levels, "YCbCr").convert("RGB")


def write_folder(root: Path, count: int) -> int:
    """`count` training images in classes, and one of each class to validate on; the bytes of an average one."""
    for number in range(count + CLASSES):
        split = "train" if number < count else "validation"
        folder = root / split / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        photograph(number).save(folder / f"{number}.jpg", quality=QUALITY)
    files = list((root / "train").rglob("*.jpg"))
    return sum(file.stat().st_size for file in files) // len(files)


class DrawnPhotographs(tfds.core.GeneratorBasedBuilder):
    """The files of `write_folder` as records. `FOLDER` is where they lie."""

    VERSION = tfds.core.Version("1.0.0")
    FOLDER = Path()

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(HEIGHT, WIDTH, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=CLASSES),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in ("train", "validation")}

    def _generate_examples(self, split: str) -> Iterator[Any]:
        for file in sorted((self.FOLDER / split).rglob("*.jpg")):
            yield file.stem, {"image": file, "label": int(file.parent.name.removeprefix("class"))}
