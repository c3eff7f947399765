"""One training run, from checked settings to a trained model and its record."""

import gc
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
from rich.console import Console

from zoo import environment, hardware, metrics
from zoo.complexity import LayerCost, Profile, profile_layers
from zoo.datasets.folders import ImageFolder
from zoo.datasets.identity import data_identity
from zoo.datasets.pipeline import Data, load
from zoo.errors import UserError
from zoo.factory import create
from zoo.registry import family_key
from zoo.tracking.config import group_name, run_name
from zoo.tracking.panels import evaluation_panels, layer_panels
from zoo.tracking.run import open_run
from zoo.tracking.tracker import Tracker
from zoo.training import recipe
from zoo.training.epochs import DivergedError, EpochRows
from zoo.training.evaluation import evaluate
from zoo.training.interrupts import Interrupts
from zoo.training.latency import latency_seconds
from zoo.training.progress import ProgressBar, closing_table, compare_line, console, epoch_line
from zoo.training.record import Record
from zoo.training.run_directory import MODEL_FILE
from zoo.training.saving import save_after_error, save_model
from zoo.training.settings import Settings
from zoo.training.signals import deferred

STOPPED_SECONDS = 10.0  # what a pass over the validation images may take once the user has stopped the run
T = TypeVar("T")


@dataclass(frozen=True)
class Sweep:
    """The sweep that a run belongs to: its id, a time stamp, and the overrides that vary within it."""

    id: str | None = None
    swept: Collection[str] = ()


def train(
    settings: Settings,
    resolved: dict[str, Any],
    directory: Path,
    sweep: Sweep | None = None,
    folder: ImageFolder | None = None,
) -> dict[str, Any]:
    """Train the network of `settings`, and return what `directory/result.json` says.

    Writes `metrics.csv` (a row an epoch), `result.json`, `evaluation.json` and `model.keras` to `directory`, and logs
    to W&B. The model is on disk before anything else is measured.

    Args:
        resolved: the whole configuration as plain values.
        folder: what an image folder holds, where it has been listed.

    Raises:
        KeyboardInterrupt: the user stopped the run; the model so far has been saved first.
        UserError: the run cannot go on; `result.json` says why too.
    """
    sweep = sweep or Sweep()
    started = time.perf_counter()
    start = _start(settings, sweep) | {"config": resolved, "process": environment.process()}
    screen = console()
    with Record(directory, start) as record, ExitStack() as stack:
        model, data, layers = _prepare(settings, screen, folder)
        cost = _total(layers)
        start |= {"data": _plainly(lambda: data_identity(settings.dataset, folder)), "kernels": hardware.kernels()}
        record.add({**asdict(cost), **start})
        tracker = _plainly(lambda: stack.enter_context(_tracked(settings, start, directory, screen)))
        stack.enter_context(data.naming_what_is_broken())
        tracker.summarise(asdict(cost))
        tracker.show(lambda: layer_panels(layers), step=0)
        # Around the training too, which signals do stop: none falls between its end and the saving.
        with deferred(f"Saving {MODEL_FILE}") as stop:
            try:
                stop.error, rows = _fit(model, data, settings, screen, record, tracker, started)
            except DivergedError:
                raise
            except (Exception, SystemExit):  # the latter is Rich's, for a pipe that nobody reads any more
                save_after_error(model, directory / MODEL_FILE, screen)
                raise
            save_model(model, directory / MODEL_FILE)
            record.add(
                {
                    **_result(rows.rows),
                    "wandb": {"mode": tracker.mode, "id": tracker.id, "url": tracker.url},
                    "peak_memory_bytes": environment.peak_memory_bytes(),  # of training: what follows is no part of it
                    "seconds": time.perf_counter() - started,
                }
            )
        stopped = stop.error
        try:
            with Interrupts():
                if not stopped:
                    record.add(_tested(model, data))
                if not stopped or rows.validation_seconds <= STOPPED_SECONDS:
                    evaluation = evaluate(model, data, settings.dataset)
                    record.evaluation(evaluation.plain())
                    tracker.show(lambda: evaluation_panels(evaluation), step=len(rows.rows) + 1)
                if not stopped:
                    record.add({"latency_seconds": _latency(model, screen)})
        except KeyboardInterrupt as error:
            stopped = stopped or error
        status = "interrupted" if stopped else "finished"
        result = record.finish(status, {"seconds": time.perf_counter() - started})
        figures = {key: result[key] for key in metrics.METRICS if result.get(key) is not None}
        tracker.summarise({"status": status, **figures})  # W&B itself calls a run failed that the user stopped
        screen.print(closing_table(result, str(directory)))
        screen.print(compare_line(directory, swept=sweep.id is not None))
        if stopped:
            raise stopped
    return result


def _start(settings: Settings, sweep: Sweep) -> dict[str, Any]:
    """What `result.json` tells of a run before it begins."""
    names = (settings.model.name, settings.groups, settings.dataset.name)
    return {
        "name": settings.tracking.name or run_name(*names),
        "group": settings.tracking.group or group_name(*names, swept=sweep.swept, sweep_id=sweep.id),
        "model": settings.model.name,
        "family": family_key(settings.model),
        "family_settings": asdict(settings.model),
        "groups": settings.groups,
        "dataset": settings.dataset.name,
        "seed": settings.seed,
        "small_stem": settings.small_stem,
        "epochs_planned": settings.recipe.epochs,
        **environment.source(Path(__file__).parent),
        "versions": environment.versions(),
        "packages": environment.packages(),
        "variables": environment.variables(),
        **hardware.described(),
    }


