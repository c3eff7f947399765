"""Image folders without a split: which images are held out, and when folders are classes."""

import json
import re

import pytest

from helpers.checks import refusal
from helpers.pictures import folder_config, write_folder
from helpers.training import QUICK, compose_config
from train import train
from zoo.datasets.folders import list_folder
from zoo.datasets.holdout import held_out
from zoo.datasets.identity import folder_identity

COUNTS = {"ant": 20, "bee": 10, "wasp": 4}


def touch(root, counts=COUNTS, suffix="jpg"):
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / name / f"{index}.{suffix}").touch()
    return root


def names(split):
    return [path[len(str(split.folder)) + 1 :] for path in split.paths]


def test_each_class_has_its_share(tmp_path):
    folder = list_folder(folder_config(touch(tmp_path)))
    assert folder.class_names == ("ant", "bee", "wasp")
    assert [folder.validation.labels.count(label) for label in range(3)] == [4, 2, 1]
    assert sorted(names(folder.train) + names(folder.validation)) == sorted(
        f"{name}/{index}.jpg" for name, count in COUNTS.items() for index in range(count)
    )
    for split in (folder.train, folder.validation):
        assert [folder.class_names[label] for label in split.labels] == [name.split("/")[0] for name in names(split)]
    assert folder.notes == (
        f"{tmp_path} has no folders train and validation: 7 of its 34 images of 3 classes are for validation "
        "(dataset.validation_share=0.2), chosen within each class by their names and dataset.split_seed=0.",
    )


def test_it_follows_from_names_and_seed_alone(tmp_path):
    first = names(list_folder(folder_config(touch(tmp_path / "here"))).validation)
    assert names(list_folder(folder_config(touch(tmp_path / "there"))).validation) == first
    assert names(list_folder(folder_config(tmp_path / "here", split_seed=1)).validation) != first
    only_ants = touch(tmp_path / "few", {"ant": 20, "cat": 9})
    assert [name for name in names(list_folder(folder_config(only_ants)).validation) if name[:3] == "ant"] == first[:4]


def test_one_image_more_moves_at_most_one_other():
    existing = [f"ant/{index}.jpg" for index in range(50)]
    before = held_out(existing, 0.2, 0)
    moves = [len((held_out([*existing, f"ant/new-{index}.jpg"], 0.2, 0) - {f"ant/new-{index}.jpg"}) ^ before)
             for index in range(60)]  # fmt: skip
    assert max(moves) <= 1 and moves.count(0) > 30
    assert held_out(existing[::-1], 0.2, 0) == before, "whatever their order"


@pytest.mark.parametrize(
    "count, share, expected", [(1, 0.2, 0), (2, 0.2, 1), (2, 0.99, 1), (3, 0.5, 2), (100, 0.25, 25)]
)
def test_neither_part_is_empty(count, share, expected):
    assert len(held_out([str(number) for number in range(count)], share, 3)) == expected


def test_composed_and_decomposed_names_are_held_out_alike():
    composed = [f"ant/\u00fc{index}" for index in range(40)]
    decomposed = [name.replace("\u00fc", "u\u0308") for name in composed]
    assert {name.replace("u\u0308", "\u00fc") for name in held_out(decomposed, 0.3, 0)} == held_out(composed, 0.3, 0)


def test_the_identity_tells_splits_apart(tmp_path):
    root = touch(tmp_path / "a")
    identities = [
        folder_identity(list_folder(folder_config(where, **changes)))
        for where, changes in (
            (root, {}),
            (touch(tmp_path / "b"), {}),
            (root, {"split_seed": 1}),
            (root, {"validation_share": 0.3}),
        )
    ]
    assert identities[0] == identities[1]
    assert len({each["digest"] for each in identities}) == 3 and {each["files"] for each in identities} == {34}


def test_a_class_may_be_called_train(tmp_path):
    folder = list_folder(folder_config(touch(tmp_path, {"train": 5, "car": 5})))
    assert folder.class_names == ("car", "train") and len(folder.validation.paths) == 2


def test_a_class_of_one_image_is_trained_on_and_named(tmp_path):
    folder = list_folder(folder_config(touch(tmp_path, {"ant": 5, "bee": 1})))
    assert folder.validation.labels == (0,)
    assert folder.notes[-1] == "Of the classes bee there is one image each, to train on."
    alone = touch(tmp_path / "alone", {"ant": 1, "bee": 1})
    assert "holds one image of each class, and so none to validate on." in refusal(
        lambda: list_folder(folder_config(alone))
    )


def test_what_is_left_out_is_said_too(tmp_path):
    touch(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "bee" / ".hidden.jpg").touch()
    (tmp_path / "empty").mkdir()
    first, second = list_folder(folder_config(tmp_path)).notes
    assert first.startswith("Left out of") and ", 3 in all: " in first and "has no folders train" in second


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"train_split": "ant"}, "has the folders ant, bee, wasp, but no folders of classes in them. Expected "),
        ({"test_split": "test"}, "but no folders of classes in them. Expected dataset.data_dir/train/CLASS/*.jpg (or "),
        ({"test_split": "test"}, ", or dataset.data_dir/CLASS/*.jpg, to be split by class."),
        ({"num_classes": 4}, "dataset.num_classes=4, but "),
    ],
)  # fmt: skip
def test_what_is_named_must_be_there(tmp_path, changes, sentence):
    assert sentence in refusal(lambda: list_folder(folder_config(touch(tmp_path), **changes)))


def test_half_a_split_is_no_folder_of_classes(tmp_path):
    """A test split would be a class among others, with the images of all."""
    touch(tmp_path)
    touch(tmp_path / "test")
    assert "has no folder 'train', only test, that holds" in refusal(lambda: list_folder(folder_config(tmp_path)))
    trained = touch(tmp_path / "other" / "train").parent
    sentence = refusal(lambda: list_folder(folder_config(trained)))
    assert f"dataset.data_dir={trained}/train has a share of each class held out for validation." in sentence
    assert len(list_folder(folder_config(trained / "train")).validation.paths) == 7


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "1.5", "nan"])
def test_shares_that_are_none(share):
    from zoo.training.settings import check

    sentence = refusal(
        lambda: check(compose_config("dataset=image_folder", "dataset.data_dir=x", f"dataset.validation_share={share}"))
    )
    assert re.match(r"dataset.validation_share=\S+ (must be above 0 and below 1; try 0\.[19]|is not allowed)", sentence)


def test_a_run_says_how_it_split(tmp_path, caplog):
    write_folder(tmp_path, {"pets": {"cat": 8, "dog": 8}})
    overrides = [*QUICK, "dataset=image_folder", f"dataset.data_dir={tmp_path}/pets", "dataset.image_size=16"]
    result = train(
        compose_config(*overrides, "recipe.batch_size=4", "recipe.epochs=1", "limit_steps=1"), tmp_path / "run"
    )
    assert "4 of its 16 images of 2 classes are for validation" in caplog.text
    assert result["class_names"] == ["cat", "dog"] and result["data"]["files"] == 16
    config = json.loads((tmp_path / "run" / "result.json").read_text())["config"]["dataset"]
    assert (config["validation_share"], config["split_seed"]) == (0.2, 0)
