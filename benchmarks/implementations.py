"""Every implementation that `blocks` has of a convolution, and the one that its rules choose.

usage: python benchmarks/implementations.py [--batch 16] [--only TEXT] [--rounds 5] [--precisions float32,bfloat16]
                                         [--modes forward,gradients] [--xla] [--no-onednn] [--csv FILE]

The shapes are those of `shapes.py`. Each implementation is `blocks.grouped_convolution(..., implementation=NAME)`, all
in one process, in alternating rounds. In the table `*` marks the fastest and `<` the one that implementation=None
chooses for this shape and type; a dash is an implementation that refuses this convolution, and the CSV has its reason.
The end lists the choices that are more than 10 % slower than the fastest.
"""

import argparse
import sys

import machine
from contenders import ON_CPU, Contenders
from layer_timing import MEASURED, Cell, time_cells
from options import add_layer_options
from report import milliseconds, rate, write_csv
from shapes import SHAPES, Shape, chosen

MODES = ("forward", "gradients")
PRECISIONS = ("float32", "bfloat16")
PROCESS = "tensorflow"
PREFIX = "implementation:"
TOLERANCE = 1.1  # times the fastest: what a choice may cost before the end lists it
SHAPE = ("network", "layer", "kind", "size", "channels", "filters", "kernel", "strides", "groups", "batch")
RESULTS = (
    "mode",
    "precision",
    "implementation",
    "call_seconds",
    "ratio_to_fastest",
    "is_fastest",
    "is_chosen",
    "status",
)
COLUMNS = (*machine.IDENTITY, "others_share", "versions", "xla", "onednn", *SHAPE, *RESULTS)


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_layer_options(argument_parser, MODES, PRECISIONS)
    argument_parser.add_argument("--xla", action="store_true", help="compile with XLA")
    argument_parser.add_argument(
        "--no-onednn", action="store_true", help="start TensorFlow with TF_ENABLE_ONEDNN_OPTS=0"
    )
    return argument_parser


def measure(arguments, contenders: Contenders, names: list[str], shape: Shape) -> list[dict]:
    """One row for each implementation, mode and type."""
    rows, busy = [], machine.busy_share()
    for mode in arguments.modes:
        for precision in arguments.precisions:
            cells = [Cell(PROCESS, PREFIX + name, mode, precision) for name in names]
            rules = Cell(PROCESS, PREFIX + "None", mode, precision)
            extra = {"xla": arguments.xla}
            time_cells(contenders, [*cells, rules], shape, arguments.batch, arguments.rounds, arguments.timeout, extra)
            measured = [row(arguments, contenders, cell, rules, shape) | {"others_share": busy} for cell in cells]
            fastest = min((each["call_seconds"] for each in measured if each["call_seconds"]), default=None)
            for each in measured:
                if each["call_seconds"]:
                    each["ratio_to_fastest"] = each["call_seconds"] / fastest
                    each["is_fastest"] = each["call_seconds"] == fastest
            rows += measured
    return rows


def row(arguments, contenders: Contenders, cell: Cell, rules: Cell, shape: Shape) -> dict:
    """A cell as the CSV has it."""
    name = cell.contender.removeprefix(PREFIX)
    return {
        **dict.fromkeys(COLUMNS),
        **machine.identity(),
        "versions": contenders.greetings.get(PROCESS, {}).get("versions"),
        "xla": arguments.xla,
        "onednn": not arguments.no_onednn,
        **shape.settings(),
        "network": shape.network,
        "layer": shape.layer,
        "kind": shape.kind,
        "batch": arguments.batch,
        "mode": cell.mode,
        "precision": cell.precision,
        "implementation": name,
        "call_seconds": cell.call_seconds,
        "is_fastest": False,
        "is_chosen": name == rules.chosen,
        "status": cell.status,
    }


def show(shape: Shape, rows: list[dict]) -> None:
    """One convolution: a line for each mode and type."""
    print(f"\n{shape}  ({shape.name})")
    for mode, precision in dict.fromkeys((row["mode"], row["precision"]) for row in rows):
        line = f"  {mode:9} {precision:8}"
        for each in rows:
            if (each["mode"], each["precision"]) == (mode, precision):
                marks = ("*" if each["is_fastest"] else "") + ("<" if each["is_chosen"] else "")
                line += f"  {each['implementation']} {milliseconds(each['call_seconds'])}{marks}"
        print(line)
    for sentence in dict.fromkeys(row["status"] for row in rows):
        if sentence != MEASURED and "can't be used here" not in sentence:
            print(f"  missing: {sentence}")
    sys.stdout.flush()


def slow_choices(rows: list[dict]) -> list[tuple[dict, dict]]:
    """(chosen, fastest) wherever the chosen one takes more than TOLERANCE times as long as the fastest."""
    slow = []
    keys = ("network", "layer", "mode", "precision")
    for group in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        same = [row for row in rows if tuple(row[key] for key in keys) == group and row["call_seconds"]]
        picked = next((row for row in same if row["is_chosen"]), None)
        if picked is not None and picked["ratio_to_fastest"] > TOLERANCE:
            slow.append((picked, next(row for row in same if row["is_fastest"])))
    return slow


def main() -> None:
    argument_parser = parser()
    arguments = argument_parser.parse_args()
    try:
        shapes = chosen(SHAPES, arguments.only)
    except ValueError as error:
        argument_parser.error(str(error))
    rows = []
    environment = {**ON_CPU, **({"TF_ENABLE_ONEDNN_OPTS": "0"} if arguments.no_onednn else {})}
    with Contenders() as contenders:
        contenders.start(PROCESS, "tensorflow_worker.py", sys.executable, environment)
        contenders.wait()
        if PROCESS in contenders.failures:
            raise SystemExit(contenders.failures[PROCESS])
        names = contenders.greetings[PROCESS]["implementations"]
        for shape in shapes:
            measured = measure(arguments, contenders, names, shape)
            machine.warn_if_busy(measured[0]["others_share"])
            show(shape, measured)
            rows += measured
            if arguments.csv:
                write_csv(arguments.csv, rows, COLUMNS)
    slow = slow_choices(rows)
    print(f"\n{len(slow)} choices take more than {TOLERANCE:g} times as long as the fastest:")
    for picked, fastest in slow:
        names = [f"{each['implementation']} {milliseconds(each['call_seconds'])}" for each in (picked, fastest)]
        where = f"{picked['network']} {picked['layer']}, {picked['mode']}, {picked['precision']}"
        print(f"  {where}: {', '.join(names)}, {rate(picked['ratio_to_fastest'])}x")


if __name__ == "__main__":
    main()
