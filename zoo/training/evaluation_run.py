"""The evaluation of a run, a file of weights or a published tag: the figures of a run, without its training."""

import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

import blocks  # noqa: F401  (its layers, which files name)
from zoo import environment, hardware
from zoo.complexity import Profile, profile_layers
from zoo.datasets.config import DatasetConfig
from zoo.datasets.folders import ImageFolder
from zoo.datasets.identity import data_identity
from zoo.datasets.pipeline import Data, load
from zoo.errors import UserError
from zoo.exporting.assembly import ends_in_softmax
from zoo.factory import create
from zoo.tracking.config import run_name
from zoo.tracking.connection import connect
from zoo.tracking.panels import evaluation_panels
from zoo.training.checkpoints.progress import Progress
from zoo.training.evaluation import evaluate
from zoo.training.facts import Sweep, initial_facts
from zoo.training.interrupts import Interrupts
from zoo.training.preparation import as_user_errors, release_memory
from zoo.training.progress import console
from zoo.training.recipe import compile_for_evaluation
from zoo.training.record import Record
from zoo.training.run import Run, close, figures_on_test, latency, log_cost, open_tracking
from zoo.training.run_directory import MODEL_FILE
from zoo.training.settings import Settings
from zoo.weights.published import resolve, tags

SMALLEST = 1e-37  # a probability that float32 still has a logarithm of
NOT_TRAINED = dict.fromkeys(("train_images_per_second", "peak_memory_bytes"))  # figures of a training that a table has


def evaluate_checkpoint(
    settings: Settings,
    resolved: dict[str, Any],
    directory: Path,
    sweep: Sweep | None = None,
    folder: ImageFolder | None = None,
) -> dict[str, Any]:
    """Evaluate `settings.checkpoint` on the data set of `settings`, and return what `directory/result.json` says.

    Validation and test figures, `evaluation.json`, costs and latency are computed as at the end of a training run, and
    of the same weights and images are the same. The checkpoint is only read.

    Args as for `zoo.training.run.train`.

    Raises:
        KeyboardInterrupt: the user stopped the evaluation.
        UserError: the checkpoint cannot be read, or does not suit the data set; `result.json` says why too.
    """
    sweep, started = sweep or Sweep(), time.perf_counter()
    facts = initial_facts(settings, sweep)
    facts |= {"mode": settings.mode, "checkpoint": settings.checkpoint, "epochs_planned": 0}
    facts |= {"config": resolved, "process": environment.process()}
    with Record(directory, facts) as record, ExitStack() as stack:
        run = Run(settings, directory, sweep, started, record, console(), Progress())
        release_memory()
        with as_user_errors():
            connection = connect(settings.tracking)
            data = load(settings.dataset, settings.recipe.batch_size, settings.seed, folder=folder, training=False)
            model = open_checkpoint(settings, data)
        compile_for_evaluation(model, settings.recipe)
        layers = profile_layers(model)
        cost = sum((layer.cost for layer in layers), Profile(0, 0, 0))
        facts |= _names(settings, model) | NOT_TRAINED
        _print_summary(run, model, data, cost)
        with as_user_errors():
            facts |= {"data": data_identity(settings.dataset, folder), **hardware.kernel_facts()}
        record.add({**asdict(cost), **facts})
        with as_user_errors():
            tracker = stack.enter_context(open_tracking(run, facts, connection, job_type=settings.mode))
        record.add({"wandb": {"mode": tracker.mode, "id": tracker.id, "url": tracker.url}})
        stack.enter_context(data.naming_what_is_broken())
        log_cost(tracker, cost, layers)
        with Interrupts():
            figures = model.evaluate(data.validation, verbose=0, return_dict=True)
            record.add({f"val_{key}": value for key, value in figures.items()})
            record.add(figures_on_test(model, data))
            evaluation = evaluate(model, data, settings.dataset)
            record.evaluation(evaluation.plain())
            tracker.show(lambda: evaluation_panels(evaluation), step=1)
            record.add({"latency_seconds": latency(model, run.screen)})
        return close(run, tracker, None)


