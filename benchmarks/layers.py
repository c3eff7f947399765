"""Single convolutions of the zoo's networks: the zoo's layer, Keras's, split and concatenate, PyTorch.

usage: python benchmarks/layers.py [--batch 16] [--only TEXT] [--sides zoo,keras,split,torch] [--rounds 5]
                                   [--precisions float32,bfloat16] [--modes forward,gradients]
                                   [--torch PYTHON] [--csv FILE]

The shapes are those of `shapes.py`. Each side has a process of its own, and they take turns. A turn has as many calls,
one after the other, as take 30 ms, after as many that are not timed; the time of a call is the median over the turns.
"gradients" is forward and backward: of sum(outputs * cotangent) with respect to inputs and kernel. Inputs, kernels and
outputs are all of the type that is compared, channels last. No side gives memory back to the system between calls.
"""

import argparse
import sys

import machine
from layer_timing import Cell, time_cells
from options import add_layer_options, some_of
from report import add_ratios, milliseconds, rate, summary, write_csv
from shapes import SHAPES, Shape, chosen
from sides import KEEPS_MEMORY, ON_CPU, Sides

WORKERS = {
    "zoo": "tensorflow_side.py",
    "keras": "tensorflow_side.py",
    "split": "tensorflow_side.py",
    "torch": "torch_side.py",
}
MODES = ("forward", "gradients")
PRECISIONS = ("float32", "bfloat16")
SHAPE = ("network", "layer", "kind", "size", "channels", "filters", "kernel", "strides", "groups", "batch")
RESULTS = ("mode", "precision", "side", "call_seconds", "gflops", "timings", "ratio_to_zoo", "status")
COLUMNS = ("date", "cpu", "cores", "others_share", "versions", *SHAPE, *RESULTS)


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_layer_options(argument_parser, MODES, PRECISIONS)
    argument_parser.add_argument("--sides", type=some_of(WORKERS), default=list(WORKERS))
    argument_parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch"
    )
    return argument_parser


def measure(arguments, sides: Sides, shape: Shape) -> list[dict]:
    """One row for each side, mode and type."""
    kinds = [(mode, precision) for mode in arguments.modes for precision in arguments.precisions]
    cells = [Cell(side, side, *kind) for side in arguments.sides for kind in kinds]
    busy = machine.busy_share()
    time_cells(sides, cells, shape, arguments.batch, arguments.rounds, arguments.patience, {})
    return [{**row(cell, shape, arguments.batch, sides), "others_share": busy} for cell in cells]


def row(cell: Cell, shape: Shape, batch: int, sides: Sides) -> dict:
    """A cell as the CSV has it."""
    seconds = cell.call_seconds
    operations = 2 * shape.macs * batch * (1 if cell.mode == "forward" else 3)
    return {
        **machine.identity(),
        "versions": sides.greetings.get(cell.process, {}).get("versions"),
        **shape.settings(),
        "network": shape.network,
        "layer": shape.layer,
        "kind": shape.kind,
        "batch": batch,
        "mode": cell.mode,
        "precision": cell.precision,
        "side": cell.side,
        "call_seconds": seconds,
        "gflops": operations / seconds / 1e9 if seconds else None,
        "timings": len(cell.seconds),
        "status": cell.status,
    }


def show(shape: Shape, rows: list[dict]) -> None:
    """One convolution: a line for each mode and type, the ratio to the zoo behind each other side's time."""
    print(f"\n{shape}  ({shape.name})")
    for mode, precision in dict.fromkeys((row["mode"], row["precision"]) for row in rows):
        line = f"  {mode:9} {precision:8}"
        for each in rows:
            if (each["mode"], each["precision"]) == (mode, precision):
                ratio = "" if each["ratio_to_zoo"] is None else f" {rate(each['ratio_to_zoo']):>5}x"
                line += (
                    f"  {each['side']} {milliseconds(each['call_seconds']):>9}{'' if each['side'] == 'zoo' else ratio}"
                )
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
    with Sides() as sides:
        for side in arguments.sides:
            python = arguments.torch if WORKERS[side] == "torch_side.py" else sys.executable
            sides.start(side, WORKERS[side], python, ON_CPU | KEEPS_MEMORY)
        sides.wait()
        for shape in shapes:
            measured = measure(arguments, sides, shape)
            machine.warn_if_busy(measured[0]["others_share"])
            add_ratios(measured, "call_seconds", ("mode", "precision"))
            show(shape, measured)
            rows += measured
            if arguments.csv:
                write_csv(arguments.csv, rows, COLUMNS)
    print("\nGeometric means of the zoo's speed over the other side's:")
    for mode, precision, kind, side, mean, count in summary(rows, ("mode", "precision", "kind")):
        print(f"  {mode:9} {precision:8} {kind:9} {side:6} {rate(mean)}x over {count} shapes")
    for mode, precision, side, mean, count in summary(rows, ("mode", "precision")):
        print(f"  {mode:9} {precision:8} all       {side:6} {rate(mean)}x over {count} shapes")


if __name__ == "__main__":
    main()
