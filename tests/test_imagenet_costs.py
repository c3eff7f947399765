"""The costs of ImageNet follow from the committed measurements, and the page says what the program prints."""

import csv
import sys

import pytest

from helpers.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import imagenet_costs

PAGE = (ROOT / "docs" / "costs.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize(
    "arguments",
    [["--price", "2.50"], [str(RESULTS / "models-train.csv"), "--precision", "float32"]],
    ids=["gpu", "cpu"],
)
def test_the_page_has_what_the_program_prints(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["imagenet_costs.py", *arguments])
    imagenet_costs.main()
    machine, empty, *table = capsys.readouterr().out.splitlines()
    assert empty == "" and len(table) == 2 + 6
    assert "\n".join(table) in PAGE
    shown = f"python benchmarks/imagenet_costs.py {' '.join(arguments)}".replace(f"{ROOT}/", "")
    assert (
        f"\n{shown}\n" in PAGE
        and machine.split(";")[0].split(" of ")[0].replace("NVIDIA H100 80GB HBM3", "H100 80GB") in PAGE
    )


def test_hours_and_prices_by_hand():
    with (RESULTS / "gpu-train.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["contender"], row["model"]) == ("zoo", "resnext50_32x4d")]
    expected = 100 * 1_281_167 / float(rows[0]["images_per_s"]) / 3600  # of 100 epochs
    assert f"| 100 | 4,412.1 | 4,412.1 | {expected:.1f} | {expected * 2.5:.0f} |" in PAGE and round(expected, 1) == 8.1
    assert imagenet_costs.hours(4412.08, 100) == pytest.approx(expected)
    assert imagenet_costs.hours(4412.08, 100, devices=8) == pytest.approx(expected / 8)
    assert imagenet_costs.at_224(49, 128) == pytest.approx(16) and imagenet_costs.at_224(5, 224) == 5
    assert {name: imagenet_costs.epochs(recipe) for name, recipe in imagenet_costs.RECIPES.items()} == {
        "resnext50_32x4d": 100, "shufflenet_g3_w1": 240, "shufflenet_v2_x1_0": 240, "mobilenetv2_100": 412,
        "mobilenetv3_large_100": 600, "regnety_008": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--devices", "0"], "--devices must be at least 1"),
        (["--price", "-1"], "--price no less than 0"),
        (["none.csv"], "there is no file none.csv"),
        (["--precision", "int8"], "has no training step of the zoo in --precision int8"),
        (["--recipe", "regnety_008"], "--recipe takes NAME=RECIPE"),
        (["--recipe", "regnety_008=regnett"], "there is no recipe regnett"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(arguments, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["imagenet_costs.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        imagenet_costs.main()
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
