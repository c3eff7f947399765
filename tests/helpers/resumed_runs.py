"""Runs that are killed and go on: how they are started, and what two of them must have in common."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path

import h5py
import numpy as np

from helpers.training import TINY, command

# With random numbers of every kind: order, augmentation, dropout.
RESUMABLE = [*TINY, "tracking=disabled", "recipe.warmup_epochs=0", "recipe.dropout=0.2", "dataset.crop_padding=1"]
TIMES = ("second", "memory")  # in the names of columns that differ from run to run


def resumable(data_dir: str, directory: Path, *options: str) -> list[str]:
    """The command of a run that goes on where it has been stopped, if it has."""
    return command(data_dir, *RESUMABLE, *options, "deterministic=true", "resume=auto", f"hydra.run.dir={directory}")


def final_weights(directory: Path) -> str:
    """A digest of every weight in `model.keras`, by its name."""
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            digest.update(name.encode() + np.asarray(item[()]).tobytes())

    with zipfile.ZipFile(directory / "model.keras") as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(add)
    return digest.hexdigest()


def figures(directory: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv` without what depends on the clock, to the last digit."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: text for key, text in row.items() if not any(word in key for word in TIMES)} for row in rows]
