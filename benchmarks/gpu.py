"""Mixed-precision training on an NVIDIA GPU: Keras on JAX against timm, eager and through torch.compile.

usage: python benchmarks/gpu.py [--models NAME ...] [--precisions bfloat16,float16,float32] [--sides zoo,torch,compile]
                                [--batch 128] [--size 224] [--rounds 5] [--jax PYTHON] [--torch PYTHON] [--csv FILE]
       python benchmarks/gpu.py --device cpu --batch 4 --size 64 --precisions bfloat16

The zoo's side is `zoo.create` under KERAS_BACKEND=jax, its training step one jitted function that updates the weights
in place. Each side has a process of its own; they take turns on the GPU, so all networks must fit into its memory
together. A turn is a number of steps with one loss fetched at its end; the time of a step is the median over the
turns. The second form checks on a CPU that it runs; its times say nothing about a GPU.
"""

import argparse
import sys

from network_timing import Turns, compare, measured_ceilings, time_networks
from options import add_network_options, some_of
from sides import ON_CPU, Sides

MODELS = ("resnext50_32x4d", "shufflenet_v2_x1_0", "mobilenetv2_100", "regnety_008")
WORKERS = {"zoo": "jax_side.py", "torch": "torch_side.py", "compile": "torch_side.py"}
MODES = ("train", "infer")
PRECISIONS = ("bfloat16", "float16", "float32")
TURN = 2.0  # seconds of one turn without --steps
# Matrices and blocks that keep a device busy: width, bytes.
LOAD = {"gpu": {"width": 8192, "block": 2**30}, "cpu": {"width": 1024, "block": 2**26}}
PACKAGES = {"jax_side.py": "JAX with CUDA, jax[cuda12]", "torch_side.py": "a PyTorch built for CUDA"}


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_network_options(argument_parser, MODELS, batch=128, size=224)
    argument_parser.add_argument("--modes", type=some_of(MODES), default=["train"])
    argument_parser.add_argument("--precisions", type=some_of(PRECISIONS), default=["bfloat16"])
    argument_parser.add_argument("--sides", type=some_of(WORKERS), default=list(WORKERS))
    argument_parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    argument_parser.add_argument(
        "--jax", default=sys.executable, metavar="PYTHON", help="interpreter that has Keras and JAX"
    )
    argument_parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch and timm"
    )
    return argument_parser


def start(sides: Sides, arguments) -> None:
    """Start all sides; one that finds no GPU, where one is wanted, fails."""
    for side in arguments.sides:
        script = WORKERS[side]
        python = arguments.jax if script == "jax_side.py" else arguments.torch
        sides.start(side, script, python, ON_CPU if arguments.device == "cpu" else {})
    sides.wait()
    for side in list(sides.running):
        greeting = sides.greetings[side]
        if arguments.device == "gpu" and greeting["gpu"] is None:
            needed = PACKAGES[WORKERS[side]]
            sides.fail(side, f"The side {side!r} finds no GPU ({greeting['versions']}): it needs {needed}.")


def ceilings(arguments):
    """What the device can do, by the best of JAX and PyTorch. Ends the program where no side can take part."""
    with Sides() as sides:
        start(sides, arguments)
        if not sides.running:
            sentences = ["Nothing to compare.", *dict.fromkeys(sides.failures.values())]
            if arguments.device == "gpu":
                sentences.append("To check the benchmark without a GPU: --device cpu --batch 4 --size 64.")
            raise SystemExit(" ".join(sentences))
        load = {**LOAD[arguments.device], "precisions": arguments.precisions}
        return measured_ceilings(sides, load)


def measure(arguments, model: str, mode: str, precision: str) -> list[dict]:
    """One row for each side."""
    settings = {"model": model, "mode": mode, "precision": precision, "batch": arguments.batch, "size": arguments.size}
    turns = Turns(arguments.rounds, arguments.steps, TURN, arguments.patience, fetch_each=False)
    with Sides() as sides:
        start(sides, arguments)
        return time_networks(sides, arguments.sides, settings, turns)


def main() -> None:
    arguments = parser().parse_args()
    compare(arguments, ceilings(arguments), measure)


if __name__ == "__main__":
    main()
