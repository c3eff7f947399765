"""From a model to a file: assembled, written aside, compared with the model, and moved to its place."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from blocks import exportable
from zoo.data_config import KEY, DataConfig
from zoo.exporting import assembly
from zoo.exporting.formats import CLASS_NAMES, LICENSE, ExportError, Format, Outcome, Task
from zoo.exporting.images import CALIBRATION, Samples, drawn, samples_of
from zoo.exporting.pictures import Pictures, config_of, prepared
from zoo.exporting.report import Report
from zoo.exporting.verification import accuracy, compare, computed

NOISE = 10  # a network of which a tenth of a format's bound, as noise in its images, changes more than that is bound so


@dataclass(frozen=True)
class Request:
    """The arguments of `zoo.export` that say what is written."""

    fold: bool
    batch: int | None
    opset: int | None
    preprocessing: bool | keras.Layer
    softmax: bool
    config: DataConfig | None
    images: Any
    threads: int
    verify: bool


def write(model: keras.Model, target: Path, chosen: Format, request: Request) -> Report:
    """Write `model` in the format, as `zoo.export` says, and raise what that raises."""
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on {keras.backend.backend()}: files are written from its TensorFlow backend alone."
        )
    plain = assembly.float32(model)
    fused, notes = assembly.fused_or_not(plain) if request.fold else (plain, [])
    fused = chosen.prepared(fused)
    layer, config = _preprocessing(model, request)
    reference = assembly.assemble(plain, layer, softmax=request.softmax)
    whole = assembly.assemble(fused, layer, softmax=request.softmax)
    task = replace(_task(whole, request), properties=_properties(config))
    specifications = keras.tree.flatten(task.signature)
    samples = _samples(chosen, request, specifications, layer, config)
    if chosen.calibrated and samples is not None:
        batches = [arrays for arrays, _ in samples.spread(CALIBRATION).batches(request.batch or 1)]
        task = replace(task, calibration=batches)
        if layer is not None:
            task = replace(task, parts=_parts(layer, whole, fused, task, request))
    with _aside(target) as complete:
        _write(chosen, task, complete)
        report = Report(
            chosen.name,
            target,
            _bytes(complete),
            None,
            assembly.grouped_convolutions(fused),
            tuple(notes),
        )
        if request.verify:
            compared = samples or drawn(specifications)
            report = _verified(report, chosen, task, complete, reference, compared, request)
            report = replace(report, drawn=samples is None)
    return report


def _task(model: keras.Model, request: Request) -> Task:
    whole, signature, inputs, outputs = assembly.named(model, request.batch)
    return Task(whole, signature, tuple(inputs), tuple(outputs), opset=request.opset)


def _parts(
    layer: keras.Layer, whole: keras.Model, network: keras.Model, task: Task, request: Request
) -> tuple[Task, Task]:
    """Preprocessing and the network behind it as tasks of their own."""
    pictures = whole.inputs[0]
    front = keras.Model(pictures, layer(pictures), name=layer.name)
    rest = assembly.assemble(network, softmax=request.softmax)
    calibration = [[np.asarray(layer(*batch))] for batch in task.calibration]
    return _task(front, request), replace(_task(rest, request), calibration=calibration)


def _preprocessing(model: keras.Model, request: Request) -> tuple[keras.Layer | None, DataConfig | None]:
    """The layer before the network, or none, and what the file says of itself."""
    layer, config = request.preprocessing, request.config
    if isinstance(layer, keras.Layer):
        config = config or config_of(layer)
    elif layer:
        if config is None:
            raise ValueError("preprocessing=True needs config=DataConfig(...), which says how the model sees pictures.")
        layer = Pictures(config, name="preprocessing")
    if config is not None:
        softmax = request.softmax or assembly.ends_in_softmax(model)
        activation = "softmax" if softmax else config.classifier_activation
        config = replace(config, classifier_activation=activation, include_preprocessing=bool(layer))
        _check_classes(model, config)
    return layer or None, config


def _samples(
    chosen: Format,
    request: Request,
    specifications: list[Any],
    layer: keras.Layer | None,
    config: DataConfig | None,
) -> Samples | None:
    """The images that were given, as the file takes them."""
    if request.images is None:
        if chosen.calibrated:
            raise ValueError(
                f"format={chosen.name!r} is calibrated on images: give images=, some hundred as in training, or a "
                "folder."
            )
        return None
    names = None if config is None else config.class_names
    return samples_of(request.images, specifications, _prepare(layer, config), names)


def _prepare(layer: keras.Layer | None, config: DataConfig | None) -> Callable[[np.ndarray], np.ndarray] | None:
    """From a picture in a folder, (H, W, 3), to what the file takes; None where that is not known."""
    if config is None:
        return None if layer is None else lambda picture: picture
    channels = 1 if config.channels == 1 else 3
    if layer is not None:
        return lambda picture: picture[..., :channels]
    return lambda picture: np.asarray(prepared(picture[None, ..., :channels], config))[0]


def _properties(config: DataConfig | None) -> dict[str, str]:
    if config is None:
        return {}
    properties = {KEY: config.to_json()}
    if config.class_names:
        properties[CLASS_NAMES] = "\n".join(config.class_names)
    if config.license:
        properties[LICENSE] = config.license
    return properties


def _check_classes(model: keras.Model, config: DataConfig) -> None:
    shape = model.outputs[0].shape
    if config.class_names and len(model.outputs) == 1 and len(shape) == 2 and shape[1] != len(config.class_names):
        raise ValueError(f"{model.name} has {shape[1]} outputs, and config.class_names has {len(config.class_names)}.")


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A path beside `target` for the block to write to, which then takes its place; nothing is left of a failure."""
    absent = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            complete = Path(folder) / target.name
            yield complete
            os.replace(complete, target)
    except BaseException:
        with suppress(OSError):
            for parent in absent:
                parent.rmdir()
        raise


