"""What checkpoints cost a training: time of an epoch, peak memory, and whether memory grows with the epochs.

usage: python benchmarks/checkpoints.py [--rounds 3] [OVERRIDE ...]

    python benchmarks/checkpoints.py --rounds 3 dataset=digits model=resnext recipe.epochs=10

`train.py` runs with and without checkpoints in turn, each in a process of its own, with the overrides. An epoch is from
one row of metrics.csv to the next, its validation and the checkpoint included, the first one left out; the ratio of
each round is that of the medians. Resident memory is read from outside when a row appears.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from machine import busy_share, identity
from report import read_csv

ROOT = Path(__file__).resolve().parents[1]
CONTENDERS = {"without": ["checkpoints=disabled"], "with": []}


def trained(directory: Path, overrides: list[str]) -> tuple[float, int, list[int]]:
    """Seconds of an epoch, peak memory in bytes, and resident memory in bytes after each epoch."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides, "tracking=disabled", f"hydra.run.dir={directory}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        watched, resident, metrics = psutil.Process(process.pid), [], directory / "metrics.csv"
        while process.poll() is None:
            rows = metrics.read_text().count("\n") - 1 if metrics.exists() else 0
            if rows > len(resident):
                resident.append(watched.memory_info().rss)
            time.sleep(0.01)
        if process.returncode:
            raise SystemExit(process.stderr.read())
    times = [float(row["seconds"]) for row in read_csv(metrics)]
    epochs = [later - earlier for earlier, later in itertools.pairwise(times)]
    return statistics.median(epochs), json.loads((directory / "result.json").read_text())["peak_memory_bytes"], resident


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options, overrides = parser.parse_known_args()
    print(f"{identity()}, {busy_share():.0%} busy")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            measured = {}
            for name, own in CONTENDERS.items():
                measured[name] = trained(Path(folder, f"{name}-{number}"), [*overrides, *own])
            (plain, plain_peak, _), (seconds, peak, resident) = measured["without"], measured["with"]
            sizes = [file.stat().st_size for file in Path(folder, f"with-{number}").glob("checkpoints/*")]
            print(
                f"epoch {plain:.3f} s without, {seconds:.3f} s with checkpoints of {max(sizes) / 1e6:.0f} MB: "
                f"{seconds / plain:.3f} times; peak {plain_peak / 2**20:.0f} and {peak / 2**20:.0f} MiB: "
                f"{peak / plain_peak:.3f} times; resident after epoch 2 and {len(resident)}: "
                f"{resident[1] / 2**20:.0f} and {resident[-1] / 2**20:.0f} MiB: {resident[-1] / resident[1]:.3f} times",
                flush=True,
            )


if __name__ == "__main__":
    main()
