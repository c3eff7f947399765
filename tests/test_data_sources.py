"""Where images come from: odd TFDS data sets, image folders, synthetic ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from helpers.pictures import arrays, assert_same, folder_config, rows, write_folder
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import Data, load


class NoLabels(tfds.testing.DummyDataset):
    """A data set without supervised_keys."""

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"id": np.int64}))


class ColourBoxes(tfds.core.GeneratorBasedBuilder):
    """Three colour images whose label is a number."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            supervised_keys=("image", "weight"),
            features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(4, 4, 3)), "weight": np.int64}),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(9), "validation": self._generate_examples(3)}

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.full((4, 4, 3), index, np.uint8), "weight": index % 3}


class OneClass(ColourBoxes):
    """As `ColourBoxes`, with a label that is always the same."""

    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 4, 3)), "label": tfds.features.ClassLabel(names=["box"])}
        return tfds.core.DatasetInfo(
            builder=self, supervised_keys=("image", "label"), features=tfds.features.FeaturesDict(features)
        )

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.full((4, 4, 3), index, np.uint8), "label": "box"}


def test_data_sets_that_are_no_classification_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no_labels/1.0.0 declares no .image, label. pair"):
        load(
            DatasetConfig(
                builder="no_labels",
                data_dir=str(tmp_path),
                train_split="train[:2]",
                validation_split="train[2:]",
            ),
            1,
            seed=0,
        )
    boxes = DatasetConfig(builder="colour_boxes", data_dir=str(tmp_path), image_size=4, channels=3)
    with pytest.raises(ValueError, match="'weight' is .*not a class label"):
        load(boxes, 1, seed=0)
    data = load(dataclasses.replace(boxes, num_classes=3), 9, seed=0)  # counted by the user
    assert sorted(arrays(data.train)[1].tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="Label 2 lies outside 0..1"):
        load(dataclasses.replace(boxes, num_classes=2), 9, seed=0)
    with pytest.raises(ValueError, match="one_class/1.0.0 has 1 class; classification needs at least 2"):
        load(dataclasses.replace(boxes, builder="one_class"), 1, seed=0)
    with pytest.raises(ValueError, match="the images of colour_boxes/1.0.0 have 3; set dataset.channels=3"):
        load(dataclasses.replace(boxes, channels=1, num_classes=3), 1, seed=0)


@pytest.mark.parametrize(("cache", "suffix"), [pytest.param(True, "png", marks=pytest.mark.heavy), (False, "jpg")])
def test_image_folder(tmp_path, cache, suffix):
    write_folder(tmp_path, {"train": {"cat": 7, "dog": 5}, "val": {"cat": 3, "dog": 2}}, suffix=suffix)
    data = load(folder_config(tmp_path, cache=cache, flip=True), batch_size=4, seed=0)
    assert (data.train_size, data.validation_size, data.steps_per_epoch) == (12, 5, 3)
    assert data.class_names == ("cat", "dog")
    assert arrays(data.validation)[1].tolist() == [0, 0, 0, 1, 1]
    assert sorted(arrays(data.train)[1].tolist()) == [0] * 7 + [1] * 5
    assert arrays(data.train)[0].shape == (12, 16, 16, 3)
    cropped = load(folder_config(tmp_path, cache=cache, random_resized_crop=True), batch_size=4, seed=0)
    images, labels = arrays(cropped.epoch(0))
    assert images.shape == (12, 16, 16, 3) and sorted(labels.tolist()) == [0] * 7 + [1] * 5
    assert_same(cropped.epoch(0), cropped.epoch(0))
    assert not set(rows(images)) & set(rows(arrays(cropped.epoch(1))[0]))


@pytest.mark.parametrize("cache", [True, pytest.param(False, marks=pytest.mark.heavy)])
def test_equal_images_are_augmented_differently_in_every_place_and_epoch(tmp_path, cache):
    write_folder(tmp_path, {"train": {"a": 1, "b": 1}, "validation": {"a": 1, "b": 1}})
    image = (tmp_path / "train" / "a" / "0.png").read_bytes()
    for index in range(8):
        (tmp_path / "train" / "b" / f"{index}.png").write_bytes(image)
    for augmentation in ({"crop_padding": 8}, {"random_resized_crop": True}):
        data = load(folder_config(tmp_path, cache=cache, **augmentation), batch_size=3, seed=0)
        epochs = [rows(arrays(data.epoch(number))[0]) for number in range(2)]
        assert len(set(epochs[0])) >= 8 and len(set(epochs[0] + epochs[1])) >= 15  # of 289 shifts, or any box


@pytest.mark.heavy
def test_caching_does_not_change_an_image_folder(tmp_path):
    write_folder(tmp_path, {"train": {"cat": 4, "dog": 4}, "validation": {"cat": 1, "dog": 1}})
    config = folder_config(tmp_path, random_resized_crop=True, flip=True, crop_fraction=0.875)
    cached, read = (load(dataclasses.replace(config, cache=cache), 4, seed=1) for cache in (True, False))
    assert_same(cached.epoch(3), read.epoch(3))
    assert_same(cached.validation, read.validation)


def test_a_grey_image_folder(tmp_path):
    write_folder(tmp_path / "grey", {"train": {"a": 2, "b": 2}, "validation": {"a": 1, "b": 1}}, channels=1)
    assert load(folder_config(tmp_path / "grey", channels=1), 2, seed=0).input_shape == (16, 16, 1)
    images, _ = arrays(load(folder_config(tmp_path / "grey"), 2, seed=0).validation)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    write_folder(tmp_path / "rgb", {"train": {"a": 2, "b": 2}, "validation": {"a": 1, "b": 1}})
    with pytest.raises(ValueError, match="rgb/train/a/0.png has colour, .*; set dataset.channels=3"):
        load(folder_config(tmp_path / "rgb", channels=1), 2, seed=0)


def test_image_folders_that_cannot_serve(tmp_path):
    def refused(match: str, **changes) -> None:
        with pytest.raises(ValueError, match=match):
            load(folder_config(tmp_path / "images", **changes), 1, seed=0)

    refused("is no folder. Expected dataset.data_dir/train/CLASS.* and dataset.data_dir/validation/CLASS")
    (tmp_path / "images").mkdir()
    refused("no folders of splits")
    (tmp_path / "images" / "train").mkdir()
    refused("has the folders train, but no folders of classes")
    write_folder(tmp_path / "images", {"test": {"cat": 1}})
    refused("has no folder 'train', only test")
    write_folder(tmp_path / "images", {"train": {"cat": 2}, "valid": {"dog": 2}})
    refused("has no folder 'dev', only test, train, valid", validation_split="dev")
    refused("classes dog have images to evaluate on but none to train on")


def test_synthetic():
    config = DatasetConfig(
        name="noise",
        source="synthetic",
        builder=None,
        num_classes=5,
        image_size=12,
        channels=3,
        synthetic_train_size=40,
        synthetic_validation_size=7,
    )
    data = load(config, batch_size=16, seed=0)
    assert (data.train_size, data.validation_size, data.steps_per_epoch, data.num_classes) == (40, 7, 2, 5)
    images, labels = arrays(data.validation)
    assert images.shape == (7, 12, 12, 3) and labels.min() >= 0 and labels.max() < 5
    assert_same(data.validation, load(config, batch_size=16, seed=1).validation)
    assert isinstance(data, Data)
