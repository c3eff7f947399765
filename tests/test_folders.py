"""Image folders: which files are images of which class, and what is said of all others."""

from __future__ import annotations

import json
import logging
import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import arrays, folder_config, write_folder
from helpers.training import compose_config
from train import train
from zoo.datasets.folders import image_suffixes, list_folder, shown
from zoo.datasets.identity import data_identity
from zoo.datasets.pipeline import load

PETS = {"train": {"cat": 3, "dog": 2}, "validation": {"cat": 1, "dog": 1}}
RED = (200, 30, 40)


@pytest.fixture
def pets(tmp_path) -> Path:
    write_folder(tmp_path / "pets", PETS)
    return tmp_path / "pets"


def picture(path: Path, colour: tuple[int, int, int] = RED, **options) -> Path:
    """A picture of one colour, of 24 x 16 pixels, in the format that Pillow takes from the suffix or is told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), colour).save(path, **options)
    return path


def labels(root: Path, split: str = "train", **changes) -> dict[str, str]:
    """The class of every image of a split, by its path below the split's folder."""
    folder = list_folder(folder_config(root, **changes))
    images = getattr(folder, split)
    names = [os.path.relpath(path, images.folder) for path in images.paths]
    return {name: folder.class_names[label] for name, label in zip(names, images.labels, strict=True)}


def test_classes_and_labels_are_those_of_keras(pets):
    keras = pytest.importorskip("keras")
    picture(pets / "train" / "ant" / "2020" / "a.JPG")
    picture(pets / "train" / "Zebra" / "z.jpeg")
    theirs = keras.utils.image_dataset_from_directory(pets / "train", batch_size=None, shuffle=False, verbose=False)
    ours = list_folder(folder_config(pets))
    assert list(ours.class_names) == theirs.class_names == ["Zebra", "ant", "cat", "dog"]
    assert list(ours.train.paths) == theirs.file_paths
    assert list(ours.train.labels) == [int(label) for _, label in theirs]


@pytest.mark.parametrize(
    "stray",
    [
        "train/.ipynb_checkpoints/0-checkpoint.png",
        "train/__MACOSX/cat/._0.png",
        "train/.hidden.png",
        "train/cat/._0.png",
        "train/cat/.ipynb_checkpoints/0.png",
        "train/cat/Thumbs.db",
        "train/cat/notes.txt",
        "train/loose.png",
        "train/notes/readme.md",
        "train/empty/",
        "train/cat/folder.png/",
        "validation/.DS_Store",
        "validation/bird/",
    ],
)
def test_what_is_no_image_of_a_class_is_left_out_and_named(pets, stray):
    expected = labels(pets), labels(pets, "validation")
    if stray.endswith("/"):
        (pets / stray).mkdir(parents=True)
    elif stray.endswith(".png"):
        picture(pets / stray, format="PNG")
    else:
        (pets / stray).parent.mkdir(parents=True, exist_ok=True)
        (pets / stray).write_text("no image")
    assert (labels(pets), labels(pets, "validation")) == expected
    folder = list_folder(folder_config(pets))
    assert folder.class_names == ("cat", "dog")
    (note,) = folder.notes
    path = Path(stray)
    assert note.startswith(f"Left out of {pets}, ")
    assert any(f"({part}" in note for part in (path, *path.parents[:-2]))  # it, or the folder that it hides in


@pytest.mark.parametrize("other", ["annotations/xml", "__MACOSX/train", ".git/objects", "test/bird", "extra/fish"])
def test_folders_that_are_no_split_in_use_are_none_of_the_data(pets, other):
    picture(pets / other / "x.png")
    folder = list_folder(folder_config(pets))
    assert folder.class_names == ("cat", "dog") and not folder.notes


def test_what_is_left_out_is_counted_and_the_first_are_named(pets):
    for index in range(7):
        (pets / "train" / "cat" / f"note{index}.txt").touch()
        picture(pets / "train" / "dog" / f"._{index}.png")
    (note,) = list_folder(folder_config(pets)).notes
    assert note.startswith(f"Left out of {pets}, 14 in all: ")
    assert (
        "no suffix of an image format: 7 (train/cat/note0.txt, train/cat/note1.txt, " in note
        and "note4.txt, ...)" in note
    )
    assert "hidden: 7 (train/dog/._0.png, " in note


@pytest.mark.parametrize("suffix", ["JPG", "jfif", "png", "bmp", "gif", "webp", "TIFF"])
def test_formats_that_pillow_decodes_are_read(pets, suffix):
    for split in ("train", "validation"):
        picture(pets / split / "bird" / f"0.{suffix}")
    data = load(folder_config(pets, cache=suffix.isupper(), mean=[0.0], std=[1.0]), 6, seed=0)
    assert data.class_names == ("bird", "cat", "dog")
    for batches in (data.epoch(0), data.validation):
        images, marks = arrays(batches)
        (bird,) = images[marks == 0]
        np.testing.assert_allclose(bird * 255, np.broadcast_to(RED, bird.shape), atol=3)


def test_suffixes_are_those_of_formats_that_pillow_decodes():
    assert {
        ".jpg",
        ".jpe",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".tga",
    } <= image_suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ".db", ".json", ""} & image_suffixes()


