"""The parent's half of timing whole networks: rounds, rows, ceilings, the table. Imports no framework."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import machine
from contenders import Contenders
from report import add_ratios, rate, summary, write_csv

MEASURED = "measured"
MOST_STEPS = 50  # of one timing
IDENTITY = (*machine.IDENTITY, "gpu", "others_share", "versions")
SETTINGS = ("model", "mode", "precision", "batch", "size")
TIMES = ("images_per_s", "step_seconds", "timings", "first_step_seconds", "first_value")
MEMORY = ("peak_mb", "total_peak_mb", "device_peak_mb")
LIMITS = ("gflop_per_step", "least_gb_per_step", "gflops_ceiling", "copy_gbs_ceiling", "share_of_ceiling")
COLUMNS = (*IDENTITY, *SETTINGS, "contender", "parameters", *TIMES, *MEMORY, "ratio_to_zoo", *LIMITS, "status")


@dataclass(frozen=True)
class Schedule:
    """How often the contenders are timed. In a round each is timed once.

    steps: of one contender in a round; None is as many as fit in `seconds`.
    timeout: seconds after which a slow contender takes part in no more rounds; the column `timings` says in how many.
    fetch_each: time each step alone, its result fetched, or all of a round with one result fetched at its end.
    """

    rounds: int
    steps: int | None
    seconds: float
    timeout: float
    fetch_each: bool = True

    def count(self, step_seconds: float) -> int:
        return self.steps or min(max(int(self.seconds / step_seconds), 1), MOST_STEPS)


def time_networks(contenders: Contenders, requests: Mapping[str, Mapping], schedule: Schedule) -> list[dict]:
    """Build one network for each contender, time them in alternating rounds, and return a row for each.

    `requests` has for each contender what its worker's "network" takes: the columns SETTINGS and which implementation
    of the network the worker has to build.
    """
    built = {name: contenders.ask_or_drop(name, "network", **request) for name, request in requests.items()}
    busy = machine.busy_share()
    machine.warn_if_busy(busy)
    seconds = _interleaved(contenders, {name: answer for name, answer in built.items() if answer}, schedule)
    memory = {name: contenders.ask_or_drop(name, "memory") for name in requests}
    rows = []
    for name, request in requests.items():
        greeting = contenders.greetings.get(name, {})
        row = {**dict.fromkeys(COLUMNS), **machine.identity(), **request, "contender": name, "others_share": busy}
        row |= {"versions": greeting.get("versions"), "gpu": greeting.get("gpu")}
        row["status"] = contenders.failures.get(name, MEASURED)
        if row["status"] == MEASURED:
            step = statistics.median(seconds[name])
            row |= {"step_seconds": step, "images_per_s": request["batch"] / step, "timings": len(seconds[name])}
            row |= memory[name] | {key: value for key, value in built[name].items() if key != "warm_seconds"}
        rows.append(row)
    return rows


def _interleaved(contenders: Contenders, built: Mapping[str, Mapping], schedule: Schedule) -> dict[str, list[float]]:
    """Every timing of each contender; in each round another contender is the first."""
    order = list(built)
    seconds = {name: [] for name in order}
    spent = dict.fromkeys(order, 0.0)
    for index in range(schedule.rounds):
        first = index % max(len(order), 1)
        for name in order[first:] + order[:first]:
            if spent[name] > schedule.timeout:
                continue
            count = schedule.count(built[name]["warm_seconds"])
            taken = contenders.ask_or_drop(name, "take", count=count, fetch_each=schedule.fetch_each)
            if taken:
                seconds[name] += taken["seconds"]
                spent[name] += sum(taken["seconds"]) * (1 if schedule.fetch_each else count)
    return seconds


def measured_ceilings(contenders: Contenders, arguments: Mapping) -> machine.Ceilings | None:
    """What the machine can do, by the best of the contenders; None, with a reason, where none measured it."""
    measured = [contenders.ask_or_drop(name, "ceilings", **arguments) for name in list(contenders.running)]
    try:
        limits = machine.Ceilings.best(each for each in measured if each)
    except ValueError as error:
        print(f"{error} The columns on the ceilings stay empty.", file=sys.stderr)
        return None
    gpus = {greeting.get("gpu") for greeting in contenders.greetings.values()} - {None}
    name = ", ".join(sorted(gpus)) or "{cpu}, {cores} cores, {instructions}".format(**machine.identity())
    print(f"{name}: {limits}", flush=True)
    return limits


def add_roofline(rows: Sequence[dict], limits: machine.Ceilings | None) -> None:
    """What a step has to do at least, and which share of the machine's ceiling each contender reaches.

    Counted on the zoo's network, so only where that was built.
    """
    facts = next((row for row in rows if row.get("macs")), None)
    if facts is None:
        return
    for row in rows:
        work = machine.Work.of(facts, row["mode"], row["precision"], row["batch"])
        row |= {"gflop_per_step": work.gflop, "least_gb_per_step": work.gbytes}
        if limits is not None:
            row |= {"gflops_ceiling": limits.gflops[row["precision"]], "copy_gbs_ceiling": limits.copy_gbs}
            if row["step_seconds"]:
                row["share_of_ceiling"] = work.least_seconds(limits, row["precision"]) / row["step_seconds"]


def show(rows: Sequence[Mapping]) -> None:
    """One network, mode and precision: a line for each contender."""
    first = rows[0]
    print(f"\n{first['model']}, {first['mode']}, {first['precision']}, batch {first['batch']}, {first['size']} pixels")
    print(f"  {'':12} {'images/s':>9} {'zoo is':>8} {'first step':>11} {'peak MB':>8} {'ceiling':>8}  first value")
    for row in rows:
        if row["status"] != MEASURED:
            print(f"  {row['contender']:12} missing: {row['status']}")
            continue
        share = "-" if row["share_of_ceiling"] is None else f"{row['share_of_ceiling']:.0%}"
        ratio = "-" if row["ratio_to_zoo"] is None else f"{row['ratio_to_zoo']:.2f}x"
        peak = row["peak_mb"] if row["device_peak_mb"] is None else row["device_peak_mb"]
        print(
            f"  {row['contender']:12} {rate(row['images_per_s']):>9} {ratio:>8} {rate(row['first_step_seconds']):>9} s "
            f"{rate(peak):>8} {share:>8}  {row['first_value']:.4g}"
        )
    counts = {row["parameters"] for row in rows if row["parameters"]}
    if len(counts) > 1:
        numbers = ", ".join(f"{each:,}" for each in sorted(counts))
        print(f"  The contenders do not have equally many parameters: {numbers}.")
    sys.stdout.flush()


def compare(arguments, limits: machine.Ceilings | None, measure: Callable[..., list[dict]]) -> None:
    """All networks, modes and precisions asked for: tables as they come, the CSV, and the means.

    `measure(arguments, model, mode, precision)` gives the rows of one of them.
    """
    rows = []
    for model in arguments.models:
        for mode in arguments.modes:
            for precision in arguments.precisions:
                measured = measure(arguments, model, mode, precision)
                add_roofline(measured, limits)
                add_ratios(measured, "step_seconds", ("model", "mode", "precision"))
                show(measured)
                rows += measured
                if arguments.csv:
                    write_csv(arguments.csv, rows, COLUMNS)
    print("\nGeometric means of the zoo's speed over the other contender's:")
    for mode, precision, contender, mean, count in summary(rows, ("mode", "precision")):
        print(f"  {mode:6} {precision:9} {contender:12} {rate(mean)}x over {count} networks")
