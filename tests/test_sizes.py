"""How many training images there are, before TensorFlow is loaded, and the batches that are refused for it."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from helpers.command_line import SLOW, run_train
from helpers.pictures import folder_config, write_folder
from zoo.datasets.config import DIGITS, DatasetConfig
from zoo.datasets.digits import Digits
from zoo.datasets.prepare import prepared_builder
from zoo.datasets.sizes import check_batch_size, training_size

SYNTHETIC = DatasetConfig(name="noise", source="synthetic", builder=None, num_classes=3, synthetic_train_size=40)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    root = tmp_path_factory.mktemp("pets")
    write_folder(root, {"train": {"cat": 4, "dog": 3}, "val": {"cat": 1, "dog": 1}})
    return root


def test_sizes_are_those_of_the_loaded_data(digits, tmp_path, pets):
    builder = prepared_builder(digits)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == DIGITS
    for split in ("train", "validation", "train[:50%]", "train[:33%]+validation[7:]", "all"):
        expected = builder.info.splits[split].num_examples
        for data_dir in (digits.data_dir, str(tmp_path)):  # prepared, and not
            assert training_size(dataclasses.replace(digits, data_dir=data_dir, train_split=split)) == expected
    assert training_size(SYNTHETIC) == 40
    assert training_size(folder_config(pets)) == 7


def test_a_prepared_data_set_of_tfds_has_its_recorded_size(digits, tmp_path):
    """Opened from its files alone, as one is that TFDS has no code of."""
    folder = tmp_path / "sevens"
    shutil.copytree(prepared_builder(digits).data_dir, folder / "1.0.0")
    for path in (folder / "1.0.0").iterdir():
        path.rename(path.with_name(path.name.replace("digits", "sevens")))
    info = folder / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"name": "digits"', '"name": "sevens"'))
    config = dataclasses.replace(digits, name="sevens", builder="sevens", data_dir=str(tmp_path))
    assert training_size(config) == 1437
    assert training_size(dataclasses.replace(config, train_split="train[:10%]")) == 144
    assert training_size(dataclasses.replace(config, train_split="dev")) is None  # the loader says what there is


def test_what_has_to_be_prepared_is_unknown(tmp_path):
    config = DatasetConfig(name="mnist", builder="mnist", data_dir=str(tmp_path), train_split="train[:90%]")
    assert training_size(config) is None
    check_batch_size(config, 10**9)
    assert not list(tmp_path.iterdir())
    assert Digits.VERSION == "1.0.0"  # the sizes are that version's


def test_the_largest_batch_is_named(pets):
    check_batch_size(SYNTHETIC, 40)
    with pytest.raises(ValueError, match="batch_size=41 exceeds the 40 training images of noise, .* possible is 40"):
        check_batch_size(SYNTHETIC, 41)
    with pytest.raises(ValueError, match="batch_size=8 exceeds the 7 training images of folder"):
        check_batch_size(folder_config(pets), 8)


FOLDER = ["dataset=image_folder", "dataset.data_dir=."]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recipe.batch_size=1438"], "batch_size=1438 exceeds the 1437 training images of digits"),
        (
            ["dataset=synthetic", "recipe.batch_size=1025"],
            "batch_size=1025 exceeds the 1024 training images of synthetic",
        ),
        ([*FOLDER, "recipe.batch_size=8"], "batch_size=8 exceeds the 7 training images of image_folder"),
        ([*FOLDER, "dataset.test_split=dev"], ". has no folder 'dev', only train, val"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_they_cost_one_sentence_and_no_time(arguments, sentence, pets):
    done, imported = run_train(*arguments, "hydra.run.dir=run", "hydra.output_subdir=null", cwd=pets)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(sentence)
    assert not imported & {*SLOW}


def test_a_part_of_the_digits_is_counted_without_tensorflow(tmp_path):
    split = ["dataset.train_split='train[:50%]'", f"dataset.data_dir={tmp_path}"]
    done, imported = run_train(*split, "recipe.batch_size=719", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("batch_size=719 exceeds the 718 training images of digits")
    assert not imported & {"tensorflow", "keras"}
