"""`zoo benchmark`: how fast networks train and run on this machine, in TensorFlow and in other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo.checks import close_matches
from zoo.commands.arguments import BATCH, COUNT, SIZE, THREADS, AnyType, complete_name
from zoo.commands.output import (
    Column,
    console,
    form_of,
    form_options,
    write_csv,
    write_json,
    write_table,
    write_text,
)
from zoo.comparison.table import number
from zoo.errors import UserError

# What the modules of zoo.benchmarking know, without importing them before they are needed.
CONTENDERS = ("float32", "bfloat16", "fused", "stock", "onnx", "litert", "litert-int8", "openvino")
MODES = ("inference", "training")
ROUNDS = 5


class Several(AnyType):
    """Some of a few names, with commas between them."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        self.name, self.names = kind, tuple(names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, each once, in the order given."""
        if isinstance(value, tuple):
            return value
        chosen = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in chosen:
            if name not in self.names:
                self.fail(f"there is no {self.name} {name!r}: {close_matches(name, self.names)}", param, ctx)
        return chosen

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names behind those that have been typed."""
        typed, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{typed}{comma}{name}") for name in self.names if name.startswith(last)]


def _milliseconds(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[key] is None else f"{1e3 * row[key]:.2f}"


COLUMNS = (
    Column("network", lambda row: row["name"], number=False),
    Column("mode", lambda row: row["mode"], number=False, least=90),
    Column("contender", lambda row: row["contender"], number=False),
    Column("batch", lambda row: str(row["batch"]), least=70),
    Column("px", lambda row: size_cell(row), least=80),
    Column("images/s", lambda row: number("train_images_per_second", row["images_per_second"])),
    Column("speed-up", lambda row: "-" if row["speed_up"] is None else f"{row['speed_up']:.2f}x"),
    Column("median ms", _milliseconds("median_seconds")),
    Column("p90 ms", _milliseconds("p90_seconds")),
    Column("peak memory", lambda row: number("peak_memory_bytes", row["peak_memory_bytes"]), least=60),
    Column("timings", lambda row: str(row["timings"]), least=100),
)


@click.command(
    epilog="""
Contenders: float32, bfloat16 and fused are TensorFlow with the kernels of blocks; stock is TensorFlow's own operations
in float32; onnx, litert, litert-int8 and openvino are files in their runtimes, which do not train. A .keras file is
measured as it is: where it has Keras's own layers, float32 is stock Keras, until `blocks.convert` replaces them.

speed-up: images/s over those of stock, of the same network and mode; where stock is not measured, over those of the
first row of that mode with as many parameters, as a file and the same model after `blocks.convert` have.

