"""From an empty folder: pictures, a training run, a file of int8, and what both say of other pictures."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.paths import ROOT
from helpers.processes import process_environment

SHAPES = ("bar", "disc", "ring")


def draw(folder: Path, split: str, count: int) -> None:
    """Pictures of several sizes and formats, of a bright shape on a dark ground."""
    random = np.random.default_rng(len(split))
    for name in SHAPES:
        (folder / split / name).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(40, 72, 2)
            y, x = np.mgrid[0:height, 0:width]
            away = np.hypot(y - height / 2, x - width / 2)
            inside = {"bar": abs(y - height / 2) < 5, "disc": away < 12, "ring": (away < 16) & (away > 10)}[name]
            pixels = np.where(inside[..., None], random.integers(160, 256, 3), random.integers(0, 96, 3))
            picture = Image.fromarray(np.clip(pixels + random.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8))
            picture.save(folder / split / name / f"{number}.{'jpg' if number % 2 else 'png'}")


def finished(folder: Path, *command: str) -> str:
    """Standard output of a program that ends well in `folder`."""
    env = process_environment(TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, env=env, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def classes(text: str) -> dict[str, int]:
    return {row["picture"]: int(row["index"]) for row in csv.DictReader(io.StringIO(text, newline=""))}


@pytest.mark.heavy
def test_what_is_trained_is_predicted(tmp_path):
    draw(tmp_path / "shapes", "train", 40)
    draw(tmp_path / "shapes", "validation", 20)
    finished(
        tmp_path, str(ROOT / "train.py"), "dataset=image_folder", "dataset.data_dir=shapes", "dataset.image_size=32",
        "dataset.random_resized_crop=false", "model=shufflenet_v2", "model.width=0.5", "tracking=disabled",
        "recipe.batch_size=16", "recipe.epochs=15", "hydra.run.dir=run",
    )  # fmt: skip
    predicted = classes(finished(tmp_path, "-m", "zoo", "predict", "run", "shapes/validation", "--csv", "--top", "1"))
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["classes"] == list(SHAPES) and len(predicted) == 60
    confusion: dict[tuple[int, int], int] = {}
    for path, index in predicted.items():
        cell = SHAPES.index(Path(path).parts[-2]), index
        confusion[cell] = confusion.get(cell, 0) + 1
    assert confusion == {(true, index): count for true, index, count in evaluation["confusion"] if count}
    assert sum(count for (true, index), count in confusion.items() if true == index) >= 50, "it has learnt the shapes"
    finished(tmp_path, "-m", "zoo", "export", "run", "--format", "litert-int8", "-o", "shapes.tflite")
    by_int8 = classes(
        finished(tmp_path, "-m", "zoo", "predict", "shapes.tflite", "shapes/validation", "--csv", "--top", "1")
    )
    assert list(by_int8) == list(predicted)
    assert sum(by_int8[path] == index for path, index in predicted.items()) >= 0.95 * len(predicted)
