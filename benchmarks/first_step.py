"""Seconds from `zoo.create` to the end of the first training step: building, compiling and tracing a network.

usage: python benchmarks/first_step.py [NAME ...] [--against DIRECTORY] [--rounds 3] [--size 64]

    python benchmarks/first_step.py --against ../before

Each measurement is a process of its own, with the kernels ready; with `--against`, another checkout of this project is
measured in turn with this one, and the ratio of each round is of the two. Wall time and processor time, of all threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from machine import busy_share, identity

NETWORKS = (
    *("resnext50_32x4d", "shufflenet_g3_w1", "shufflenet_v2_x1_0"),
    *("mobilenetv2_100", "mobilenetv3_large_100", "regnety_008"),
)
MEASURED = """
import json, sys, time
import keras, numpy as np, tensorflow as tf
import zoo
from blocks.ops.tensorflow.runtime import kernels
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig

name, size = sys.argv[1], int(sys.argv[2])
kernels()
keras.layers.Dense(2)(np.ones((1, 2), "float32"))  # what every first layer of a process pays
images, labels = np.random.rand(8, size, size, 3).astype("float32"), np.arange(8) % 10
batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
marks = [(time.perf_counter(), time.process_time())]
def mark():
    marks.append((time.perf_counter(), time.process_time()))
model = zoo.create(name, 10, (size, size, 3))
mark()
compile_model(model, RecipeConfig(), 100)
mark()
model.fit(batches, steps_per_epoch=1, verbose=0)
mark()
print(json.dumps([[later - earlier for later, earlier in zip(*pair)] for pair in zip(marks[1:], marks)]))
"""


def measured(checkout: Path, name: str, size: int) -> list[tuple[float, float]]:
    """Wall and processor seconds of creating, compiling and the first step."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", MEASURED, name, str(size)]
    process = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="pixels of the images")
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    checkouts = [here] if options.against is None else [options.against.resolve(), here]
    print(
        f"{identity()}, {busy_share():.0%} busy; seconds of wall time / of the processor; create + compile + first step"
    )
    for name in options.names:
        rounds = [[measured(checkout, name, options.size) for checkout in checkouts] for _ in range(options.rounds)]
        for index, checkout in enumerate(checkouts):
            parts = [
                " / ".join(f"{statistics.median(each[index][part][kind] for each in rounds):.2f}" for kind in (0, 1))
                for part in range(3)
            ]
            total = [statistics.median(sum(part[kind] for part in each[index]) for each in rounds) for kind in (0, 1)]
            print(f"{name:24} {checkout.name:12} {' + '.join(parts)} = {total[0]:.2f} / {total[1]:.2f}", flush=True)
        if len(checkouts) > 1:
            ratios = sorted(sum(part[1] for part in each[0]) / sum(part[1] for part in each[1]) for each in rounds)
            print(
                f"{'':24} processor time, {checkouts[0].name} / {here.name}: {statistics.median(ratios):.2f} "
                f"[{ratios[0]:.2f}, {ratios[-1]:.2f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