Keys of a row of --json, and columns of --csv: name, mode, contender, batch, height, width, threads, images_per_second,
speed_up (or null), median_seconds and p90_seconds (of a call for the batch), timings, first_seconds (building, tracing
and the first call), peak_memory_bytes (resident, of the contender's whole process while it is timed; on other systems
than Linux since it began), parameters, macs, file_bytes, kernels, accelerators, versions, busy_before and
others_during (share of the processors, 0 to 1), status.
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME|RUN|FILE...", shell_complete=complete_name)
@click.option("--mode", "modes", type=Several("mode", MODES), default=",".join(MODES), show_default=True)
@click.option(
    "--contenders", type=Several("contender", CONTENDERS), metavar="NAME,...", help="[default: all but openvino]"
)
@click.option("--threads", type=THREADS, help="Of each contender. [default: the cores that there are]")
@click.option("--batch", type=BATCH, help="Images of a call. [default: 1, and 32 in training]")
@click.option("--size", type=SIZE, metavar="SIZE|HxW", help="Pixels. [default: the network's]")
@click.option("--rounds", type=COUNT, default=ROUNDS, show_default=True, help="In which each contender is timed once.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="A .json that `zoo compare` reads."
)
@form_options
def benchmark(
    names: Sequence[str],
    modes: tuple[str, ...],
    contenders: tuple[str, ...] | None,
    threads: int | None,
    batch: int | None,
    size: tuple[int, int] | None,
    rounds: int,
    output: Path | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Measure networks here: by NAME or published tag, a trained RUN, or a .keras, .onnx or .tflite FILE.

    Every contender has a process of its own. They take turns in short rounds, so that a machine that is busy for a
    while slows all of them. Networks by name have random weights, which are as fast as trained ones. Ctrl-C keeps what
    was measured.

    \b
      zoo benchmark shufflenet_v2_x1_0 mobilenetv2_100 --mode inference
      zoo benchmark outputs/2026-11-23/07-00-00 --contenders fused,onnx,litert-int8 -o speed.json
      zoo compare outputs/ speed.json
    """
    form = form_of(as_json, as_csv)
    if output is not None and (output.suffix != ".json" or output.name == "result.json" or output.is_dir()):
        raise UserError(f"--output {output} is not allowed: give the name of a .json file, speed.json say.")
    if output is not None and not output.resolve().parent.is_dir():
        raise UserError(f"--output {output} is not allowed: there is no folder {output.resolve().parent}.")
    from rich.markup import escape

    from zoo import hardware
    from zoo.benchmarking.contenders import DEFAULT
    from zoo.benchmarking.measuring import MEASURED, Schedule
    from zoo.benchmarking.measuring import benchmark as measure
    from zoo.benchmarking.sources import resolved

    sources = [resolved(name, _say) for name in dict.fromkeys(names)]
    notes = _notes(sources, modes, contenders)
    schedule = Schedule(contenders or DEFAULT, modes, threads or hardware.cores(), rounds, batch, size)
    rows: list[dict[str, Any]] = []
    try:
        with console(error=True).status("Starting") as status:
            measure(sources, schedule, rows, lambda text: status.update(escape(text)))
    finally:  # after Ctrl-C too
        if rows:
            machine = {"processor": hardware.processor(), "instructions": hardware.instructions()}
            _write(rows, form, machine, schedule.threads)
            for note in notes:
                _say(note)
            if output is not None:
                from zoo.comparison import benchmark_file

                records = {source.name: source.record for source in sources}
                benchmark_file.write(output, rows, records, machine | {"threads": schedule.threads})
                _say(f"Written: {output.resolve()}")
                if any(row["mode"] == "inference" and row["batch"] != 1 for row in rows):
                    _say("`zoo compare` shows the latency of one image, so none of larger batches: --batch 1 gives it.")
    for row in rows:
        if row["status"] != MEASURED:
            _say(f"{row['name']}, {row['mode']}, {row['contender']} is not measured: {row['status']}")
    if any(row["status"] != MEASURED for row in rows):
        click.get_current_context().exit(1)


def _notes(sources: Sequence[Any], modes: Sequence[str], asked: Sequence[str] | None) -> list[str]:
    """What is not measured because it cannot be. Raises UserError where a source would have no contender at all."""
    from zoo.benchmarking.contenders import DEFAULT, able

    notes = []
    for source in sources:
        names = [source.runtime] if source.runtime else list(asked or DEFAULT)
        if source.runtime and asked and source.runtime not in {name.removesuffix("-int8") for name in asked}:
            raise UserError(f"{source.name} runs as {source.runtime} alone, and --contenders is {','.join(asked)}.")
        if not any(able(names, mode) for mode in modes):
            raise UserError(
                f"--mode training leaves nothing to measure of {source.name}: {', '.join(names)} "
                f"{'is' if len(names) == 1 else 'are'} for inference alone; float32, bfloat16 and stock train."
            )
        if "training" in modes:
            without = [name for name in names if name not in able(names, "training")]
            if without:
                notes.append(f"{source.name}: {', '.join(without)} measured in inference alone, for they do not train.")
    return notes


def _write(rows: Sequence[Mapping[str, Any]], form: str, machine: Mapping[str, Any], threads: int) -> None:
    from zoo.benchmarking.speed_up import with_speed_up

    rows = with_speed_up(rows)
    if form == "json":
        write_json({**machine, "threads": threads, "rows": rows})
        return
    if form == "csv":
        write_csv(rows)
        return
    compared = any(row["speed_up"] is not None for row in rows)
    write_table([column for column in COLUMNS if compared or column.title != "speed-up"], rows)
    instructions = ", ".join(machine["instructions"]) or "not told by the system"
    write_text(f"\n{machine['processor']}, {threads} threads; instruction sets: {instructions}.")
    write_text(load_sentence(rows))
    if gpus := sorted({name for row in rows for name in row["accelerators"]}):
        write_text(f"TensorFlow computes on {', '.join(gpus)}; the other runtimes on the processor.")
    if any(row["kernels"] is False and row["contender"] != "stock" for row in rows):
        write_text("The kernels of blocks are not in use here: float32, bfloat16 and fused are TensorFlow's own too.")


def load_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How busy the machine was: the most that any of the rows saw."""
    before = max((row["busy_before"] for row in rows if row["busy_before"] is not None), default=None)
    during = max((row["others_during"] for row in rows if row["others_during"] is not None), default=None)
    if before is None:
        return "How busy the machine was is not known: nothing was timed."
    from zoo.benchmarking.load import QUIET

    text = f"Load: {before:.0%} of the processors busy before"
    if during is not None:
        text += f", {during:.0%} used by other programs during the rounds"
    if max(before, during or 0) > QUIET:
        return text + ": all figures are worse than on a quiet machine, and only their ratios tell something."
    return text + "."


def size_cell(row: Mapping[str, Any]) -> str:
    """The size of the images in a few letters."""
    if row["height"] is None:
        return "-"
    return str(row["height"]) if row["height"] == row["width"] else f"{row['height']}x{row['width']}"


def _say(text: str) -> None:
    from zoo.comparison.runs import printable

    click.echo(printable(text), err=True)
