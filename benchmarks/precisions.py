"""Networks of the zoo in bfloat16 against the same in float32, in alternating rounds.

usage: python benchmarks/precisions.py [--models NAME ... | --all-families] [--modes train,infer] [--batch 16]
                                       [--size 128] [--rounds 5] [--steps N] [--csv FILE]

Each type has its own process, new for every network and mode. `benchmarks/models.py` times one type minutes after the
other, so its rows say nothing about a difference of a few per cent between the types.
"""

import argparse
import sys

from contenders import ON_CPU, Contenders
from network_timing import IDENTITY, MEASURED, SETTINGS, Schedule, time_networks
from networks import DEFAULT
from options import add_families_option, add_network_options, some_of
from report import geometric_mean, rate, write_csv

MODES = ("train", "infer")
PRECISIONS = ("float32", "bfloat16")
ROUND_SECONDS = 1.0  # of one type in a round, without --steps
RESULTS = ("images_per_s", "step_seconds", "timings", "peak_mb", "times_float32", "status")
COLUMNS = (*(key for key in IDENTITY if key != "gpu"), *SETTINGS, *RESULTS)


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_network_options(argument_parser, DEFAULT, batch=16, size=128)
    add_families_option(argument_parser)
    argument_parser.add_argument("--modes", type=some_of(MODES), default=list(MODES))
    return argument_parser


def measure(arguments, model: str, mode: str) -> list[dict]:
    """A row of float32, and one of bfloat16."""
    settings = {"contender": "zoo", "model": model, "mode": mode, "batch": arguments.batch, "size": arguments.size}
    with Contenders() as contenders:
        for precision in PRECISIONS:
            contenders.start(precision, "tensorflow_worker.py", sys.executable, ON_CPU)
        contenders.wait()
        schedule = Schedule(arguments.rounds, arguments.steps, ROUND_SECONDS, arguments.timeout)
        requests = {precision: {"precision": precision, **settings} for precision in PRECISIONS}
        rows = time_networks(contenders, requests, schedule)
    seconds = [row["step_seconds"] for row in rows]
    for row in rows:
        row["times_float32"] = seconds[0] / row["step_seconds"] if all(seconds) else None
    return rows


def show(rows: list[dict]) -> None:
    """One network and mode, in a line."""
    speeds = ", ".join(f"{rate(row['images_per_s']):>6} in {row['precision']}" for row in rows)
    missing = ", ".join(row["status"] for row in rows if row["status"] != MEASURED)
    result = missing or f"{rate(rows[1]['times_float32'])}x"
    print(f"{rows[0]['model']:28} {rows[0]['mode']:6} images/s: {speeds}; {result}", flush=True)


def main() -> None:
    arguments = parser().parse_args()
    rows = []
    for model in arguments.models:
        for mode in arguments.modes:
            measured = measure(arguments, model, mode)
            show(measured)
            rows += measured
            if arguments.csv:
                write_csv(arguments.csv, rows, COLUMNS)
    for mode in arguments.modes:
        ratios = [row["times_float32"] for row in rows if row["mode"] == mode and row["precision"] == "bfloat16"]
        known = [ratio for ratio in ratios if ratio is not None]
        if known:
            print(
                f"{mode}: bfloat16 is {rate(geometric_mean(known))} times as fast as float32 by the geometric mean of "
                f"{len(known)} networks, {rate(min(known))} times at least."
            )


if __name__ == "__main__":
    main()
