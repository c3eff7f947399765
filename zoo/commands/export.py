"""`zoo export`: a network, a training run or a file of Keras as a file for another runtime, compared with the model."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from zoo import tensorflow_process
from zoo.commands.arguments import COUNT, SIZE, Name, complete_name
from zoo.commands.output import form_of, form_options, write_csv, write_fields, write_json
from zoo.errors import UserError
from zoo.exporting import FORMATS, Report, format_of

SUFFIXES = ", ".join(f"{name} ({each.suffix or 'a folder'})" for name, each in FORMATS.items())


@click.command(
    epilog=f"""
Formats: {SUFFIXES}. litert-fp16 has weights in half precision, litert-dynamic weights of int8, litert-int8 weights and
activations of int8. A run's validation images are calibrated and compared on, else the pictures of --calibrate, else
random numbers.

Keys of --json and columns of --csv: format, path, bytes, grouped_convolutions (operators of more than one group in the
file), model_grouped_convolutions, notes, seconds (latency: the median of a call), batch, threads, images (compared on),
drawn (whether these were random), difference (the largest, as a share of the largest output), cosine, agreement (share
of equal classes), top1 and model_top1 (accuracy, where the images have labels).
"""
)
@click.argument("source", metavar="NAME|RUN|FILE", shell_complete=complete_name)
@click.option("--format", "chosen", type=Name("format", FORMATS), metavar="FORMAT", help="[default: by --output]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="[default: the model's name]")
@click.option("--weights", metavar="TAG|FILE", help="Of the network NAME; without, they are random.")
@click.option("--size", type=SIZE, metavar="SIZE|HxW", help="Pixels of the network's images. [default: its weights']")
@click.option("--batch", type=COUNT, help="Images of a call. [default: any number]")
@click.option("--opset", type=int, help="Of ONNX. [default: the converter's]")
@click.option("--with-preprocessing", is_flag=True, help="Take uint8 pictures of any size: resize, crop and normalise.")
@click.option("--softmax", is_flag=True, help="Give probabilities, not logits.")
@click.option("--calibrate", metavar="FOLDER", help="Pictures to calibrate int8 on, and to compare on.")
@click.option(
    "--data-config", type=click.Path(path_type=Path), metavar="FILE", help="JSON: size, mean, std, classes, ..."
)
@click.option("--no-fold", is_flag=True, help="Keep normalisations as they are.")
@click.option("--threads", type=COUNT, default=1, show_default=True, help="Of the runtime, where latency is measured.")
@form_options
def export(
    source: str,
    chosen: str | None,
    output: Path | None,
    weights: str | None,
    size: tuple[int, int] | None,
    batch: int | None,
    opset: int | None,
    with_preprocessing: bool,
    softmax: bool,
    calibrate: str | None,
    data_config: Path | None,
    no_fold: bool,
    threads: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Write a network NAME or a published tag, a training RUN or a `.keras` FILE for another runtime.

    The file is run in its own runtime, and refused where its outputs are not the model's. Any functional or Sequential
    model of Keras can be written, of this project or not.

    \b
      zoo export outputs/2026-11-23/07-00-00 --format litert-int8 -o digits.tflite
      zoo export timm/resnext50_32x4d.a1h_in1k --format onnx --with-preprocessing --softmax
      zoo export mine.keras --format litert-fp16 --calibrate pictures/
    """
    form = form_of(as_json, as_csv)
    if chosen is None and output is None:
        raise UserError(f"Give --format, one of {', '.join(FORMATS)}, or --output with the ending of one.")
    format_name = chosen or format_of(Path(output or ""))
    with tensorflow_process.quiet():
        report = _exported(
            source,
            weights,
            size,
            data_config,
            calibrate,
            target=output,
            format=format_name,
            options={
                "fold": not no_fold,
                "batch": batch,
                "opset": opset,
                "preprocessing": with_preprocessing,
                "softmax": softmax,
                "threads": threads,
            },
        )
    if form == "json":
        write_json(report.plain())
    elif form == "csv":
        write_csv([asdict(report)])
    else:
        write_fields({name: text for name, text in report.fields().items() if name != "warning"})
    if report.warning:
        _say(report.warning)


def _exported(
    source: str,
    weights: str | None,
    size: tuple[int, int] | None,
    data_config: Path | None,
    calibrate: str | None,
    target: Path | None,
    format: str,
    options: dict[str, Any],
) -> Report:
    tensorflow_process.prepare()
    import zoo
    from zoo.commands.export_source import load

    loaded, raw = load(source, weights, size, data_config), options["preprocessing"]
    config, images, needed = loaded.config, calibrate, FORMATS[format].calibrated
    if config is None and (raw or calibrate):
        config = loaded.assumed(_say)
    if calibrate is None and loaded.dataset is not None:
        images = _validation(loaded.dataset, raw, needed)
    if images is None and needed:
        raise UserError(f"--format {format} is calibrated on pictures: give --calibrate FOLDER, some hundred.")
    target = target or Path(_default_name(loaded.model.name, format))
    return zoo.export(loaded.model, target, format, config=config, images=images, **options)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _default_name(model: str, format_name: str) -> str:
    """The model's name, with the format where its files' suffix does not tell it."""
    suffix = FORMATS[format_name].suffix
    if not suffix:
        return f"{model}-{format_name}"
    _, hyphen, kind = format_name.partition("-")
    return f"{model}{hyphen}{kind}{suffix}"


def _validation(dataset: Any, raw: bool, needed: bool) -> Any:
    """The validation images of a run; None, and a line on why, where they are not there and not needed."""
    from zoo.datasets.validation import validation_images
    from zoo.exporting.images import MOST

    try:
        return list(validation_images(dataset, MOST, raw=raw))
    except (UserError, ValueError, OSError) as error:
        if needed:
            raise UserError(f"The run's validation images cannot be read, give --calibrate FOLDER: {error}") from error
        _say(f"The run's validation images cannot be read, random ones are compared: {error}")
        return None
