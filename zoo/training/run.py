"""One training run, from checked settings to a trained model and its record."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from zoo import environment, hardware, metrics
from zoo.complexity import LayerCost, Profile, profile_layers
from zoo.data_config import DataConfig
from zoo.datasets.config import data_config
from zoo.datasets.folders import ImageFolder
from zoo.datasets.identity import data_identity
from zoo.datasets.pipeline import Data
from zoo.distribution.lost import naming_lost_workers
from zoo.distribution.replicas import ALONE, Replicas
from zoo.tracking.connection import Connection, connect
from zoo.tracking.evaluation import Evaluation
from zoo.tracking.panels import evaluation_panels, layer_panels
from zoo.tracking.run import open_run
from zoo.tracking.tracker import Tracker, shell_path
from zoo.training.averaging import AveragedValidation, WeightAverage
from zoo.training.checkpoints.callback import Checkpointing
from zoo.training.checkpoints.folder import drop_spare
from zoo.training.checkpoints.going_on import check_surroundings, checkpoint_facts, restored_state
from zoo.training.checkpoints.progress import Progress, progress_of
from zoo.training.class_weights import class_weights
from zoo.training.distributed import replica_facts, without_files
from zoo.training.early_stopping import EarlyStopping
from zoo.training.epochs import EpochRows
from zoo.training.evaluation import evaluate
from zoo.training.facts import Sweep, initial_facts, training_facts
from zoo.training.finetuning import described, freeze_as_set
from zoo.training.fitting import fit
from zoo.training.guarded_step import train_alone
from zoo.training.interrupts import Interrupts
from zoo.training.latency import latency_seconds
from zoo.training.non_finite import DivergedError, NonFiniteSteps, first_non_finite
from zoo.training.poor_accuracy import poor_accuracy
from zoo.training.precision import precision
from zoo.training.preparation import (
    as_user_errors,
    build_model,
    load_data,
    print_summary,
    release_memory,
    steps_per_epoch,
)
from zoo.training.progress import ProgressBar, closing_table, compare_line, console, epoch_line
from zoo.training.recipe import compile_model
from zoo.training.record import Record, UnwrittenRecord
from zoo.training.replica_share import synchronise_statistics
from zoo.training.run_directory import MODEL_FILE
from zoo.training.saving import save_after_error, save_model
from zoo.training.settings import Settings
from zoo.training.signals import deferred
from zoo.weights.readers.training import CheckpointFile

STOPPED_SECONDS = 10.0  # what a pass over the validation images may take once the user has stopped the run


@dataclass(frozen=True)
class Run:
    """What every step of a run may need.

    started: when it began, by `time.perf_counter`.
    record: its files in `directory`.
    screen: the terminal.
    begin: where its training begins.
    replicas: that train together; what they are of several processes, the chief alone writes and says.
    """

    settings: Settings
    directory: Path
    sweep: Sweep
    started: float
    record: Record
    screen: Console
    begin: Progress
    replicas: Replicas = ALONE

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


@dataclass(frozen=True)
class Fitted:
    """The epochs that were finished, what the user stopped the training with, if that happened, and early stopping."""

    epochs: EpochRows
    stopped: KeyboardInterrupt | None
    early_stopping: EarlyStopping | None


def train(
    settings: Settings,
    resolved: dict[str, Any],
    directory: Path,
    sweep: Sweep | None = None,
    folder: ImageFolder | None = None,
    checkpoint: CheckpointFile | None = None,
    replicas: Replicas = ALONE,
    lines: Sequence[str] = (),
) -> dict[str, Any]:
    """Train the network of `settings`, and return what `directory/result.json` says.

    Writes `metrics.csv` (a row an epoch), `result.json`, `evaluation.json`, `model.keras` and checkpoints to
    `directory`, and logs to W&B. The model is on disk before anything else is measured.

    Args:
        resolved: the whole configuration as plain values.
        folder: what an image folder holds, where it has been listed.
        checkpoint: what the run goes on from; None for a new one.
        replicas: that train together. Only the chief of several workers writes and logs; the others return its figures
            of the training.
        lines: to say before the training.

    Raises:
        KeyboardInterrupt: the user stopped the run; the model so far and a checkpoint have been saved first.
        UserError: the run cannot go on; `result.json` says why too.
    """
    sweep, begin = sweep or Sweep(), progress_of(checkpoint)
    started = time.perf_counter() - begin.seconds
    facts = initial_facts(settings, sweep) | {"config": resolved, "process": environment.process()}
    if checkpoint:
        facts["resumed_from"] = str(checkpoint.path)
    if not replicas.is_chief:
        settings = without_files(settings)
    opened = Record(directory, facts, begin.rows) if replicas.is_chief else UnwrittenRecord(directory, facts)
    with opened as record, ExitStack() as stack:
        run = Run(settings, directory, sweep, started, record, console(quiet=not replicas.is_chief), begin, replicas)
        release_memory()
        with as_user_errors():
            connection = connect(settings.tracking)
        data = load_data(settings, folder, replicas.share)
        with replicas.scope():
            model = build_model(settings, data)
        if settings.distribution.synchronise_statistics:
            synchronise_statistics(model)
        layers = profile_layers(model)  # first: it counts no parameters of frozen layers
        with as_user_errors(), replicas.scope():
            freeze_as_set(settings, model)
            average = compile_model(model, settings.recipe, steps_per_epoch(settings, data), replicas)
        facts |= {"small_stem": model.small_stem, "class_names": data.class_names, **described(settings, model)}
        facts["precision"] = precision(settings.recipe)
        cost = sum((layer.cost for layer in layers), Profile(0, 0, 0))
        facts["distribution"] = replica_facts(settings, replicas)
        print_summary(run.screen, settings, model, data, cost, facts)
        for line in lines:
            run.screen.print(line)
        with as_user_errors():
            facts |= {"data": data_identity(settings.dataset, folder), **hardware.kernel_facts()}
        check_surroundings(checkpoint, facts, run.screen)
        steps = steps_per_epoch(settings, data)
        recipe = settings.recipe
        stopping = EarlyStopping(recipe.early_stopping, average) if recipe.early_stopping.patience else None
        state, running_metrics = restored_state(model, checkpoint, steps, run.screen, stopping, average)
        record.add({**asdict(cost), **facts})
        wandb_id = checkpoint.metadata["wandb_id"] if checkpoint else None
        with as_user_errors():
            tracker = stack.enter_context(open_tracking(run, facts, connection, wandb_id))
        stack.enter_context(data.naming_what_is_broken())
        log_cost(tracker, cost, layers)
        trained_on = f"{settings.model.name} on {settings.dataset.name}"
        expected = data_config(settings.dataset, data.class_names, trained_on)  # of pictures, by `zoo predict`
        checkpointing = Checkpointing(
            settings.checkpoints,
            directory,
            state,
            steps,
            _epoch_rows(run, model, data, tracker, steps),
            begin,
            running_metrics,
            checkpoint_facts(settings, model, facts, expected, tracker.id),
            lambda: run.seconds,
            stopping,
        )
        with nullcontext() if replicas.cluster is None else naming_lost_workers(replicas.cluster):
            fitted = _fit_and_save(run, model, data, tracker, checkpointing, expected, average)
        if not replicas.is_chief:
            if fitted.stopped:
                raise fitted.stopped
            return record.finish("finished", {"seconds": run.seconds})
        train_alone(model)
        stopped = _evaluate(run, model, data, tracker, fitted)
        result = close(run, tracker, stopped)
        if stopped:
            raise stopped
    return result


def open_tracking(
    run: Run,
    facts: Mapping[str, Any],
    connection: Connection,
    run_id: str | None = None,
    job_type: str | None = None,
) -> AbstractContextManager[Tracker]:
    """W&B's run, that of `run_id` again where there is one, with what runs are grouped by at the top of its config."""
    grouped_by = {"family": facts["family"], "network": facts["model"], "groups": facts["groups"]}
    grouped_by |= {key: facts[key] for key in (*metrics.MADE_WITH, "finetuning") if key in facts}
    return open_run(
        run.settings.tracking,
        name=facts["name"],
        group=facts["group"],
        resolved={**facts["config"], **grouped_by},
        directory=run.directory,
        run_id=run_id,
        job_type=job_type,
        connection=connection,
        say=run.screen.print,
    )


