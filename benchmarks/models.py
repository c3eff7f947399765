"""Training and inference of whole networks: the zoo, stock Keras layers, keras.applications, PyTorch, torch.compile.

usage: python benchmarks/models.py [--models NAME ... | --all-families] [--modes train,infer]
                                   [--precisions float32,bfloat16]
                                   [--contenders zoo,keras,applications,torch,compile] [--batch 16] [--size 128]
                                   [--rounds 5] [--steps N] [--torch PYTHON] [--csv FILE]

Each contender has its own process, new for every network, mode and precision; they run in alternating rounds, so that
a noisy machine slows all of them. A step begins with images in memory and ends with one number fetched to the host.
Times are medians over all rounds; memory is the peak resident set of the timed steps above that of the imported
framework.
"""

import argparse
import sys

from contenders import ON_CPU, Contenders
from network_timing import Schedule, compare, measured_ceilings, time_networks
from networks import APPLICATIONS, DEFAULT
from options import add_families_option, add_network_options, add_torch_option, positive, some_of

WORKERS = {
    "zoo": "tensorflow_worker.py",
    "keras": "tensorflow_worker.py",
    "applications": "tensorflow_worker.py",
    "torch": "torch_worker.py",
    "compile": "torch_worker.py",
}
MODES = ("train", "infer")
PRECISIONS = ("float32", "bfloat16")
ROUND_SECONDS = 1.0  # of one contender in a round, without --steps


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_network_options(argument_parser, DEFAULT, batch=16, size=128)
    add_families_option(argument_parser)
    argument_parser.add_argument("--modes", type=some_of(MODES), default=list(MODES))
    argument_parser.add_argument("--precisions", type=some_of(PRECISIONS), default=list(PRECISIONS))
    argument_parser.add_argument("--contenders", type=some_of(WORKERS), default=list(WORKERS))
    argument_parser.add_argument(
        "--matrix", type=positive, default=4096, help="width of the matrices that measure the ceilings"
    )
    add_torch_option(argument_parser)
    return argument_parser


def start(contenders: Contenders, contender: str, torch: str) -> None:
    """Start the worker of a contender; `torch` is the interpreter that has PyTorch."""
    contenders.start(
        contender, WORKERS[contender], torch if WORKERS[contender] == "torch_worker.py" else sys.executable, ON_CPU
    )


def measure(arguments, model: str, mode: str, precision: str) -> list[dict]:
    """One row for each contender."""
    settings = {"model": model, "mode": mode, "precision": precision, "batch": arguments.batch, "size": arguments.size}
    with Contenders() as contenders:
        for contender in arguments.contenders:
            if contender == "applications" and model not in APPLICATIONS:
                contenders.fail(contender, f"keras.applications has no counterpart of {model}.")
            else:
                start(contenders, contender, arguments.torch)
        contenders.wait()
        schedule = Schedule(arguments.rounds, arguments.steps, ROUND_SECONDS, arguments.timeout)
        requests = {contender: {"contender": contender, **settings} for contender in arguments.contenders}
        return time_networks(contenders, requests, schedule)


def main() -> None:
    arguments = parser().parse_args()
    with Contenders() as contenders:
        for contender in {WORKERS[contender]: contender for contender in arguments.contenders}.values():
            start(contenders, contender, arguments.torch)
        contenders.wait()
        limits = measured_ceilings(contenders, {"width": arguments.matrix, "precisions": arguments.precisions})
    compare(arguments, limits, measure)


if __name__ == "__main__":
    main()
