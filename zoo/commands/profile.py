"""`zoo profile`: what every layer of a network costs, and how long it takes on this machine."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo import tensorflow_process
from zoo.commands.arguments import COUNT, SIZE, complete_groups, complete_network, network
from zoo.commands.output import (
    Column,
    console,
    form_of,
    form_options,
    short,
    write_csv,
    write_json,
    write_table,
    write_text,
)
from zoo.costs import image_size
from zoo.errors import UserError
from zoo.registry import variant

if TYPE_CHECKING:
    import keras

REPEATS = 10
COLUMNS = (
    Column("layer", lambda row: row["layer"], number=False),
    Column("kind", lambda row: row["kind"], number=False, least=110),
    Column("output", lambda row: "x".join(map(str, row["output"]))),
    Column("groups", lambda row: groups_cell(row["groups"]), least=60),
    Column("param.", lambda row: short(row["parameters"])),
    Column("MACs", lambda row: short(row["macs"])),
    Column("act.", lambda row: short(row["activations"]), least=70),
)
TIME_COLUMNS = (
    Column("ms", lambda row: f"{1e3 * row['seconds']:.3f}"),
    Column("%", lambda row: f"{100 * row['share']:.1f}"),
)


@click.command(
    epilog="""
Keys of --json: name, input, batch, classes, groups, fused, repeats, layers, totals (of the layers), network_seconds.
Keys of a layer, and columns of --csv: layer, kind, output (shape of its first output without the batch), groups,
parameters, macs, activations (these three for one image), seconds (for the batch) and share (of all layers' seconds).
"""
)
@click.argument("name", shell_complete=complete_network)
@click.option("--groups", type=int, shell_complete=complete_groups, help="In place of the network's own.")
@click.option("--input", "size", type=SIZE, metavar="SIZE|HxW", help="Pixels. [default: 224, or 32 for CIFAR and SVHN]")
@click.option("--batch", type=COUNT, default=1, show_default=True, help="Images that are timed together.")
@click.option("--channels", type=COUNT, default=3, show_default=True, help="Of the images.")
@click.option("--classes", type=COUNT, help="Outputs. [default: 1000, or as many as its data set has]")
@click.option("--fused", is_flag=True, help="As zoo.fuse makes it for inference; its weights are frozen then.")
@click.option("--repeats", type=COUNT, help=f"Timed calls of every layer, the least counts. [default: {REPEATS}]")
@click.option("--no-time", is_flag=True, help="Count, and measure no time.")
@form_options
def profile(
    name: str,
    groups: int | None,
    size: tuple[int, int] | None,
    batch: int,
    channels: int,
    classes: int | None,
    fused: bool,
    repeats: int | None,
    no_time: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Take the network NAME apart: shape, groups, parameters, MACs, activations and time of every layer.

    A layer's time is that of the layer called alone, compiled, on random inputs. TensorFlow joins some layers of a
    whole network and computes branches side by side, so all layers together may take longer than the network, whose
    time is given too.
    """
    form = form_of(as_json, as_csv)
    if no_time and repeats:
        context = click.get_current_context()
        raise click.UsageError("--no-time and --repeats exclude each other: give one of them.", context)
    config = variant(network(name))
    if groups is not None:
        config.with_groups(groups)  # refuses invalid values before TensorFlow is imported
    height, width = size or (image_size(name),) * 2
    shape = (height, width, channels)
    with console(error=True).status(f"Building {name}") as status:
        model = _build(name, groups, shape, classes, fused, timed=not no_time)
        rows, times = _measured(model, batch, 0 if no_time else repeats or REPEATS, status.update)
    profiled = {
        "name": name,
        "input": list(shape),
        "batch": batch,
        "classes": model.output_shape[-1],
        "groups": groups,
        "fused": fused,
        "repeats": None if no_time else repeats or REPEATS,
        "layers": rows,
        "totals": totals(rows),
        "network_seconds": times,
    }
    if form == "json":
        write_json(profiled)
    elif form == "csv":
        write_csv(rows)
    else:
        _page(profiled, model.name)


def _build(
    name: str, groups: int | None, shape: tuple[int, int, int], classes: int | None, fused: bool, timed: bool
) -> "keras.Model":
    """The network; with weights of zeros where it is not going to be timed."""
    tensorflow_process.prepare()
    if timed:
        tensorflow_process.wait_for_kernels()  # what is timed is what later processes compute with
    import tensorflow as tf

    import zoo
    from blocks.layers.initializers import without_random_numbers

    try:
        with contextlib.nullcontext() if timed else without_random_numbers():
            model = zoo.create(name, classes, shape, groups)
        return zoo.fuse(model) if fused else model
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise UserError(f"The weights of {name} with {model_size(shape, classes)} do not fit into memory.") from error


def model_size(shape: tuple[int, int, int], classes: int | None) -> str:
    """What the size of the weights depends on, in words."""
    height, width, channels = shape
    return f"images of {height} x {width} pixels, {channels} channels" + (f" and {classes} classes" if classes else "")


def _measured(
    model: "keras.Model", batch: int, repeats: int, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], float | None]:
    """A row for every layer, and the seconds of the whole network; no times without repeats."""
    import tensorflow as tf

    from zoo.complexity import profile_layers
    from zoo.timing import measure

    counted = profile_layers(model)
    times = None
    if repeats:
        tell(f"Timing {len(counted)} layers of {model.name}")
        try:
            times = measure(model, counted, batch, repeats)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise UserError(f"A batch of {batch} does not fit into memory: give a smaller --batch.") from error
        except RuntimeError as error:
            raise UserError(f"{error} With --no-time nothing is timed.") from error
    every = sum(times.layers) if times else 0.0
    rows = []
    for index, each in enumerate(counted):
        groups = list(each.groups) if isinstance(each.groups, tuple) else each.groups
        rows.append(
            {
                "layer": each.layer.name,
                "kind": each.kind,
                "output": list(each.outputs[1:]),
                "groups": groups,
                "parameters": each.cost.parameters,
                "macs": each.cost.macs,
                "activations": each.cost.activations,
                "seconds": round(times.layers[index], 7) if times else None,
                "share": (round(times.layers[index] / every, 5) if every else 0.0) if times else None,
            }
        )
    return rows, times.network if times else None


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums over all layers; None for seconds that were not measured."""
    sums = {key: sum(row[key] for row in rows) for key in ("parameters", "macs", "activations")}
    return sums | {"seconds": None if rows[0]["seconds"] is None else sum(row["seconds"] for row in rows)}


def groups_cell(groups: int | list[int] | None) -> str:
    """Groups in a few letters: of uneven ones how many there are."""
    if isinstance(groups, list):
        return f"{len(groups)} uneven"
    return "" if groups is None else str(groups)


def _page(profiled: dict[str, Any], title: str) -> None:
    timed = profiled["network_seconds"] is not None
    height, width, channels = profiled["input"]
    fused = ", fused for inference" if profiled["fused"] else ""
    write_text(
        f"{title}{fused}: images of {height} x {width} pixels, {channels} channels, {profiled['classes']} outputs\n"
    )
    line: dict[str, Any] = {
        "layer": f"{len(profiled['layers'])} layers",
        "kind": "",
        "output": [],
        "groups": None,
        "share": 1.0,
    }
    write_table(COLUMNS + (TIME_COLUMNS if timed else ()), profiled["layers"], total=profiled["totals"] | line)
    images = "one image" if profiled["batch"] == 1 else f"{profiled['batch']} images"
    footnote = "\nMACs and act. (entries of the convolutions' outputs) are of one image."
    if profiled["fused"]:
        footnote += " The weights of a fused network are frozen, so it has no trainable parameters."
    if timed:
        footnote += (
            f"\nWhole network, {images}: {1e3 * profiled['network_seconds']:.3f} ms, compiled as one function. "
            f"Its layers: {1e3 * profiled['totals']['seconds']:.3f} ms together, each called alone on random inputs; "
            f"ms and % are of that. The least of {profiled['repeats']} calls counts."
        )
    write_text(footnote)
