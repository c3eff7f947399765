"""Images/s of one and of two workers on this machine's cores, in alternating rounds.

    python benchmarks/distribution.py [--model shufflenet_v2] [--rounds 3] [--steps 40] [--batch 64] [--size 32]

Contenders: one worker on all cores, one worker on one core, and two workers on one core each, which exchange sums over
loopback. Each round is a training by `python train.py` on synthetic images, in processes of their own, bound to their
cores by taskset's system call; the rate is that of the second epoch, after compilation.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import this_copy  # noqa: F401

from zoo.training.local_workers import free_addresses

ROOT = Path(__file__).resolve().parents[1]


def command(arguments: argparse.Namespace, directory: str, *more: str) -> list[str]:
    settings = [f"model={arguments.model}", "dataset=synthetic", f"dataset.image_size={arguments.size}"]
    settings += [f"recipe.batch_size={arguments.batch}", "recipe.epochs=2", "recipe.warmup_epochs=0"]
    settings += [f"limit_steps={arguments.steps}", f"dataset.synthetic_train_size={arguments.steps * arguments.batch}"]
    settings += ["dataset.synthetic_validation_size=8", "tracking=disabled", "checkpoints=disabled"]
    return [sys.executable, str(ROOT / "train.py"), *settings, f"hydra.run.dir={directory}", *more]


def rate(arguments: argparse.Namespace, cores: list[set[int]]) -> float:
    """Images/s of one worker for each set of cores."""
    addresses = free_addresses(len(cores))
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for worker, own in enumerate(cores):
            variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(len(own))}
            more = []
            if len(cores) > 1:
                task = {"type": "worker", "index": worker}
                variables["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
                more = ["distribution=multi_worker"]
            processes.append(
                subprocess.Popen(
                    command(arguments, folder, *more),
                    env=variables,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    preexec_fn=lambda own=own: os.sched_setaffinity(0, own),
                )
            )
        for process in processes:
            _, errors = process.communicate()
            if process.returncode:
                raise SystemExit(errors)
        return json.loads(Path(folder, "result.json").read_text())["train_images_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shufflenet_v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    first, second = sorted(os.sched_getaffinity(0))[:2]
    contenders = {
        "one worker, two cores": [{first, second}],
        "one worker, one core": [{first}],
        "two workers, a core each": [{first}, {second}],
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, cores in contenders.items():
            rates[name].append(rate(arguments, cores))
            print(f"{name}: {rates[name][-1]:.1f} images/s", flush=True)
    whole = statistics.median(rates["one worker, two cores"])
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:26} {median:8.1f} images/s  {median / whole:.2f}")


if __name__ == "__main__":
    main()
