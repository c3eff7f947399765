"""What a run needs before it trains: its data, its network, and the lines on the terminal about both."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from rich.console import Console

from zoo import environment
from zoo.complexity import Profile
from zoo.datasets.folders import ImageFolder
from zoo.datasets.pipeline import Data, load
from zoo.errors import UserError
from zoo.factory import create
from zoo.training import recipe
from zoo.training.settings import Settings


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise UserError in place of a ValueError, or of a package that is missing, in the block."""
    try:
        yield
    except (ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def release_memory() -> None:
    """Drop what an earlier run of this process, in a sweep, has left: its memory would count as this run's."""
    keras.backend.clear_session()  # its graph
    gc.collect()  # its weights, which lie in reference cycles
    environment.reset_peak_memory()


def load_data(settings: Settings, folder: ImageFolder | None) -> Data:
    """The data set, prepared on first use. Raises UserError where it is not available or does not suit the settings."""
    with as_user_errors():
        return load(settings.dataset, settings.recipe.batch_size, settings.seed, folder=folder)


def build_model(settings: Settings, data: Data) -> keras.Model:
    """The network in the recipe's precision, with weights of the run's seed. Raises UserError for impossible images."""
    keras.utils.set_random_seed(settings.seed)  # after the data: preparing them draws random numbers too
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.policy(settings.recipe))
    try:
        with as_user_errors():
            return create(
                settings.model,
                num_classes=data.num_classes,
                input_shape=data.input_shape,
                small_stem=settings.small_stem,
                dropout=settings.recipe.dropout,
            )
    finally:
        keras.config.set_dtype_policy(default)


def steps_per_epoch(settings: Settings, data: Data) -> int:
    """Training steps of an epoch: all that the data has, or fewer where `limit_steps` says so."""
    return min(data.steps_per_epoch, settings.limit_steps or data.steps_per_epoch)


def print_summary(screen: Console, settings: Settings, model: keras.Model, data: Data, cost: Profile) -> None:
    """A few lines on the network, the data and the stem."""
    groups = "" if settings.groups is None else f", groups {settings.groups}"
    screen.print(f"{model.name}{groups}: {cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates an image")
    height, width, channels = data.input_shape
    sizes = f"{data.train_size:,} training and {data.validation_size:,} validation"
    screen.print(f"{data.name}: {sizes} images of {height} x {width} x {channels}, {data.num_classes} classes")
    if settings.small_stem:
        why = f"images of {height} pixels; small_stem=false undoes it" if settings.small_stem_chosen else "as asked"
        screen.print(f"stem: keeps the resolution ({why})")