def log_cost(tracker: Tracker, cost: Profile, layers: list[LayerCost]) -> None:
    tracker.summarise(asdict(cost))
    tracker.show(lambda: layer_panels(layers), step=0)


def _epoch_rows(run: Run, model: keras.Model, data: Data, tracker: Tracker, steps: int) -> EpochRows:
    """The rows of the run's epochs, written wherever they are shown."""
    recipe, begin = run.settings.recipe, run.begin

    def emit(row: dict[str, Any]) -> None:
        run.record.epoch(row)
        tracker.log(row, step=row[metrics.EPOCH])
        run.screen.print(epoch_line(row, recipe.epochs))

    def locate(epoch: int, step: int) -> str:
        return first_non_finite(model, *data.batch(epoch * steps + step - 1))

    non_finite = NonFiniteSteps(recipe.non_finite, locate, run.screen.print, begin.skipped, begin.skipped_in_a_row)
    return EpochRows(recipe.batch_size, run.started, emit, non_finite, begin.rows, begin.partial)


def _fit_and_save(
    run: Run,
    model: keras.Model,
    data: Data,
    tracker: Tracker,
    checkpointing: Checkpointing,
    expected: DataConfig,
    average: WeightAverage | None,
) -> Fitted:
    """Train, and write the model and the figures of the training; after an error too, but not one that diverged."""
    path = run.directory / MODEL_FILE
    # Around the training too, which signals do stop: none falls between its end and the saving.
    with deferred(f"Saving {MODEL_FILE}") as stop:
        try:
            fitted = _fit(run, model, data, checkpointing, average)
            stop.error = fitted.stopped
        except DivergedError:
            raise
        except (Exception, SystemExit) as error:  # the latter is Rich's, for a pipe that nobody reads any more
            if average:
                average.show()
            if run.replicas.is_chief:
                save_after_error(model, path, run.screen, error, expected)
            raise
        finally:
            drop_spare(checkpointing.folder)
        if run.replicas.is_chief:
            save_model(model, path, expected)
        run.record.add(
            {
                **training_facts(fitted.epochs.rows, fitted.early_stopping),
                "wandb": {"mode": tracker.mode, "id": tracker.id, "url": tracker.url},
                "peak_memory_bytes": environment.peak_memory_bytes(),  # of training: what follows is no part of it
                "seconds": run.seconds,
            }
        )
    return fitted


