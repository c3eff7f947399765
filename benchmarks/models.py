"""Training and inference of whole networks: the zoo, stock Keras layers, keras.applications, PyTorch, torch.compile.

usage: python benchmarks/models.py [--models NAME ...] [--modes train,infer] [--precisions float32,bfloat16]
                                   [--sides zoo,keras,applications,torch,compile] [--batch 16] [--size 128]
                                   [--rounds 5] [--steps N] [--torch PYTHON] [--csv FILE]

Each side runs in a process of its own, new for every network, mode and precision; they take turns, so that a noisy
machine slows all of them. A step begins with images in memory and ends with one number fetched to the host. Times are
medians over all rounds; memory is the peak resident set of the timed steps above that of the imported framework.
"""

import argparse
import sys

from network_timing import Turns, compare, measured_ceilings, time_networks
from networks import APPLICATIONS, DEFAULT
from options import add_network_options, positive, some_of
from sides import ON_CPU, Sides

WORKERS = {
    "zoo": "tensorflow_side.py",
    "keras": "tensorflow_side.py",
    "applications": "tensorflow_side.py",
    "torch": "torch_side.py",
    "compile": "torch_side.py",
}
MODES = ("train", "infer")
PRECISIONS = ("float32", "bfloat16")
TURN = 1.0  # seconds of one turn without --steps


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_network_options(argument_parser, DEFAULT, batch=16, size=128)
    argument_parser.add_argument("--modes", type=some_of(MODES), default=list(MODES))
    argument_parser.add_argument("--precisions", type=some_of(PRECISIONS), default=list(PRECISIONS))
    argument_parser.add_argument("--sides", type=some_of(WORKERS), default=list(WORKERS))
    argument_parser.add_argument(
        "--matrix", type=positive, default=4096, help="width of the matrices that measure the ceilings"
    )
    argument_parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch"
    )
    return argument_parser


def start(sides: Sides, side: str, torch: str) -> None:
    """Start the worker of a side; `torch` is the interpreter that has PyTorch."""
    sides.start(side, WORKERS[side], torch if WORKERS[side] == "torch_side.py" else sys.executable, ON_CPU)


def measure(arguments, model: str, mode: str, precision: str) -> list[dict]:
    """One row for each side."""
    settings = {"model": model, "mode": mode, "precision": precision, "batch": arguments.batch, "size": arguments.size}
    with Sides() as sides:
        for side in arguments.sides:
            if side == "applications" and model not in APPLICATIONS:
                sides.fail(side, f"keras.applications has no counterpart of {model}.")
            else:
                start(sides, side, arguments.torch)
        sides.wait()
        turns = Turns(arguments.rounds, arguments.steps, TURN, arguments.patience)
        return time_networks(sides, arguments.sides, settings, turns)


def main() -> None:
    arguments = parser().parse_args()
    with Sides() as sides:
        for side in {WORKERS[side]: side for side in arguments.sides}.values():
            start(sides, side, arguments.torch)
        sides.wait()
        limits = measured_ceilings(sides, {"width": arguments.matrix, "precisions": arguments.precisions})
    compare(arguments, limits, measure)


if __name__ == "__main__":
    main()
