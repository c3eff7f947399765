"""Training runs of a small network: their configuration, the command, and what they leave."""

import csv
import json
import sys

from hydra import compose, initialize_config_dir

from helpers.paths import CONF, ROOT

TINY = ["model=mobilenet_v1", "model.width=0.25"]
QUICK = [*TINY, "tracking=disabled", "limit_steps=4", "recipe.epochs=2", "recipe.warmup_epochs=0"]


def compose_config(*overrides):
    """The configuration as Hydra composes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def config_with_data(data_dir, *overrides):
    return compose_config(f"dataset.data_dir={data_dir}", *overrides)


def command(data_dir, *overrides):
    return [sys.executable, str(ROOT / "train.py"), f"dataset.data_dir={data_dir}", *overrides]


def read_run(directory):
    """The rows of `metrics.csv` as numbers, and `result.json`."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]
    return rows, json.loads((directory / "result.json").read_text())
