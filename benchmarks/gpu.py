"""Mixed-precision training on an NVIDIA GPU: Keras on JAX against timm, eager and through torch.compile.

Contenders: "zoo"; "keras", the same networks on stock Keras layers, on JAX too; "torch", PyTorch as it comes;
"compile", torch.compile; "graphs", torch.compile with CUDA graphs (mode="reduce-overhead").

usage: python benchmarks/gpu.py [--models NAME ...] [--precisions bfloat16,float16,float32]
                                [--contenders zoo,keras,torch,compile,graphs] [--batch 128] [--size 224] [--rounds 5]
                                [--jax PYTHON] [--torch PYTHON] [--csv FILE]
       python benchmarks/gpu.py --device cpu --batch 4 --size 64 --precisions bfloat16

The zoo runs as `zoo.create` under KERAS_BACKEND=jax, its training step one jitted function that updates the weights
in place. Each contender has its own process; they use the GPU one after the other, so all networks must fit into its
memory together. In a round a contender does a number of steps, with one loss fetched at the end; the time of a step is
the median over the rounds. The second form checks on a CPU that it runs; its times say nothing about a GPU.
"""

import argparse
import sys

from contenders import ON_CPU, Contenders
from network_timing import Schedule, compare, measured_ceilings, time_networks
from options import add_network_options, some_of

MODELS = ("resnext50_32x4d", "shufflenet_v2_x1_0", "mobilenetv2_100", "regnety_008")
WORKERS = {
    "zoo": "jax_worker.py",
    "keras": "jax_worker.py",
    "torch": "torch_worker.py",
    "compile": "torch_worker.py",
    "graphs": "torch_worker.py",
}
MODES = ("train", "infer")
PRECISIONS = ("bfloat16", "float16", "float32")
ROUND_SECONDS = 2.0  # of one contender in a round, without --steps
# Matrices and blocks that keep a device busy: width, bytes.
LOAD = {"gpu": {"width": 8192, "block": 2**30}, "cpu": {"width": 1024, "block": 2**26}}
PACKAGES = {"jax_worker.py": "JAX with CUDA, jax[cuda12]", "torch_worker.py": "a PyTorch built for CUDA"}


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_network_options(argument_parser, MODELS, batch=128, size=224)
    argument_parser.add_argument("--modes", type=some_of(MODES), default=["train"])
    argument_parser.add_argument("--precisions", type=some_of(PRECISIONS), default=["bfloat16"])
    argument_parser.add_argument("--contenders", type=some_of(WORKERS), default=list(WORKERS))
    argument_parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    argument_parser.add_argument(
        "--jax", default=sys.executable, metavar="PYTHON", help="interpreter that has Keras and JAX"
    )
    argument_parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch and timm"
    )
    return argument_parser


def start(contenders: Contenders, arguments) -> None:
    """Start all contenders; one that finds no GPU, where one is wanted, fails."""
    for contender in arguments.contenders:
        script = WORKERS[contender]
        python = arguments.jax if script == "jax_worker.py" else arguments.torch
        contenders.start(contender, script, python, ON_CPU if arguments.device == "cpu" else {})
    contenders.wait()
    for contender in list(contenders.running):
        greeting = contenders.greetings[contender]
        if arguments.device == "gpu" and greeting["gpu"] is None:
            needed = PACKAGES[WORKERS[contender]]
            contenders.fail(
                contender, f"The contender {contender!r} finds no GPU ({greeting['versions']}): it needs {needed}."
            )


def ceilings(arguments):
    """What the device can do, by the best of JAX and PyTorch. Ends the program where no contender can take part."""
    with Contenders() as contenders:
        start(contenders, arguments)
        if not contenders.running:
            sentences = ["Nothing to compare.", *dict.fromkeys(contenders.failures.values())]
            if arguments.device == "gpu":
                sentences.append("To check the benchmark without a GPU: --device cpu --batch 4 --size 64.")
            raise SystemExit(" ".join(sentences))
        load = {**LOAD[arguments.device], "precisions": arguments.precisions}
        return measured_ceilings(contenders, load)


def measure(arguments, model: str, mode: str, precision: str) -> list[dict]:
    """One row for each contender."""
    settings = {"model": model, "mode": mode, "precision": precision, "batch": arguments.batch, "size": arguments.size}
    schedule = Schedule(arguments.rounds, arguments.steps, ROUND_SECONDS, arguments.timeout, fetch_each=False)
    with Contenders() as contenders:
        start(contenders, arguments)
        requests = {contender: {"contender": contender, **settings} for contender in arguments.contenders}
        return time_networks(contenders, requests, schedule)


def main() -> None:
    arguments = parser().parse_args()
    compare(arguments, ceilings(arguments), measure)


if __name__ == "__main__":
    main()
