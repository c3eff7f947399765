"""A run from its configuration to its result. Nothing slow is imported until the settings have been checked."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo import tensorflow_process
from zoo.training.errors import UserError
from zoo.training.run_directory import claimed
from zoo.training.settings import Settings, check


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
    """Train what `cfg` composes in this process, and return what the run's `result.json` says.

    Args:
        directory: of this run alone: one in which an earlier run has learnt something is refused.
        sweep_id, swept: the time stamp of the sweep that the run belongs to, and the overrides that vary in it.
        composition: name -> text of the files that the run leaves in `.hydra`.

    Raises:
        UserError: one sentence on what cannot be; for a wrong setting, or a directory that is taken, before TensorFlow
            is imported and before anything is written.
        KeyboardInterrupt: the user stopped the run; what was learnt has been saved.
    """
    settings = checked(cfg)
    with claimed(directory, composition):
        tensorflow_process.prepare()
        from zoo.training.run import Sweep, train

        return train(settings, OmegaConf.to_container(cfg, resolve=True), directory, Sweep(sweep_id, swept))
