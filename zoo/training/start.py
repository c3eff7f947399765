"""A run from its configuration to its result. Nothing slow is imported until the settings have been checked."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from zoo import tensorflow_process
from zoo.training.errors import UserError
from zoo.training.settings import Settings, check
from zoo.training.sizes import check_batch_size

T = TypeVar("T")


def checked(cfg: DictConfig) -> Settings:
    """The settings that `cfg` means. Raises UserError, one sentence, for a wrong one."""
    return _in_a_sentence(lambda: check(cfg))


def _in_a_sentence(action: Callable[[], T]) -> T:
    try:
        return action()
    except ValueError as error:
        raise UserError(str(error)) from error


def start(cfg: DictConfig, directory: Path, sweep_id: str | None = None, swept: Collection[str] = ()) -> dict[str, Any]:
    """Train what `cfg` composes in this process, and return what the run's `result.json` says.

    Args:
        sweep_id, swept: the time stamp of the sweep that the run belongs to, and the overrides that vary in it.

    Raises:
        UserError: one sentence on what cannot be; for a wrong setting, before TensorFlow is imported.
        KeyboardInterrupt: the user stopped the run; what was learnt has been saved.
    """
    settings = checked(cfg)
    _in_a_sentence(lambda: check_batch_size(settings.dataset, settings.recipe.batch_size))
    tensorflow_process.prepare()
    from zoo.training.run import Sweep, train

    return train(settings, OmegaConf.to_container(cfg, resolve=True), directory, Sweep(sweep_id, swept))
