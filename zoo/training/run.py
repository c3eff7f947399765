"""One training run, from checked settings to a trained model and its record."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
from rich.console import Console

from zoo.complexity import Profile, profile
from zoo.factory import create
from zoo.training import environment, recipe
from zoo.training.data import Data, load
from zoo.training.epochs import EpochRows
from zoo.training.errors import UserError
from zoo.training.progress import ProgressBar, closing_table, console, epoch_line
from zoo.training.record import Record
from zoo.training.settings import Settings
from zoo.training.tracking import Tracker, open_run
from zoo.training.tracking_config import group_name, run_name

MODEL_FILE = "model.keras"
T = TypeVar("T")


@dataclass(frozen=True)
class Sweep:
    """The sweep that a run belongs to: its id, a time stamp, and the overrides that vary within it."""

    id: str | None = None
    swept: Collection[str] = ()


def train(settings: Settings, resolved: dict[str, Any], directory: Path, sweep: Sweep | None = None) -> dict[str, Any]:
    """Train the network of `settings`, and return what `directory/result.json` says.

    Writes `metrics.csv` (a row an epoch), `result.json` and `model.keras` to `directory`, and logs to W&B.

    Args:
        resolved: the whole configuration as plain values, for W&B.

    Raises:
        KeyboardInterrupt: the user stopped the run; what was learnt has been saved first.
        UserError: the run cannot go on; `result.json` says why too.
    """
    sweep = sweep or Sweep()
    started = time.perf_counter()
    names = (settings.model.name, settings.groups, settings.dataset.name)
    name = run_name(*names)
    group = group_name(*names, swept=sweep.swept, sweep_id=sweep.id)
    start = {
        "name": settings.tracking.name or name,
        "group": settings.tracking.group or group,
        "model": settings.model.name,
        "family_settings": asdict(settings.model),
        "groups": settings.groups,
        "dataset": settings.dataset.name,
        "seed": settings.seed,
        "small_stem": settings.small_stem,
        "commit": environment.git_commit(Path(__file__).parent),
        "versions": environment.versions(),
    }
    screen = console()
    with Record(directory, start) as record, ExitStack() as stack:
        model, data, cost = _prepare(settings, screen)
        (directory / MODEL_FILE).unlink(missing_ok=True)  # an earlier run's; its figures have been replaced too
        options = {"name": name, "group": group, "resolved": resolved, "directory": directory, "say": screen.print}
        tracker = _plainly(lambda: stack.enter_context(open_run(settings.tracking, **options)))
        tracker.summarise(asdict(cost))
        stopped, rows = _fit(model, data, settings, screen, record, tracker)
        _save(model, directory / MODEL_FILE)
        values = _result(rows, cost, settings)
        if not stopped and data.test is not None:
            values |= (tested := _evaluate(model, data))
            stopped = not tested
        status = "interrupted" if stopped else "finished"
        values |= {
            "wandb": {"mode": tracker.mode, "id": tracker.id, "url": tracker.url},
            "peak_memory_bytes": environment.peak_memory_bytes(),
            "seconds": time.perf_counter() - started,
        }
        record.finish(status, values)
        tracker.summarise({key: value for key, value in values.items() if isinstance(value, (int, float))})
        result = {"status": status, **start, **values}
        screen.print(closing_table(result, str(directory)))
        if stopped:
            raise KeyboardInterrupt
    return result


def _plainly(action: Callable[[], T]) -> T:
    """What `action` returns; a ValueError, or a package that is missing, is something that the user can mend."""
    try:
        return action()
    except (ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def _save(model: keras.Model, path: Path) -> None:
    """Write the model, if it has learnt anything; a file that is there is whole."""
    if model.optimizer.iterations > 0:
        part = path.with_name(f"part.{path.name}")  # Keras looks at the suffix
        # Without optimizer and loss: a third of the size, and it loads with `blocks` alone.
        keras.Model(model.inputs, model.outputs, name=model.name).save(part)
        os.replace(part, path)


def _prepare(settings: Settings, screen: Console) -> tuple[keras.Model, Data, Profile]:
    """Data and compiled model, and a few lines on the terminal about both."""
    keras.backend.clear_session()  # a run before this one, in a sweep, leaves its graph behind,
    gc.collect()  # and its weights in cycles; its memory would count as this run's
    environment.reset_peak_memory()
    keras.utils.set_random_seed(settings.seed)
    data = _plainly(lambda: load(settings.dataset, settings.recipe.batch_size, settings.seed))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.policy(settings.recipe))
    try:
        shape = {"num_classes": data.num_classes, "input_shape": data.input_shape, "small_stem": settings.small_stem}
        model = _plainly(lambda: create(settings.model, dropout=settings.recipe.dropout, **shape))
    finally:
        keras.config.set_dtype_policy(before)
    recipe.compile_model(model, settings.recipe, _steps(settings, data))
    cost = profile(model)
    groups = "" if settings.groups is None else f", groups {settings.groups}"
    screen.print(f"{model.name}{groups}: {cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates an image")
    height, width, channels = data.input_shape
    sizes = f"{data.train_size:,} training and {data.validation_size:,} validation"
    screen.print(f"{data.name}: {sizes} images of {height} x {width} x {channels}, {data.num_classes} classes")
    if settings.small_stem:
        why = f"images of {height} pixels; small_stem=false undoes it" if settings.small_stem_chosen else "as asked"
        screen.print(f"stem: keeps the resolution ({why})")
    return model, data, cost


def _steps(settings: Settings, data: Data) -> int:
    return min(data.steps_per_epoch, settings.limit_steps or data.steps_per_epoch)


def _fit(
    model: keras.Model, data: Data, settings: Settings, screen: Console, record: Record, tracker: Tracker
) -> tuple[bool, list[dict]]:
    """Train; whether the user stopped it, and the rows of the epochs that were finished."""
    epochs, steps = settings.recipe.epochs, _steps(settings, data)

    def emit(row: dict) -> None:
        record.epoch(row)
        tracker.log(row, step=row["epoch"])
        screen.print(epoch_line(row, epochs))

    rows = EpochRows(settings.recipe.batch_size, emit)
    try:
        with ProgressBar(screen, epochs, steps, settings.recipe.batch_size) as bar:
            model.fit(
                data.stream(),  # endless: Keras looks at a batch before it trains, which would skip an epoch's order
                epochs=epochs,
                steps_per_epoch=steps,
                validation_data=data.validation,
                callbacks=[rows, bar],
                shuffle=False,  # the data set shuffles itself
                verbose=0,
            )
    except KeyboardInterrupt:
        learnt = model.optimizer.iterations > 0
        screen.print("Stopped: saving what was learnt." if learnt else "Stopped before the first step was done.")
        return True, rows.rows
    return False, rows.rows


def _evaluate(model: keras.Model, data: Data) -> dict[str, float]:
    """Figures on the test split; none if the user stops here."""
    try:
        found = model.evaluate(data.test, verbose=0, return_dict=True)
    except KeyboardInterrupt:
        return {}
    return {f"test_{key}": value for key, value in found.items()}


def _result(rows: list[dict], cost: Profile, settings: Settings) -> dict[str, Any]:
    """What `result.json` tells of the training: of its last epoch, and of its best."""
    last = rows[-1] if rows else {}
    rates = _steady(rows)
    return {
        **asdict(cost),
        "epochs": len(rows),
        "epochs_planned": settings.recipe.epochs,
        "train_loss": last.get("train/loss"),
        "val_loss": last.get("val/loss"),
        "val_top1": last.get("val/top1"),
        "val_top5": last.get("val/top5"),
        "best_val_top1": max((row["val/top1"] for row in rows), default=None),
        "train_images_per_second": statistics.median(rates) if rates else None,
    }


def _steady(rows: list[dict]) -> list[float]:
    """Images per second of the epochs after the first, in which caches fill; of the first where it is all."""
    rates = [row["train/images_per_second"] for row in rows]
    return rates[1:] or rates