def _fit(
    run: Run, model: keras.Model, data: Data, checkpointing: Checkpointing, average: WeightAverage | None
) -> Fitted:
    """Train until the last epoch, or until the user stops it, which leaves a checkpoint."""
    recipe, begin, steps = run.settings.recipe, run.begin, checkpointing.steps
    rows, stopping = checkpointing.rows, checkpointing.stopping
    with as_user_errors():
        weights = class_weights(recipe.class_weights, data)
    if weights:
        lightest, heaviest = min(weights.values()), max(weights.values())
        run.screen.print(f"recipe.class_weights: from {lightest:.3g} to {heaviest:.3g}, in the training loss")
    bar = ProgressBar(run.screen, recipe.epochs, steps, recipe.batch_size, begin.epoch, begin.step)
    try:
        with Interrupts() as interrupts, bar:
            averaged = [AveragedValidation(average)] if average else []
            callbacks = [interrupts, *averaged, rows, *([stopping] if stopping else []), bar, checkpointing]
            if stopping is None or not stopping.has_stopped:
                fit(model, data, recipe.epochs, steps, callbacks, begin.epoch, begin.step, weights)
    except KeyboardInterrupt as error:
        has_trained = model.optimizer.iterations > 0
        run.screen.print("Stopped: saving the model." if has_trained else "Stopped before the first step was done.")
        if average:
            average.hide()  # the validation may have been stopped
        checkpointing.write()
        if average:
            average.show()
        if checkpointing.resumable:
            place = shell_path(run.directory)
            run.screen.print(
                f"The same command with resume=auto hydra.run.dir={place} goes on with it.", soft_wrap=True
            )
        return Fitted(rows, error, stopping)
    if average:
        average.show()  # for good: model.keras and all figures from here on
    if stopping is not None:
        stopping.finish(model)
        if stopping.has_stopped:
            weights_of = f"; the model is that of epoch {stopping.best_epoch + 1}" if stopping.has_best_weights else ""
            run.screen.print(f"Stopped early: {stopping.outcome()['reason']}{weights_of}.")
    return Fitted(rows, None, stopping)


