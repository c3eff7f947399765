"""`zoo predict`: the classes of pictures, by a training run, published weights or an exported file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from zoo import tensorflow_process
from zoo.commands.arguments import COUNT, SIZE, Name, offered
from zoo.commands.output import Column, console, form_of, form_options, write_csv, write_json, write_table, write_text
from zoo.comparison.runs import printable
from zoo.data_config import ACTIVATIONS, CROP_MODES, INTERPOLATIONS, DataConfig
from zoo.errors import UserError
from zoo.prediction import MAX_PIXELS
from zoo.weights.published import tags

if TYPE_CHECKING:
    from zoo.prediction.predicting import Result

    NumbersType = click.ParamType[tuple[float, ...]]
else:
    NumbersType = click.ParamType

TOP, BATCH = 5, 32
LARGEST_FILE = 2**24  # bytes of a file of class names


class Numbers(NumbersType):
    """Numbers with commas between them, "0.485,0.456,0.406"; a quotient as "1/255" too."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            parts = (part.partition("/") for part in value.split(","))
            return tuple(float(above) / float(below or 1) for above, _, below in parts)
        except (ValueError, ZeroDivisionError):
            self.fail(
                f"{value!r} is not allowed: give one number, or one for each channel, 0.485,0.456,0.406 say.",
                param,
                ctx,
            )


NUMBERS = Numbers()


def complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tags of published weights; where none begins so, the shell's own names of files."""
    return (incomplete and offered(tags(), incomplete)) or [CompletionItem(incomplete, type="file")]