def test_nested_images_and_links_are_read_and_a_link_back_ends(pets, tmp_path):
    picture(pets / "train" / "cat" / "2020" / "may" / "x.jpg")
    picture(tmp_path / "elsewhere" / "far.png")
    (pets / "train" / "cat" / "link.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    (pets / "train" / "bird").symlink_to(tmp_path / "elsewhere")
    (pets / "train" / "dog" / "again").symlink_to(pets / "train" / "dog")
    (pets / "train" / "dog" / "itself").symlink_to("itself")
    images = labels(pets)
    assert images["cat/2020/may/x.jpg"] == images["cat/link.png"] == "cat" and images["bird/far.png"] == "bird"
    assert sorted(name for name in images if name.startswith("dog")) == ["dog/0.png", "dog/1.png"]
    assert "link to a folder that it lies in: 1 (train/dog/again)" in list_folder(folder_config(pets)).notes[0]


def test_names_in_any_letters(pets, caplog):
    composed, decomposed = (unicodedata.normalize(form, "öre") for form in ("NFC", "NFD"))
    picture(pets / "train" / composed / "猫 1.png")
    picture(pets / "validation" / decomposed / "b.png")
    odd = os.fsdecode(b"caf\xe9\n.png")  # Latin-1, and a line break
    os.rename(picture(pets / "train" / "cat" / "x.png"), pets / "train" / "cat" / odd)
    for cache in (True, False):
        data = load(folder_config(pets, cache=cache), 2, seed=0)
        assert data.class_names == ("cat", "dog", composed)
        assert sorted(arrays(data.validation)[1].tolist()) == [0, 1, 2]
        assert len(arrays(data.epoch(0))[0]) == 6
    assert shown(odd) == "caf\\udce9\\n.png"


def test_a_class_without_validation_images_is_named_in_the_log(pets, caplog):
    picture(pets / "train" / "bird" / "a.png")
    (pets / "train" / "notes.txt").touch()
    with caplog.at_level(logging.WARNING):
        data = load(folder_config(pets), 2, seed=0)
    assert data.class_names == ("bird", "cat", "dog")
    assert arrays(data.validation)[1].tolist() == [1, 2]
    assert caplog.messages == [
        f"Left out of {pets}, 1 in all: outside of the classes' folders: 1 (train/notes.txt).",
        f"{pets / 'validation'} has no images of the classes bird.",
    ]


def refused(root: Path, match: str, **changes) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load(folder_config(root, **changes), 1, seed=0)
    assert "\n" not in str(caught.value)


def test_class_counts_that_cannot_be(pets):
    refused(pets, "num_classes=7, but .*/train has 2 classes; set null or 2", num_classes=7)
    (pets / "train" / "bird").mkdir()
    picture(pets / "validation" / "bird" / "a.png")
    refused(pets, "The classes bird have images to evaluate on but none to train on")
    write_folder(pets / "one", {"train": {"cat": 2}, "validation": {"cat": 1}})
    (pets / "one" / "train" / "empty").mkdir()
    refused(pets / "one", "train holds images of one class alone, cat; classification needs at least 2")


def test_folders_without_splits_or_classes(pets, tmp_path):
    refused(tmp_path / "none", "none .which does not exist. is no folder. Expected dataset.data_dir/train/CLASS")
    refused(picture(tmp_path / "x.png"), "x.png .a file. is no folder")
    picture(tmp_path / "flat" / "x.png")
    refused(tmp_path / "flat", "flat has no folders of splits in it. Expected")
    shutil.rmtree(pets / "train" / "dog")
    refused(pets / "train", "has the folders cat, but no folders of classes in them. Expected")
    picture(tmp_path / "loose" / "train" / "x.png")
    refused(tmp_path / "loose", "has the folders train, but no folders of classes in them")
    (tmp_path / "hollow" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "hollow" / "validation" / "cat").mkdir(parents=True)
    refused(tmp_path / "hollow", "train holds no images; expected .*train/CLASS/")
    refused(
        pets, "no folder 'train.:90%.', only train, validation.*'train.:90%.' are for TFDS", train_split="train[:90%]"
    )


def test_one_folder_is_not_two_splits(pets):
    (pets / "test").symlink_to(pets / "validation")
    refused(pets, "validation and .*test are one folder", test_split="test")
    (pets / "validation").rename(pets / "val")
    (pets / "test").unlink()
    refused(pets, "val and .*val are one folder", test_split="val")


@pytest.mark.heavy
def test_a_run_lists_every_folder_once(pets, tmp_path, monkeypatch):
    """Its size, its examples and its digest come from one listing, the digest's with the images that are skipped."""
    picture(pets / "train" / "cat" / "2020" / "a.png")
    picture(pets / "test" / "dog" / "a.png")
    (pets / "train" / "dog" / "broken.png").write_bytes(b"no image")
    settings = [
        *("dataset=image_folder", f"dataset.data_dir={pets}", "dataset.image_size=32", "dataset.skip_broken=true"),
        *("model=mobilenet_v1", "model.width=0.25", "recipe.batch_size=6", "recipe.epochs=1", "recipe.warmup_epochs=0"),
        "tracking=disabled",
    ]
    cfg = compose_config(*settings)
    listings = Counter()

    def counted(function):
        def listing(folder="."):
            listings[str(folder)] += 1
            return function(folder)

        return listing

    with monkeypatch.context() as patch:
        for name in ("scandir", "listdir"):  # os.walk, glob and pathlib call these
            patch.setattr(os, name, counted(getattr(os, name)))
        train(cfg, tmp_path / "run")
    below = [pets, *(path for path in pets.rglob("*") if path.is_dir())]
    once = dict.fromkeys(below, 1) | {pets / "test" / "dog": 0}  # no split in use
    assert {folder: listings[str(folder)] for folder in below} == once
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "finished" and result["data"]["files"] == 9
    assert result["data"] == data_identity(folder_config(pets))
