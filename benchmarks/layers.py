"""Single convolutions of the zoo's networks: the zoo's layer, Keras's, split and concatenate, PyTorch.

usage: python benchmarks/layers.py [--batch 16] [--only TEXT] [--contenders zoo,keras,split,torch]
                                   [--rounds 5] [--precisions float32,bfloat16] [--modes forward,gradients]
                                   [--torch PYTHON] [--csv FILE]

The shapes are those of `shapes.py`. Each contender has its own process. In a round each does as many calls, one after
the other, as take 30 ms, after as many that are not timed; the time of a call is the median over the rounds.
"gradients" is forward and backward: of sum(outputs * cotangent) with respect to inputs and kernel. Inputs, kernels and
outputs are all of the type that is compared, channels last. No contender gives memory back to the system between calls.
"""

import argparse
import sys

import machine
from contenders import KEEPS_MEMORY, ON_CPU, Contenders
from layer_timing import Cell, time_cells
from options import add_layer_options, add_torch_option, some_of
from report import add_ratios, milliseconds, rate, summary, write_csv
from shapes import SHAPES, Shape, chosen

WORKERS = {
    "zoo": "tensorflow_worker.py",
    "keras": "tensorflow_worker.py",
    "split": "tensorflow_worker.py",
    "torch": "torch_worker.py",
}
MODES = ("forward", "gradients")
PRECISIONS = ("float32", "bfloat16")
SHAPE = ("network", "layer", "kind", "size", "channels", "filters", "kernel", "strides", "groups", "batch")
RESULTS = ("mode", "precision", "contender", "call_seconds", "gflops", "timings", "ratio_to_zoo", "status")
COLUMNS = (*machine.IDENTITY, "others_share", "versions", *SHAPE, *RESULTS)


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_layer_options(argument_parser, MODES, PRECISIONS)
    argument_parser.add_argument("--contenders", type=some_of(WORKERS), default=list(WORKERS))
    add_torch_option(argument_parser)
    return argument_parser


def measure(arguments, contenders: Contenders, shape: Shape) -> list[dict]:
    """One row for each contender, mode and type."""
    combinations = [(mode, precision) for mode in arguments.modes for precision in arguments.precisions]
    cells = [
        Cell(contender, contender, mode, precision)
        for contender in arguments.contenders
        for mode, precision in combinations
    ]
    busy = machine.busy_share()
    time_cells(contenders, cells, shape, arguments.batch, arguments.rounds, arguments.timeout, {})
    return [{**row(cell, shape, arguments.batch, contenders), "others_share": busy} for cell in cells]


def row(cell: Cell, shape: Shape, batch: int, contenders: Contenders) -> dict:
    """A cell as the CSV has it."""
    seconds = cell.call_seconds
    operations = 2 * shape.macs * batch * (1 if cell.mode == "forward" else 3)
    return {
        **machine.identity(),
        "versions": contenders.greetings.get(cell.process, {}).get("versions"),
        **shape.settings(),
        "network": shape.network,
        "layer": shape.layer,
        "kind": shape.kind,
        "batch": batch,
        "mode": cell.mode,
        "precision": cell.precision,
        "contender": cell.contender,
        "call_seconds": seconds,
        "gflops": operations / seconds / 1e9 if seconds else None,
        "timings": len(cell.seconds),
        "status": cell.status,
    }


def show(shape: Shape, rows: list[dict]) -> None:
    """One convolution: a line for each mode and type, the ratio to the zoo behind each other contender's time."""
    print(f"\n{shape}  ({shape.name})")
    for mode, precision in dict.fromkeys((row["mode"], row["precision"]) for row in rows):
        line = f"  {mode:9} {precision:8}"
        for each in rows:
            if (each["mode"], each["precision"]) == (mode, precision):
                ratio = "" if each["ratio_to_zoo"] is None else f" {rate(each['ratio_to_zoo']):>5}x"
                line += f"  {each['contender']} {milliseconds(each['call_seconds']):>9}"
                line += "" if each["contender"] == "zoo" else ratio
        print(line)
    for sentence in dict.fromkeys(row["status"] for row in rows if row["status"] != "measured"):
        print(f"  missing: {sentence}")
    sys.stdout.flush()


def main() -> None:
    argument_parser = parser()
    arguments = argument_parser.parse_args()
    try:
        shapes = chosen(SHAPES, arguments.only)
    except ValueError as error:
        argument_parser.error(str(error))
    rows = []
    with Contenders() as contenders:
        for contender in arguments.contenders:
            python = arguments.torch if WORKERS[contender] == "torch_worker.py" else sys.executable
            contenders.start(contender, WORKERS[contender], python, ON_CPU | KEEPS_MEMORY)
        contenders.wait()
        for shape in shapes:
            measured = measure(arguments, contenders, shape)
            machine.warn_if_busy(measured[0]["others_share"])
            add_ratios(measured, "call_seconds", ("mode", "precision"))
            show(shape, measured)
            rows += measured
            if arguments.csv:
                write_csv(arguments.csv, rows, COLUMNS)
    print("\nGeometric means of the zoo's speed over the other contender's:")
    for mode, precision, kind, contender, mean, count in summary(rows, ("mode", "precision", "kind")):
        print(f"  {mode:9} {precision:8} {kind:9} {contender:6} {rate(mean)}x over {count} shapes")
    for mode, precision, contender, mean, count in summary(rows, ("mode", "precision")):
        print(f"  {mode:9} {precision:8} all       {contender:6} {rate(mean)}x over {count} shapes")


if __name__ == "__main__":
    main()