@click.command(
    short_help="The classes of pictures, by a run, published weights or a file.",
    epilog="""
Keys of --json: model, source, license, pictures (picture, predictions: index of the class, name or null, probability),
errors (picture, error). Columns of --csv: picture, rank, index, name, probability. Exit code 1 where a picture could
not be read.
""",
)
@click.argument("source", metavar="TAG|RUN|FILE", shell_complete=complete_source)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path())
@click.option("--top", type=COUNT, default=TOP, show_default=True, help="Classes of each picture.")
@click.option("--batch", type=COUNT, default=BATCH, show_default=True, help="Pictures that are computed together.")
@click.option("--max-pixels", type=COUNT, default=MAX_PIXELS, show_default=True, help="Larger pictures are not read.")
@click.option("--size", type=SIZE, metavar="SIZE|HxW", help="Pixels that the network takes.")
@click.option("--mean", type=NUMBERS, help="Of levels from 0 to 1; one for each channel, or for all.")
@click.option("--std", type=NUMBERS, help="The same; --mean 0 --std 1/255 for a network that takes levels to 255.")
@click.option("--interpolation", type=Name("interpolation", INTERPOLATIONS), metavar="|".join(INTERPOLATIONS))
@click.option("--crop", type=float, metavar="SHARE", help="Of the resized picture's side that is cut out.")
@click.option("--crop-mode", type=Name("crop mode", CROP_MODES), metavar="|".join(CROP_MODES))
@click.option(
    "--activation", type=Name("activation", ACTIVATIONS), metavar="|".join(ACTIVATIONS), help="Of the outputs."
)
@click.option("--classes", type=click.Path(path_type=Path), metavar="FILE", help="Names of the classes, one a line.")
@form_options
def predict(
    source: str,
    pictures: Sequence[str],
    top: int,
    batch: int,
    max_pixels: int,
    size: tuple[int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    interpolation: str | None,
    crop: float | None,
    crop_mode: str | None,
    activation: str | None,
    classes: Path | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Tell the most probable classes of each PICTURE: a file, a folder with all below it, or a pattern.

    The network is published weights (timm/resnext50_32x4d.a1h_in1k), the folder of a training run, or a file: .keras,
    .onnx, .tflite, or the folder of a SavedModel or of OpenVINO; .onnx, .tflite and OpenVINO run without TensorFlow.
    Pictures are read, resized, cropped and normalised as in training, which the run, the weights and files of
    `zoo export` tell; the options --size to --classes take its place, or tell it of a file that does not.

    \b
      zoo predict outputs/2026-11-23/07-00-00 photos/
      zoo predict network.tflite "photos/**/*.jpg" --top 1 --csv > classes.csv
      zoo predict mine.keras photo.jpg --mean 0.5 --std 0.5 --classes names.txt
    """
    form = form_of(as_json, as_csv)
    given = {
        "size": size,
        "mean": mean,
        "std": std,
        "interpolation": interpolation,
        "crop_pct": crop,
        "crop_mode": crop_mode,
        "classifier_activation": activation,
        "class_names": None if classes is None else _names(classes),
    }
    from zoo.prediction.files import list_pictures
    from zoo.prediction.opening import open_network

    listing = list_pictures(pictures)
    for note in listing.notes:
        _say(note)
    missing = list(listing.missing.items())
    if not listing.paths:
        raise UserError(f"There is nothing to predict: {'; '.join(f'{name}: {why}' for name, why in missing[:3])}.")
    errors: dict[str, str | None] = dict(missing)
    results: list[Result] = []
    with tensorflow_process.quiet(), console(error=True).status(f"Opening {printable(source)}") as status:
        network, config = open_network(source, {key: value for key, value in given.items() if value is not None}, _say)
        from zoo.prediction.predicting import predict as results_of  # imports NumPy

        for result in results_of(network, config, listing.paths, top, batch, max_pixels):
            status.update(f"{len(results) + 1:,} of {len(listing.paths):,} pictures")
            results.append(result)
    errors |= {result.path: result.error for result in results if result.error is not None}
    _write([result for result in results if result.error is None], errors, source, config, form)
    for name, reason in errors.items():
        _say(f"{name} is not predicted: {reason}.")
    if errors:
        click.get_current_context().exit(1)


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line. Raises UserError for what is no such file."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} has over {LARGEST_FILE:,} bytes, and names of classes have less.")
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: its byte {error.start} is not.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if empty or not lines:
        raise UserError(f"{path} names no class {f'in line {empty[0]}' if empty else 'at all'}: give one name a line.")
    return tuple(line.strip() for line in lines)


def _write(
    results: "Sequence[Result]", errors: Mapping[str, str | None], source: str, config: DataConfig, form: str
) -> None:
    rows = [row for result in results for row in _rows(result, config.class_names)]
    if form == "json":
        write_json(
            {
                "model": source,
                "source": config.source,
                "license": config.license,
                "pictures": [
                    {
                        "picture": result.path,
                        "predictions": [
                            {key: row[key] for key in ("index", "name", "probability")}
                            for row in _rows(result, config.class_names)
                        ],
                    }
                    for result in results
                ],
                "errors": [{"picture": name, "error": reason} for name, reason in errors.items()],
            }
        )
    elif form == "csv":
        text = [{key: printable(each) if isinstance(each, str) else each for key, each in row.items()} for row in rows]
        write_csv(text, header=("picture", "rank", "index", "name", "probability"))
    elif rows:
        write_table(_columns(named=config.class_names is not None), rows)
        if config.source:
            licence = f", licence {config.license}" if config.license else ""
            write_text(f"\nNetwork: {printable(config.source + licence)}.")
        if config.class_names is None:
            write_text("\nThe names of the classes are not known: --classes FILE gives them, one a line.")


def _rows(result: "Result", names: Sequence[str] | None) -> list[dict[str, Any]]:
    return [
        {
            "picture": result.path,
            "rank": rank,
            "index": each.index,
            "name": None if names is None else names[each.index],
            "probability": each.probability,
        }
        for rank, each in enumerate(result.predictions, start=1)
    ]


def _columns(named: bool) -> list[Column]:
    def cell(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: printable(str(row[key]))

    return [
        Column("picture", lambda row: printable(row["picture"]) if row["rank"] == 1 else "", number=False),
        *([Column("class", cell("name"), number=False)] if named else []),
        Column("index", cell("index"), least=60 if named else 0),
        Column("%", lambda row: f"{100 * row['probability']:.2f}"),
    ]
