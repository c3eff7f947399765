"""Networks as files for other runtimes, compared with their models. Importing this does not import Keras.

A further format is an instance of a `Format` of its own in `FORMATS`: `zoo.export` and the command know it then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checks import check_name
from zoo.data_config import DataConfig
from zoo.exporting.formats import ExportError, Format
from zoo.exporting.report import Report
from zoo.exporting.table import FORMATS, format_of

if TYPE_CHECKING:
    import keras

__all__ = ["FORMATS", "ExportError", "Format", "Report", "export", "metadata"]


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    fold: bool = True,
    batch: int | None = None,
    opset: int | None = None,
    preprocessing: bool | keras.Layer = False,
    softmax: bool = False,
    config: DataConfig | None = None,
    images: Any = None,
    threads: int = 1,
    verify: bool = True,
) -> Report:
    """Write `model` for inference in another runtime, and compare what the file computes there with the model.

    The file names its tensors as the model does, `images` and `logits` for a network of `zoo.create`; open axes of an
    ONNX file are batch, height and width. It holds operations of the runtime alone, in float32 but for what the format
    quantises, in the form of `blocks.exportable`: a grouped convolution is one operator. It is written aside and moved
    to `path` once it has been compared: an existing file is replaced then, an existing folder is not.

    Args:
        model: functional or Sequential, built, of this project or any other; on Keras's TensorFlow backend.
        path: a file ending in .tflite or .onnx, or a new folder.
        format: one of `zoo.exporting.FORMATS`: "savedmodel", "onnx", "litert", "litert-fp16" (weights in half
            precision), "litert-dynamic" (weights of int8), "litert-int8" (weights and activations), "openvino"; None
            takes it from the end of `path`, of which a folder is a SavedModel.
        fold: whether to `zoo.fuse` the model first; what cannot be fused is written as it is, and the report says so.
        batch: images of a call; None leaves it to the caller of the file.
        opset: of ONNX; None is the converter's own.
        preprocessing: whether the file itself resizes, crops and normalises as `config` says, so that it takes uint8
            pictures of any size; or a layer that does it, as `zoo.preprocessing` gives one.
        softmax: whether the file gives probabilities in place of logits.
        config: how the model sees pictures, the names of its classes, the licence: metadata of the file.
        images: to calibrate on, and to compare on: an array (N, H, W, C), the pair of it and labels, a data set of
            batches of either, or a folder of pictures, whose folders may be named as the classes. They are what the
            file takes. At most 1000 are used, 200 of these to calibrate. Without any, random ones are compared.
        threads: of the runtime, where the latency is measured.
        verify: False writes the file without running it.

    Returns:
        Size, latency, the largest difference from the model, with labels the accuracy of both: a `Report`.

    Raises:
        ExportError: a ValueError; the runtime cannot have or run the model, or the file's outputs differ from the
            model's by more than the format's bounds (`Format.bounds`). Nothing is left of the file then, and one that
            was there stays.
        ValueError: an unknown format, an opset or a batch that cannot be, a path that does not end as the format's
            files do, a model that is subclassed or not built, images that do not suit it, or none to calibrate on.
        TypeError: `model` is no keras.Model.
        FileExistsError: the folder exists already and is not empty.
        ImportError: a package is not installed (the extra `export`, for OpenVINO `openvino`).

    Example:
        >>> import pathlib, tempfile
        >>> model = keras.Sequential([keras.Input((8, 8, 4), name="images"), blocks.GroupedConv2D(8, 3, groups=2)])
        >>> report = zoo.export(model, pathlib.Path(tempfile.mkdtemp()) / "model.tflite")
        >>> report.format, report.grouped_convolutions, report.difference < 1e-4
        ('litert', 1, True)
    """
    target = Path(path)
    name = format_of(target) if format is None else format
    check_name("format", name, FORMATS, "export")
    chosen = FORMATS[name]
    from zoo.exporting.assembly import check_graph

    check_graph(model)
    _check_path(chosen, target)
    chosen.check_installed(running=verify)
    _check_numbers(chosen, batch, opset, threads)
    from zoo.exporting.writing import Request, write

    return write(
        model, target, chosen, Request(fold, batch, opset, preprocessing, softmax, config, images, threads, verify)
    )


def metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """What an exported file says of itself: "zoo", the JSON of its `DataConfig`; "class_names", a line each; "license".

    Raises ValueError for what is no file of a known format, or damaged.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.data_config import DataConfig
        >>> from zoo.exporting import metadata
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.tflite"
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> config = DataConfig(size=(8, 8), mean=(0.5,), std=(0.5,), channels=1, class_names=("cat", "dog"))
        >>> report = zoo.export(model, path, config=config)
        >>> metadata(path)["class_names"].split()
        ['cat', 'dog']
    """
    target = Path(path)
    if not target.exists():
        raise ValueError(f"There is no file or folder {str(path)!r}.")
    if target.is_file() and target.suffix not in {each.suffix for each in FORMATS.values() if each.suffix}:
        raise ValueError(f"{str(path)!r} is of no format that is known: {', '.join(FORMATS)}.")
    return FORMATS[format_of(target)].properties(target)


def _check_path(chosen: Format, target: Path) -> None:
    if chosen.suffix and target.suffix != chosen.suffix:
        raise ValueError(
            f"{str(target)!r} is not the name of a file of format={chosen.name!r}: it must end in {chosen.suffix}."
        )
    if target.is_dir() and (chosen.suffix or any(target.iterdir())):
        raise FileExistsError(
            f"{target} is a folder that exists already: export replaces files only. Name another path."
        )
    if not chosen.suffix and target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file, and format={chosen.name!r} makes a folder: name another path.")


def _check_numbers(chosen: Format, batch: int | None, opset: int | None, threads: int) -> None:
    for key, value in (("batch", batch), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{key}={value!r} is not allowed: give a whole number of at least 1.")
    if opset is None:
        return
    allowed = chosen.opsets()
    if allowed is None:
        raise ValueError(f"opset={opset!r} is not allowed for format={chosen.name!r}: ONNX alone has operator sets.")
    if isinstance(opset, bool) or not isinstance(opset, int) or opset not in allowed:
        nearest = ""
        if isinstance(opset, int):
            nearest = f"; the nearest is {min(max(opset, allowed[0]), allowed[-1])}"
        raise ValueError(f"opset={opset!r} is not allowed: use {allowed[0]} to {allowed[-1]}{nearest}.")
