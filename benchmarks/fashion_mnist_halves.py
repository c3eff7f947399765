"""Fashion-MNIST in two halves of classes, as image folders: to train on one, and fine-tune on a hundredth of the other.

    python benchmarks/fashion_mnist_halves.py halves
    FOLDER="model=mobilenet_v1 model.width=0.25 dataset=image_folder"
    FOLDER="$FOLDER dataset.random_resized_crop=false dataset.crop_padding=2"
    GREY="dataset.image_size=28 dataset.channels=1 dataset.mean=[0.286] dataset.std=[0.353] dataset.crop_fraction=1"
    FEW="recipe.batch_size=32 recipe.epochs=30 recipe.warmup_epochs=3"
    python train.py $FOLDER $GREY dataset.data_dir=halves/first recipe.epochs=4 hydra.run.dir=outputs/first
    python train.py $FOLDER $GREY $FEW dataset.data_dir=halves/second-0
    python train.py $FOLDER $FEW dataset.data_dir=halves/second-0 weights=outputs/first

`first` has the classes 0 to 4 with all their pictures; `second-SEED` the classes 5 to 9 with a hundredth of theirs, 60
of each, drawn by the seed. The validation pictures of both are the test pictures of their classes, 1,000 of each.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

CLASSES = 10
SHARE = 100  # of the training pictures of the second half, one of so many is kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the halves are written")
    parser.add_argument("--data-dir", help="where TFDS has prepared fashion_mnist; ~/tensorflow_datasets by default")
    parser.add_argument("--seeds", type=int, default=3, help="drawings of the second half")
    arguments = parser.parse_args()
    builder = tfds.builder("fashion_mnist", data_dir=arguments.data_dir)
    builder.download_and_prepare()
    names = [name.replace("/", "-") for name in builder.info.features["label"].names]
    splits = {split: _by_class(builder, split) for split in ("train", "test")}
    half = CLASSES // 2
    _write(arguments.folder / "first", names[:half], splits["train"][:half], splits["test"][:half])
    for seed in range(arguments.seeds):
        random = np.random.default_rng(seed)
        few = [random.permutation(images)[: len(images) // SHARE] for images in splits["train"][half:]]
        _write(arguments.folder / f"second-{seed}", names[half:], few, splits["test"][half:])


def _by_class(builder: tfds.core.DatasetBuilder, split: str) -> list[np.ndarray]:
    """The pictures uint8 (N, 28, 28) of each class."""
    images, labels = builder.as_dataset(split, batch_size=-1, as_supervised=True)
    return [images.numpy()[labels.numpy() == label, ..., 0] for label in range(CLASSES)]


def _write(folder: Path, names: list[str], train: list[np.ndarray], validation: list[np.ndarray]) -> None:
    for split, classes in (("train", train), ("validation", validation)):
        for name, images in zip(names, classes, strict=True):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for index, image in enumerate(images):
                Image.fromarray(image).save(place / f"{index:04}.png")


if __name__ == "__main__":
    main()