def _evaluate(run: Run, model: keras.Model, data: Data, tracker: Tracker, fitted: Fitted) -> KeyboardInterrupt | None:
    """Figures on the test split, what the network confuses, its latency: of a run that was stopped the second alone,
    where it is quick. Returns what the user stopped the run with, during the training or since.
    """
    stopped = fitted.stopped
    try:
        with Interrupts():
            if not stopped:
                run.record.add(figures_on_test(model, data))
            if not stopped or fitted.epochs.validation_seconds <= STOPPED_SECONDS:
                evaluation = evaluate(model, data, run.settings.dataset)
                run.record.evaluation(evaluation.plain())
                tracker.show(lambda: evaluation_panels(evaluation), step=len(fitted.epochs.rows) + 1)
            if not stopped:
                run.record.add({"warning": _warning(run, fitted, evaluation)})
                run.record.add({"latency_seconds": latency(model, run.screen)})
    except KeyboardInterrupt as error:
        return stopped or error
    return stopped


def _warning(run: Run, fitted: Fitted, evaluation: Evaluation) -> str | None:
    """The sentence on a training that did not learn, for the last epoch or the one whose weights are taken."""
    figures = training_facts(fitted.epochs.rows, fitted.early_stopping)
    mixed_labels = run.settings.dataset.mixing.is_on
    return poor_accuracy(figures["val_top1"], figures["train_top1"], evaluation.images().values(), mixed_labels)


def figures_on_test(model: keras.Model, data: Data) -> dict[str, float]:
    """Figures on the test split; none where there is no such split."""
    if data.test is None:
        return {}
    figures = model.evaluate(data.test, verbose=0, return_dict=True)
    return {f"test_{key}": value for key, value in figures.items()}


def latency(model: keras.Model, screen: Console) -> float | None:
    """Seconds for one image; None, and a line on why, where it cannot be measured."""
    try:
        return latency_seconds(model)
    except Exception as error:  # whatever a network does to the measurement, it has been trained
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        screen.print(f"The latency of one image was not measured: {reason[:300]}.")
        return None


def close(run: Run, tracker: Tracker, stopped: KeyboardInterrupt | None) -> dict[str, Any]:
    """Write `result.json` for the last time, and its figures to W&B and the terminal."""
    status = "interrupted" if stopped else "finished"
    result = run.record.finish(status, {"seconds": run.seconds})
    figures = {key: result[key] for key in metrics.METRICS if result.get(key) is not None}
    tracker.summarise({"status": status, **figures})  # W&B itself calls a run failed that the user stopped
    run.screen.print(closing_table(result, str(run.directory)))
    if result.get("warning"):
        run.screen.print(result["warning"])
    if run.sweep.id is None:  # else it comes once, behind the last run
        run.screen.print(compare_line(run.directory))
    return result
