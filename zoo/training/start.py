"""A run from its configuration to its result. Nothing slow is imported until the settings have been checked."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zoo import tensorflow_process
from zoo.datasets.folders import ImageFolder, list_folder
from zoo.datasets.sizes import check_batch_size
from zoo.distribution.config import NONE
from zoo.errors import UserError
from zoo.training.checkpoints.resume import choose, finished
from zoo.training.distributed import (
    close_log_files,
    cluster_for,
    opened_replicas,
    replica_lines,
    shared_checkpoint,
    with_global_batch,
)
from zoo.training.local_workers import local_workers, starts_workers
from zoo.training.pretrained import settled
from zoo.training.record import Record
from zoo.training.run_directory import claimed, unused
from zoo.training.settings import EVALUATE, Settings, as_dict, check
from zoo.training.signals import deferred


def checked(cfg: DictConfig) -> Settings:
    """The settings that `cfg` means. Raises UserError, one sentence, for a wrong one."""
    try:
        return check(cfg)
    except ValueError as error:
        raise UserError(str(error)) from error


def with_weights(cfg: DictConfig) -> DictConfig:
    """`cfg` as `settled` gives it. Raises UserError, one sentence, for weights that cannot be read."""
    try:
        return settled(cfg)
    except ValueError as error:
        raise UserError(str(error)) from error


def start(
    cfg: DictConfig,
    directory: Path,
    sweep_id: str | None = None,
    swept: Collection[str] = (),
    composition: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train or evaluate what `cfg` composes in this process, and return what the run's `result.json` says.

    Args:
        directory: of this run alone: one in which an earlier run has left a model or figures is refused, unless it is
            to be gone on with.
        sweep_id, swept: the time stamp of the sweep that the run belongs to, and the overrides that vary in it.
        composition: name -> text of the files that the run leaves in `.hydra`.

    Raises:
        UserError: one sentence on what is invalid; for a wrong setting, or a directory that is taken, before TensorFlow
            is imported and before anything is written; for data that are known to be too few, before it is imported.
        KeyboardInterrupt: the user stopped the run; the model so far has been saved.
    """
    cfg = with_weights(cfg)
    settings = unscaled = checked(cfg)
    if starts_workers(settings):
        with local_workers(cfg, directory, settings.distribution.workers):
            return start(cfg, directory, sweep_id, swept, composition)
    cluster = cluster_for(settings)
    is_chief = cluster is None or cluster.is_chief
    if settings.deterministic or sweep_id is not None or settings.distribution.strategy != NONE:
        # Else workers, or runs that are compared, would round differently by chance.
        tensorflow_process.wait_for_kernels()
    if settings.distribution.strategy != NONE:
        tensorflow_process.prepare(settings.deterministic, settings.distribution.devices or 1, quiet=True)
    if not is_chief:
        close_log_files()
    settings, resolved = with_global_batch(settings, as_dict(cfg), cluster)
    if result := finished(settings, directory, quiet=not is_chief):
        return result
    own = claimed(directory, composition, partial(choose, settings)) if is_chief else unused(directory)
    with own as checkpoint:
        folder = _checked_data(settings, resolved, directory, is_chief)
        with deferred("Loading TensorFlow"):  # which ends the process where a signal interrupts its import
            tensorflow_process.prepare(settings.deterministic)
            from zoo.training.evaluation_run import evaluate_checkpoint
            from zoo.training.facts import Sweep
            from zoo.training.run import train
        sweep = Sweep(sweep_id, swept)
        if settings.mode == EVALUATE:
            return evaluate_checkpoint(settings, resolved, directory, sweep, folder)
        with opened_replicas(settings, cluster) as replicas, shared_checkpoint(replicas, checkpoint) as checkpoint:
            lines = replica_lines(settings, unscaled, replicas)
            return train(settings, resolved, directory, sweep, folder, checkpoint, replicas, lines)


def _checked_data(
    settings: Settings, resolved: dict[str, Any], directory: Path, is_chief: bool = True
) -> ImageFolder | None:
    """What an image folder holds: listed here once, for a million files take seconds. None for other data.

    Raises UserError, of which the chief's `result.json` tells, for what can be known to be wrong with the data already.
    """
    try:
        folder = list_folder(settings.dataset) if settings.dataset.source == "image_folder" else None
        if settings.mode != EVALUATE:
            check_batch_size(settings.dataset, settings.recipe.batch_size, folder)
        return folder
    except (ValueError, ModuleNotFoundError) as error:  # the latter where a data set of TFDS needs another package
        if not is_chief:
            raise UserError(str(error)) from error
        names = {"model": settings.model.name, "groups": settings.groups, "dataset": settings.dataset.name}
        with Record(directory, {**names, "seed": settings.seed, "config": resolved}, rows=None):
            raise UserError(str(error)) from error