def _tracked(settings: Settings, start: Mapping[str, Any], directory: Path, screen: Console):
    """W&B's run, with what runs are grouped by on its dashboards at the top level of its config."""
    facts = {"family": start["family"], "network": start["model"], "groups": start["groups"]}
    facts |= {key: start[key] for key in metrics.MADE_WITH}
    return open_run(
        settings.tracking,
        name=start["name"],
        group=start["group"],
        resolved={**start["config"], **facts},
        directory=directory,
        say=screen.print,
    )


def _plainly(action: Callable[[], T]) -> T:
    """What `action` returns; a ValueError, or a package that is missing, is an error in the user's input."""
    try:
        return action()
    except (ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def _prepare(
    settings: Settings, screen: Console, folder: ImageFolder | None
) -> tuple[keras.Model, Data, list[LayerCost]]:
    """Data, the compiled model and its layers' costs, and a few lines on the terminal about them."""
    keras.backend.clear_session()  # a run before this one, in a sweep, leaves its graph behind,
    gc.collect()  # and its weights in cycles; its memory would count as this run's
    environment.reset_peak_memory()
    data = _plainly(lambda: load(settings.dataset, settings.recipe.batch_size, settings.seed, folder=folder))
    keras.utils.set_random_seed(settings.seed)  # here, for a data set that is prepared first draws numbers too
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.policy(settings.recipe))
    try:
        shape = {"num_classes": data.num_classes, "input_shape": data.input_shape, "small_stem": settings.small_stem}
        model = _plainly(lambda: create(settings.model, dropout=settings.recipe.dropout, **shape))
    finally:
        keras.config.set_dtype_policy(before)
    recipe.compile_model(model, settings.recipe, _steps(settings, data))
    layers = profile_layers(model)
    cost = _total(layers)
    groups = "" if settings.groups is None else f", groups {settings.groups}"
    screen.print(f"{model.name}{groups}: {cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates an image")
    height, width, channels = data.input_shape
    sizes = f"{data.train_size:,} training and {data.validation_size:,} validation"
    screen.print(f"{data.name}: {sizes} images of {height} x {width} x {channels}, {data.num_classes} classes")
    if settings.small_stem:
        why = f"images of {height} pixels; small_stem=false undoes it" if settings.small_stem_chosen else "as asked"
        screen.print(f"stem: keeps the resolution ({why})")
    return model, data, layers


def _total(layers: list[LayerCost]) -> Profile:
    return sum((row.cost for row in layers), Profile(0, 0, 0))


def _steps(settings: Settings, data: Data) -> int:
    return min(data.steps_per_epoch, settings.limit_steps or data.steps_per_epoch)


def _fit(
    model: keras.Model,
    data: Data,
    settings: Settings,
    screen: Console,
    record: Record,
    tracker: Tracker,
    started: float,
) -> tuple[KeyboardInterrupt | None, EpochRows]:
    """Train; what the user stopped it with, if that happened, and the epochs that were finished."""
    epochs, steps = settings.recipe.epochs, _steps(settings, data)

    def emit(row: dict) -> None:
        record.epoch(row)
        tracker.log(row, step=row[metrics.EPOCH])
        screen.print(epoch_line(row, epochs))

    rows = EpochRows(settings.recipe.batch_size, started, emit)
    try:
        with Interrupts() as interrupts, ProgressBar(screen, epochs, steps, settings.recipe.batch_size) as bar:
            model.fit(
                data.stream(),  # endless: Keras looks at a batch before it trains, which would skip an epoch's order
                epochs=epochs,
                steps_per_epoch=steps,
                validation_data=data.validation,
                callbacks=[interrupts, rows, bar],
                shuffle=False,  # the data set shuffles itself
                verbose=0,
            )
    except KeyboardInterrupt as error:
        has_trained = model.optimizer.iterations > 0
        screen.print("Stopped: saving the model." if has_trained else "Stopped before the first step was done.")
        return error, rows
    return None, rows


def _tested(model: keras.Model, data: Data) -> dict[str, float]:
    """Figures on the test split; none where there is no such split."""
    if data.test is None:
        return {}
    figures = model.evaluate(data.test, verbose=0, return_dict=True)
    return {f"test_{key}": value for key, value in figures.items()}


def _latency(model: keras.Model, screen: Console) -> float | None:
    """Seconds for one image; None, and a line on why, where it cannot be measured."""
    try:
        return latency_seconds(model)
    except Exception as error:  # whatever a network does to the measurement, it has been trained
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        screen.print(f"The latency of one image was not measured: {reason[:300]}.")
        return None


def _result(rows: list[dict]) -> dict[str, Any]:
    """What `result.json` tells of the training: of its last epoch, and of its best."""
    last = rows[-1] if rows else {}
    rates = _steady(rows)
    return {
        "epochs": len(rows),
        "train_loss": last.get(metrics.TRAIN_LOSS),
        "val_loss": last.get(metrics.VAL_LOSS),
        "val_top1": last.get(metrics.VAL_TOP1),
        "val_top5": last.get(metrics.VAL_TOP5),
        "best_val_top1": max((row[metrics.VAL_TOP1] for row in rows), default=None),
        "train_images_per_second": statistics.median(rates) if rates else None,
        "latency_seconds": None,  # measured last
    }


def _steady(rows: list[dict]) -> list[float]:
    """Images per second of the epochs after the first, in which caches fill; of the first where it is all."""
    rates = [row[metrics.TRAIN_IMAGES_PER_SECOND] for row in rows]
    return rates[1:] or rates