def open_checkpoint(settings: Settings, data: Data) -> keras.Model:
    """The network of `settings.checkpoint`, from images of `data` to raw logits.

    Raises:
        ValueError: it cannot be read, has another number of classes than the data set or takes other images.
        ImportError: a package is not installed.
    """
    source = settings.checkpoint
    assert source is not None  # `zoo.training.settings.check` saw to it
    path = Path(source).expanduser()
    if path.is_dir():
        model = _loaded(path / MODEL_FILE)
        if _differ_in_size_alone(model, data):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* was saved from another build of ")  # as the user asks
                model = create(settings.model, input_shape=data.input_shape, weights=path)
    elif path.name.lower().endswith(".keras"):
        model = _logits(_loaded(path))
    elif path.exists():
        model = create(settings.model, input_shape=data.input_shape, weights=path, small_stem=settings.small_stem)
    else:
        model = create(
            settings.model.name, input_shape=data.input_shape, weights=source, small_stem=settings.small_stem
        )
    _check_images(source, model, settings.dataset)
    _check_classes(source, model, data)
    return model


def _loaded(path: Path) -> keras.Model:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an optimizer that a file of another program has
            model = keras.models.load_model(path, compile=False)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # of many kinds, for damaged files and for layers that are not there
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
        raise UserError(f"{path} cannot be loaded by Keras: {reason}.") from error
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or len(outputs[0].shape) != 2:
        raise UserError(f"{path} is no network from images (B, H, W, C) to classes (B, classes).")
    return model


def _logits(model: keras.Model) -> keras.Model:
    """`model`, with logarithms behind a softmax at its end: the loss takes logits, and these are some."""
    if not ends_in_softmax(model):
        return model
    logs = keras.ops.log(keras.ops.maximum(model.outputs[0], SMALLEST))
    return keras.Model(model.inputs[0], logs, name=model.name)


def _differ_in_size_alone(model: keras.Model, data: Data) -> bool:
    *size, channels = model.inputs[0].shape[1:]
    return tuple(size) != data.input_shape[:2] and channels == data.input_shape[2]


def _check_images(source: str, model: keras.Model, dataset: DatasetConfig) -> None:
    own = tuple(model.inputs[0].shape[1:])
    images = (dataset.image_size, dataset.image_size, dataset.channels)
    if any(axis not in (None, wanted) for axis, wanted in zip(own, images, strict=True)):
        shown = " x ".join("any" if axis is None else str(axis) for axis in own)
        raise ValueError(
            f"{source} takes images of {shown} (height, width, channels), and the data set has "
            f"{' x '.join(map(str, images))}: set dataset.image_size and dataset.channels."
        )


def _check_classes(source: str, model: keras.Model, data: Data) -> None:
    classes = model.outputs[0].shape[-1]
    if classes != data.num_classes:
        raise ValueError(
            f"{source} has {classes} classes, and {data.name} has {data.num_classes}: give the data set that it was "
            "trained on, dataset=NAME."
        )


def _names(settings: Settings, model: keras.Model) -> dict[str, Any]:
    """What the evaluated network is called; one that is not of the zoo has no family."""
    name, groups = settings.model.name, settings.groups
    own: dict[str, Any] = {}
    if model.name != name:
        name, groups = model.name, None
        own = {"model": name, "groups": None, "family": None, "family_settings": None}
    return own | {"name": settings.tracking.name or f"{run_name(name, groups, settings.dataset.name)}-evaluation"}


def _print_summary(run: Run, model: keras.Model, data: Data, cost: Profile) -> None:
    source = run.settings.checkpoint
    published = f" (published: {resolve(source).top1:g} % top-1)" if source in tags() and resolve(source).top1 else ""
    run.screen.print(f"{source}{published}")
    run.screen.print(f"{model.name}: {cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates an image")
    height, width, channels = data.input_shape
    test = f" and {data.test_size:,} test" if data.test_size else ""
    run.screen.print(
        f"{data.name}: {data.validation_size:,} validation{test} images of {height} x {width} x {channels}, "
        f"{data.num_classes} classes"
    )
