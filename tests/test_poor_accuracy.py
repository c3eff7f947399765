"""The sentence at the end of a training that has not learned, and where there is none."""

import json

import pytest

from helpers.paths import ROOT
from helpers.training import QUICK, config_with_data
from train import train
from zoo.training.facts import training_facts
from zoo.training.poor_accuracy import HELP, poor_accuracy
from zoo.training.progress import closing_table, console

THREE = [8, 8, 8]


@pytest.mark.parametrize(
    "val_top1, train_top1, counts, figures",
    [
        (7 / 24, 1.0, THREE, ("29.17 %", "100.00 %", "33.33 %")),
        (12 / 24, 0.4, THREE, ("50.00 %", "40.00 %", "33.33 %")),  # within two deviations of 9.6 points
        (0.91, 0.95, [90, 10], ("91.00 %", "95.00 %", "90.00 %")),  # nine of ten images are of one class
        (0.70, 0.95, [50, 50], ("70.00 %", "95.00 %")),
    ],
)
def test_a_poor_accuracy_is_one_sentence_with_its_figures(val_top1, train_top1, counts, figures):
    sentence = poor_accuracy(val_top1, train_top1, counts)
    assert all(figure in sentence for figure in figures) and HELP in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    "val_top1, train_top1, counts",
    [
        (14 / 24, 0.6, THREE),  # more than chance
        (0.98, 0.995, [36] * 10),
        (0.80, 1.0, [50, 50]),  # 20 points, not more
        (0.70, 0.95, [2] * 5),  # 25 points, and less than two deviations of ten images
        (1.0, 1.0, [2, 2]),  # all right
        (1.0, 1.0, [10]),  # one class
        (None, None, THREE),
        (float("nan"), 1.0, THREE),
        (0.5, 1.0, []),
    ],
)
def test_nothing_is_said_of_others(val_top1, train_top1, counts):
    assert poor_accuracy(val_top1, train_top1, counts) is None


def test_mixed_labels_have_no_training_accuracy():
    assert poor_accuracy(0.70, 0.95, [50, 50], mixed_labels=True) is None
    sentence = poor_accuracy(0.5, 0.95, [50, 50], mixed_labels=True)
    assert "50.00 %" in sentence and "95" not in sentence


def test_the_sentence_names_a_heading():
    heading = HELP.split('"')[1]
    assert f"\n## {heading}\n" in (ROOT / "docs" / "train.md").read_text()


def shown(result, capsys):
    console().print(closing_table({"name": "net", "status": "finished", **result}, "here"))
    return capsys.readouterr().err


def test_the_table_names_a_better_epoch(capsys):
    rest = {"train_images_per_second": 1.0, "parameters": 1, "macs": 1, "seconds": 1.0}
    better = shown({"val_top1": 7 / 24, "best_val_top1": 14 / 24, "best_epoch": 31, **rest}, capsys)
    assert "29.17 % (best 58.33 %, epoch 31)" in better
    assert "best" not in shown({"val_top1": 0.5, "best_val_top1": 0.5, "best_epoch": 3, **rest}, capsys)
    assert "best" not in shown({"val_top1": 0.5, **rest}, capsys)  # of an evaluation


def test_the_first_of_equally_good_epochs_is_the_best():
    row = {"train/images_per_second": 1.0, "train/skipped_steps": 0}
    rows = [row | {"epoch": epoch, "val/top1": top1} for epoch, top1 in ((1, 0.2), (2, 0.6), (3, 0.6), (4, None))]
    facts = training_facts(rows)
    assert (facts["best_epoch"], facts["best_val_top1"], facts["val_top1"]) == (2, 0.6, None)
    assert training_facts([])["best_epoch"] is None


@pytest.mark.heavy
def test_a_training_that_did_not_learn_says_so(data_dir, tmp_path, capsys):
    cfg = config_with_data(data_dir, *QUICK, "recipe.learning_rate=1e-9")
    result = train(cfg, tmp_path)
    assert result["status"] == "finished" and "is not clearly above" in result["warning"]
    assert json.loads((tmp_path / "result.json").read_text())["warning"] == result["warning"]
    assert result["warning"] in capsys.readouterr().err
