"""A run from its configuration to its result. Nothing slow is imported until the settings have been checked."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zoo import tensorflow_process
from zoo.datasets.folders import ImageFolder, list_folder
from zoo.datasets.sizes import check_batch_size
from zoo.errors import UserError
from zoo.training.record import Record
from zoo.training.run_directory import claimed
from zoo.training.settings import EVALUATE, Settings, as_dict, check


def checked(cfg: DictConfig) -> Settings:
    """The settings that `cfg` means. Raises UserError, one sentence, for a wrong one."""
    try:
        return check(cfg)
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
        directory: of this run alone: one in which an earlier run has left a model or figures is refused.
        sweep_id, swept: the time stamp of the sweep that the run belongs to, and the overrides that vary in it.
        composition: name -> text of the files that the run leaves in `.hydra`.

    Raises:
        UserError: one sentence on what is invalid; for a wrong setting, or a directory that is taken, before TensorFlow
            is imported and before anything is written; for data that are known to be too few, before it is imported.
        KeyboardInterrupt: the user stopped the run; the model so far has been saved.
    """
    settings = checked(cfg)
    resolved = as_dict(cfg)
    with claimed(directory, composition):
        folder = _checked_data(settings, resolved, directory)
        tensorflow_process.prepare()
        from zoo.training.facts import Sweep

        sweep = Sweep(sweep_id, swept)
        if settings.mode == EVALUATE:
            from zoo.training.evaluation_run import evaluate_checkpoint

            return evaluate_checkpoint(settings, resolved, directory, sweep, folder)
        from zoo.training.run import train

        return train(settings, resolved, directory, sweep, folder)


def _checked_data(settings: Settings, resolved: dict[str, Any], directory: Path) -> ImageFolder | None:
    """What an image folder holds: listed here once, for a million files take seconds. None for other data.

    Raises UserError, of which `result.json` tells, for what can be known to be wrong with the data already.
    """
    try:
        folder = list_folder(settings.dataset) if settings.dataset.source == "image_folder" else None
        if settings.mode != EVALUATE:
            check_batch_size(settings.dataset, settings.recipe.batch_size, folder)
        return folder
    except (ValueError, ModuleNotFoundError) as error:  # the latter where a data set of TFDS needs another package
        names = {"model": settings.model.name, "groups": settings.groups, "dataset": settings.dataset.name}
        with Record(directory, {**names, "seed": settings.seed, "config": resolved}):
            raise UserError(str(error)) from error
