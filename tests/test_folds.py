"""Folds: disjoint, complete and stratified, for every kind of data; what is no fold is refused in a sentence."""

import dataclasses

import numpy as np
import pytest

from helpers.checks import refusal
from helpers.pictures import arrays, folder_config, rows, write_folder
from zoo.datasets.config import DatasetConfig, check
from zoo.datasets.folders import list_folder
from zoo.datasets.holdout import fold_numbers
from zoo.datasets.identity import data_identity
from zoo.datasets.pipeline import load
from zoo.datasets.validation import validation_images

SYNTHETIC = DatasetConfig(source="synthetic", num_classes=4, synthetic_train_size=50)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder / "split", {"train": {"a": 13, "b": 9}, "validation": {"a": 1, "b": 1}})
    write_folder(folder, {"unsplit": {"a": 13, "b": 9}})
    return folder


def configured(kind, digits, pictures):
    if kind == "synthetic":
        return SYNTHETIC
    if kind in ("pixels", "records"):
        return dataclasses.replace(digits, cache=kind == "pixels", crop_padding=0, train_split="train[:60]")
    if kind == "encoded":  # training images are kept whole, those to validate on as squares
        return dataclasses.replace(digits, random_resized_crop=True, crop_padding=0, train_split="train[:60]")
    return folder_config(pictures / kind, cache=kind == "unsplit")


@pytest.mark.parametrize("kind", [
    "pixels",
    "unsplit",
    *(pytest.param(kind, marks=pytest.mark.heavy) for kind in ("synthetic", "records", "encoded", "split")),
])  # fmt: skip
def test_folds_are_disjoint_complete_and_stratified(kind, digits, pictures):
    config, count = configured(kind, digits, pictures), 2
    parts, classes = [], []
    for number in range(count):
        data = load(dataclasses.replace(config, fold=f"{number}/{count}"), batch_size=1, seed=number)
        images, labels = arrays(data.validation)
        assert len(images) == data.validation_size
        if number == 0 and kind != "encoded":  # which crops at random
            trained, trained_labels = arrays(data.epoch(0))
            assert len(trained) == data.train_size and not set(rows(trained)) & set(rows(images))
            np.testing.assert_array_equal(np.bincount(trained_labels), data.class_counts())
        parts.append(set(rows(images)))
        classes.append(np.bincount(labels, minlength=data.num_classes))
        assert len(parts[-1]) == len(images) and data.train_size + len(images) == total(kind)
    assert len(set.union(*parts)) == sum(map(len, parts)) == total(kind)
    assert np.ptp(classes, axis=0).max() <= 1 and np.ptp(np.sum(classes, axis=1)) <= 1


def total(kind):
    return {"synthetic": 50, "split": 22, "unsplit": 22}.get(kind, 60)


def test_a_fold_follows_from_split_seed_and_not_from_the_seed(digits):
    config = dataclasses.replace(digits, fold="1/3", crop_padding=0)
    first, again = (arrays(load(config, 10, seed=seed).validation)[0] for seed in (0, 1))
    np.testing.assert_array_equal(first, again)
    other = arrays(load(dataclasses.replace(config, split_seed=1), 10, seed=0).validation)[0]
    assert set(rows(first)) != set(rows(other))


@pytest.mark.parametrize("kind", ["synthetic", "pixels", "split", "unsplit"])
def test_the_validation_images_of_a_run_are_those_of_its_fold(kind, digits, pictures):
    config = dataclasses.replace(configured(kind, digits, pictures), fold="2/4")
    data = load(config, 1, seed=0, training=False)
    images, labels = arrays(data.validation)
    again = list(validation_images(config, most=len(labels)))
    np.testing.assert_array_equal([image for image, _ in again], images)
    assert [label for _, label in again] == labels.tolist()


def test_the_folds_of_a_folder_are_of_the_same_data_and_do_not_depend_on_where_it_lies(pictures, tmp_path):
    write_folder(tmp_path, {"train": {"a": 13, "b": 9}})
    folds = [folder_config(root, fold=f"{number}/3") for root in (pictures / "split", tmp_path) for number in range(3)]
    assert len({tuple(data_identity(config).values()) for config in folds}) == 1
    here, there = list_folder(folds[1]), list_folder(folds[4])
    names = [[path[len(str(each.root)) :] for path in each.validation.paths] for each in (here, there)]
    assert names[0] == names[1] and len(names[0]) == 7


def test_every_fold_has_its_share_of_every_class():
    labels = np.repeat(np.arange(5), [1, 2, 10, 33, 104]).tolist()
    names = [f"{index}" for index in range(150)]
    numbers = np.array(fold_numbers(names, labels, 4, seed=0))
    for label in range(5):
        assert np.ptp(np.bincount(numbers[np.array(labels) == label], minlength=4)) <= 1
    assert np.ptp(np.bincount(numbers)) <= 1
    assert numbers.tolist() == fold_numbers(names, labels, 4, seed=0) != fold_numbers(names, labels, 4, seed=1)


@pytest.mark.parametrize(
    ("fold", "part"),
    [
        ("5/5", "counted from 0/5 to 4/5; the nearest is 4/5"),
        ("-1/5", "the nearest is 0/5"),
        ("0/1", "at least 2 folds; the nearest is 0/2"),
        ("3/0", "the nearest is 1/2"),
        ("x", "write the number of the fold"),
        ("", "write the number of the fold"),
        ("0/5 ", "write the number of the fold"),
        ("1/5/2", "write the number of the fold"),
        ("\u0660/\u0665", "write the number of the fold"),
    ],
)
def test_what_is_no_fold_is_refused(fold, part):
    sentence = refusal(lambda: check(dataclasses.replace(SYNTHETIC, fold=fold)))
    assert f"dataset.fold={fold!r} is not allowed" in sentence and part in sentence


def test_folds_that_leave_nothing_are_refused(tmp_path):
    assert "at most 50 folds" in refusal(lambda: load(dataclasses.replace(SYNTHETIC, fold="0/51"), 1, seed=0))
    write_folder(tmp_path, {"train": {"a": 4, "rare": 1}})
    outcomes = []
    for number in range(2):
        config = folder_config(tmp_path, fold=f"{number}/2")
        try:
            outcomes.append(len(list_folder(config).train.paths))
        except ValueError as error:
            outcomes.append(str(error))
    (sentence,) = [each for each in outcomes if isinstance(each, str)]
    assert "leaves no image of the class rare to train on" in sentence


def test_a_test_split_may_not_be_part_of_the_folds(digits):
    config = dataclasses.replace(digits, fold="0/5", test_split="train[90%:]")
    assert "share examples" in refusal(lambda: check(config))
    assert load(dataclasses.replace(config, test_split="validation"), 10, seed=0).test_size == 360
