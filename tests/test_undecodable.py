"""Images and records that cannot be decoded: named before training where that is cheap, and in it otherwise."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import blocks  # noqa: F401  (saved models hold its layers)
from helpers.pictures import arrays, folder_config, write_folder
from helpers.training import TINY, compose_config
from train import train
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import load
from zoo.datasets.undecodable import UndecodableError

COUNTS = {"train": {"cat": 5, "dog": 4}, "validation": {"cat": 2, "dog": 2}}


@pytest.fixture(params=["png", "jpg"])
def pets(tmp_path, request) -> Path:
    write_folder(tmp_path / "pets", COUNTS, suffix=request.param)
    return tmp_path / "pets"


def one(pets: Path, split: str = "train") -> Path:
    return next((pets / split / "cat").glob("1.*"))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")


def text(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


def dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def bomb(path: Path) -> None:
    """The header of a PNG of 60,000 x 60,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def in_its_midst(path: Path) -> None:
    """Header and end stay sound."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)


HARM = {
    half: "damaged or cut off",
    without_its_end: "damaged or cut off",
    empty: "it is empty",
    web_page: "no image of a format that Pillow knows",
    text: "no image of a format that Pillow knows",
    dead_link: "No such file or directory",
    pipe: "no regular file",
    bomb: "exceeds limit of .* pixels",
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_cannot_be_decoded_is_named_before_training(pets, harm, split):
    path = one(pets, split)
    harm(path)
    with pytest.raises(UndecodableError) as caught:
        load(folder_config(pets, cache=False), 2, seed=0)
    assert str(caught.value).startswith(f"{path} cannot be decoded: ")
    assert caught.match(HARM[harm]) and caught.match("dataset.skip_broken=true")
    assert "\n" not in str(caught.value)


def test_several_are_counted(pets):
    for path in (pets / "train" / "dog").iterdir():
        empty(path)
    with pytest.raises(UndecodableError, match=r"train/dog/0.* it is empty, nor can 3 \(.*dog/1.*dog/3.*\) more"):
        load(folder_config(pets), 2, seed=0)


@pytest.mark.parametrize("pets", ["png"], indirect=True)
@pytest.mark.parametrize("changes", [
    {"cache": False},
    *(pytest.param(each, marks=pytest.mark.heavy) for each in ({"cache": True}, {"random_resized_crop": True})),
])  # fmt: skip
def test_they_are_left_out_and_counted_where_that_is_asked_for(pets, caplog, changes):
    clean = arrays(load(folder_config(pets, **changes), 1, seed=0).validation)
    for number, harm in enumerate([*HARM, in_its_midst]):
        added = pets / "train" / "dog" / f"broken{number}.png"
        shutil.copy(pets / "train" / "cat" / "0.png", added)
        harm(added)
    shutil.copy(pets / "train" / "cat" / "0.png", pets / "validation" / "cat" / "00.png")
    in_its_midst(pets / "validation" / "cat" / "00.png")
    with caplog.at_level(logging.WARNING):
        data = load(folder_config(pets, skip_broken=True, **changes), 3, seed=0)
    warning = next(message for message in caplog.messages if "skip_broken" in message)
    assert "10 (train/dog/broken0.png: it is damaged or cut off, " in warning
    assert "of 23 images cannot be decoded and are left out" in warning
    assert (data.train_size, data.validation_size, data.class_names) == (9, 4, ("cat", "dog"))
    assert sorted(arrays(data.epoch(0))[1].tolist()) == [0] * 5 + [1] * 4
    for ours, theirs in zip(arrays(data.validation), clean, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_class_of_which_nothing_is_left_is_refused(pets):
    for path in (pets / "train" / "dog").iterdir():
        half(path)
    with pytest.raises(UndecodableError, match="No image of the class dog in .*train can be decoded"):
        load(folder_config(pets, skip_broken=True), 2, seed=0)


@pytest.mark.parametrize("pets", ["png"], indirect=True)
def test_what_is_damaged_in_its_midst_is_named_when_it_is_read(pets):
    path = one(pets, "validation")
    in_its_midst(path)
    with pytest.raises(UndecodableError, match=f"{path} cannot be decoded: it is damaged"):
        load(folder_config(pets), 2, seed=0)
    data = load(folder_config(pets, cache=False), 2, seed=0)
    with pytest.raises(UndecodableError, match=f"{path} cannot be decoded"), data.naming_what_is_broken():
        arrays(data.validation)
    path.unlink()
    with (
        pytest.raises(UndecodableError, match=f"{path} cannot be decoded: No such file or directory"),
        data.naming_what_is_broken(),
    ):
        arrays(data.validation)
    with pytest.raises(tf.errors.InvalidArgumentError), data.naming_what_is_broken():
        tf.reshape(tf.zeros((3,)), (2,))  # not of the data


@pytest.mark.heavy
@pytest.mark.parametrize("pets", ["png"], indirect=True)
def test_a_run_that_meets_one_keeps_what_was_learnt(pets, tmp_path):
    path = one(pets, "validation")
    in_its_midst(path)
    cfg = compose_config(
        *("dataset=image_folder", f"dataset.data_dir={pets}", "dataset.image_size=32", "dataset.cache=false"),
        *(*TINY, "tracking=disabled", "recipe.batch_size=4"),
    )
    directory = tmp_path / "run"
    with pytest.raises(UndecodableError) as caught:
        train(cfg, directory)
    assert str(caught.value).startswith(f"{path} cannot be decoded")
    result = json.loads((directory / "result.json").read_text())
    assert result["status"] == "failed" and str(caught.value) in result["error"]
    model = keras.models.load_model(directory / "model.keras")
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == result["parameters"]


class Damaged(tfds.core.GeneratorBasedBuilder):
    """Six images, one of which is none."""

    VERSION = tfds.core.Version("1.0.0")
    broken: Path

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, None)),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            supervised_keys=("image", "label"),
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(6, 4), "validation": self._generate_examples(2, None)}

    def _generate_examples(self, count, broken):
        for index in range(count):
            image = np.full((9, 9, 3), (200, 30, 40 * index), np.uint8)
            yield index, {"image": str(self.broken) if index == broken else image, "label": index % 2}


@pytest.mark.parametrize("cache", [True, False])
def test_a_broken_record_of_tfds_is_named(tmp_path, cache):
    Damaged.broken = tmp_path / "x.png"
    web_page(Damaged.broken)
    config = DatasetConfig(builder="damaged", data_dir=str(tmp_path / "data"), channels=3, image_size=8, cache=cache)
    match = r"Record 4 \(from 0\) of .*damaged-train.tfrecord.*, split train of damaged/1.0.0, cannot be decoded"
    with pytest.raises(UndecodableError, match=match):
        data = load(config, 3, seed=0)
        with data.naming_what_is_broken():
            arrays(data.epoch(0))
    with pytest.raises(UndecodableError, match=r"Record 0 \(from 0\) of .* has colour, but dataset.channels=1"):
        data = load(dataclasses.replace(config, channels=1), 3, seed=0)
        with data.naming_what_is_broken():
            arrays(data.epoch(0))
