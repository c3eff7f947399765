"""Run directories as training writes them, with figures that are made up: for tests, and to measure the page."""

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

COSTS = {  # family: parameters, multiply-accumulates, seconds of one image, how accurate it gets
    "resnext": (23_000_000, 4_200_000_000, 0.021, 0.96),
    "shufflenet_v1": (1_900_000, 140_000_000, 0.006, 0.91),
    "shufflenet_v2": (1_300_000, 148_000_000, 0.004, 0.93),
    "mobilenet_v1": (3_200_000, 570_000_000, 0.005, 0.92),
    "mobilenet_v2": (2_200_000, 300_000_000, 0.007, 0.94),
    "mobilenet_v3": (1_500_000, 60_000_000, 0.0055, 0.925),
    "regnet": (2_300_000, 200_000_000, 0.008, 0.945),
    "convnext": (28_000_000, 4_500_000_000, 0.025, 0.95),
}
COLUMNS = (
    *("epoch", "train/loss", "train/top1", "train/images_per_second", "train/seconds", "learning_rate"),
    *("val/loss", "val/top1", "val/top5", "peak_memory_bytes", "seconds"),
)
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def result(family: str = "resnext", groups: int | None = 32, seed: int = 0, **more: Any) -> dict[str, Any]:
    """What result.json says of a finished run; `more` replaces or adds keys."""
    parameters, macs, latency, accuracy = COSTS[family]
    chance = random.Random(f"{family} {groups} {seed}")
    scale = 1 + 0.02 * (groups or 1)
    top1 = min(0.999, accuracy + 0.004 * math.log2(groups or 1) + chance.gauss(0, 0.003))
    values = {
        "status": "finished",
        "name": f"{family}{'' if groups is None else f'-g{groups}'}-fashion_mnist",
        "group": "fashion_mnist",
        "model": family,
        "family": family,
        "family_settings": {"groups": groups},
        "groups": groups,
        "dataset": "fashion_mnist",
        "seed": seed,
        "small_stem": True,
        "commit": "0123456789abcdef",
        "dirty": False,
        "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
        "kernels": True,
        "processor": "a processor",
        "threads": 2,
        "data": {"builder": "fashion_mnist/3.0.1"},
        "parameters": round(parameters / scale),
        "macs": round(macs / scale),
        "activations": round(macs / 60),
        "epochs": 5,
        "epochs_planned": 5,
        "train_loss": 3 * (1 - top1),
        "val_loss": 3.5 * (1 - top1),
        "val_top1": top1,
        "val_top5": (1 + top1) / 2,
        "best_val_top1": top1,
        "train_images_per_second": 2 / latency * chance.uniform(0.9, 1.1),
        "peak_memory_bytes": 900_000_000 + 20 * parameters,
        "latency_seconds": latency * chance.uniform(0.95, 1.1),
        "seconds": 400.0 * latency * chance.uniform(90, 110),
    }
    values |= more
    values["config"] = more.get("config") or {
        "seed": values["seed"],
        "groups": values["groups"],
        "model": {"family": values["family"], "groups": values["groups"]},
        "dataset": {"name": values["dataset"], "data_dir": f"/data/{seed}"},
        "recipe": {"epochs": values["epochs_planned"], "learning_rate": 0.002, "optimizer": "adamw"},
        "tracking": {"mode": "disabled", "name": None},
    }
    return values


def write_run(
    folder: Path, values: dict[str, Any], epochs: int | None = None, classes: tuple[str, ...] | None = CLASSES
) -> Path:
    """Write `result.json`, `metrics.csv` and, if there are classes, `evaluation.json`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(values, indent=2))
    chance = random.Random(json.dumps(values, default=str))
    epochs = values.get("epochs", 5) if epochs is None else epochs
    final, seconds = values.get("val_top1") or 0.9, values.get("seconds") or 100.0
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for epoch in range(1, epochs + 1):
            last = epoch == epochs
            top1 = final * (1 - math.exp(-4 * epoch / epochs)) / (1 - math.exp(-4)) + chance.gauss(0, 0.006)
            top1 = final if last else min(max(top1, 0.0), 1.0)
            loss = 3.5 * (1 - top1) + 0.02
            speed, each = 300 * chance.uniform(0.9, 1.1), 0.8 * seconds / epochs
            row = [epoch, 0.85 * loss, min(1.0, top1 * 1.01), speed, each, 0.002 / epoch, loss, top1, (1 + top1) / 2]
            rows.writerow([*row, 1_000_000_000, seconds * epoch / epochs])
    if classes:
        cells = []
        for truth in range(len(classes)):
            wrong = round(100 * (1 - final) * chance.uniform(0.3, 1.7))
            cells.append([truth, truth, 100 - wrong])
            other = (truth + chance.randrange(1, len(classes))) % len(classes) if len(classes) > 1 else truth
            if wrong and other != truth:
                cells.append([truth, other, wrong])
        told_evaluation = {"split": "validation", "classes": list(classes), "confusion": cells}
        (folder / "evaluation.json").write_text(json.dumps(told_evaluation))
    return folder


def write_sweep(folder: Path, seeds: int = 2) -> list[Path]:
    """A folder as a sweep over families, groups and seeds leaves it: numbered run directories."""
    runs = [
        result(family, groups, seed)
        for family in COSTS
        for groups in ((1, 8, 32) if family == "resnext" else (1, 4) if family == "shufflenet_v1" else (None,))
        for seed in range(seeds)
    ]
    return [write_run(folder / str(number), values) for number, values in enumerate(runs)]