def _write(chosen: Format, task: Task, path: Path) -> None:
    try:
        with exportable(), assembly.tensors_as_arrays(task.model), warnings.catch_warnings():
            # Of TensorFlow, which calibrates with an interpreter that it no longer wants others to use.
            warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated", UserWarning)
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)  # of Keras beside tf2onnx
            chosen.write(task, path)
    except (ExportError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:  # converters raise many kinds
        raise ExportError(f"{task.model.name} cannot be written as {chosen.name}: {_first_line(error)}") from error


def _run(chosen: Format, task: Task, path: Path, batches: list[Any], threads: int) -> Outcome:
    try:
        return chosen.run(path, task.inputs, task.outputs, batches, threads)
    except (ExportError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:  # runtimes do too
        raise ExportError(
            f"{task.model.name} as {chosen.name} does not run in its own runtime: {_first_line(error)}"
        ) from error


def _verified(
    report: Report,
    chosen: Format,
    task: Task,
    path: Path,
    reference: keras.Model,
    samples: Samples,
    request: Request,
) -> Report:
    """The report with what the file computes. Raises ExportError where that differs from what the model computes."""
    expected = computed(reference, samples)
    if not all(np.isfinite(array).all() for arrays in expected for array in arrays):
        raise ExportError(
            f"{reference.name} gives NaN or infinity for the images, so a file cannot be compared with it."
        )
    batch = keras.tree.flatten(task.signature)[0].shape[0]
    parts = list(samples.batches(batch))
    if batch is None:  # any number is to work: the first image twice as well
        parts.append(([np.stack([array, array]) for array in samples.inputs[0]], 1))
    outcome = _run(chosen, task, path, [arrays for arrays, _ in parts], request.threads)
    actual = [
        [array[place] for array in arrays]
        for arrays, (_, number) in zip(outcome.outputs, parts, strict=True)
        for place in range(number)
    ]
    actual, twice = actual[: len(expected)], actual[len(expected) :]
    comparison = compare(actual, expected)
    bounds, notes = chosen.bounds, report.notes
    if bounds.difference is not None and comparison.difference > bounds.difference:
        noise = bounds.difference / NOISE
        change = compare(computed(reference, samples.with_noise(noise)), expected).difference
        if change > bounds.difference:
            bounds = replace(bounds, difference=change)
            notes = (
                *notes,
                f"Noise of {noise:.0e} in the images changes the outputs by {change:.1e}: so may the file.",
            )
    beyond = comparison.beyond(bounds) or (twice and compare(twice, expected[:1]).beyond(bounds))
    if beyond:
        raise ExportError(
            f"{task.model.name} as {chosen.name} is not written, for its outputs are not the model's: {beyond}."
        )
    return replace(
        report,
        notes=notes,
        grouped_convolutions=outcome.grouped_convolutions,
        seconds=outcome.seconds,
        batch=batch or 1,
        threads=request.threads,
        images=len(expected),
        difference=comparison.difference,
        cosine=comparison.cosine,
        agreement=comparison.agreement,
        top1=accuracy(actual, samples.labels),
        model_top1=accuracy(expected, samples.labels),
    )


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300] + "."
