"""What a run needs before it trains: its data, its network, and the lines on the terminal about both."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from rich.console import Console

from zoo import environment
from zoo.complexity import Profile
from zoo.datasets.folders import ImageFolder, listed
from zoo.datasets.pipeline import Data, load
from zoo.errors import UserError
from zoo.training import recipe
from zoo.training.finetuning import built, lines
from zoo.training.settings import Settings
from zoo.weights.download import DownloadError


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise UserError in place of a ValueError, of a package that is missing or of a failed download, in the block."""
    try:
        yield
    except (ValueError, ImportError, DownloadError) as error:
        raise UserError(str(error)) from error


def release_memory() -> None:
    """Drop what an earlier run of this process, in a sweep, has left: its memory would count as this run's."""
    keras.backend.clear_session()  # its graph
    gc.collect()  # its weights, which lie in reference cycles
    environment.reset_peak_memory()


def load_data(settings: Settings, folder: ImageFolder | None, share: tuple[int, int] = (0, 1)) -> Data:
    """The data set, prepared on first use, of whose batches this process makes `share`.

    Raises UserError where it is not available or does not suit the settings.
    """
    with as_user_errors():
        recipe = settings.recipe
        return load(
            settings.dataset,
            recipe.batch_size,
            settings.seed,
            folder=folder,
            label_smoothing=recipe.label_smoothing,
            share=share,
        )


def build_model(settings: Settings, data: Data) -> keras.Model:
    """The network in the recipe's precision, with weights of the run's seed or those that it begins with.

    Raises UserError for impossible images, and for weights that do not fit or cannot be read.
    """
    keras.utils.set_random_seed(settings.seed)  # after the data: preparing them draws random numbers too
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.policy(settings.recipe))
    try:
        with as_user_errors():
            return built(settings, data)
    finally:
        keras.config.set_dtype_policy(default)


def steps_per_epoch(settings: Settings, data: Data) -> int:
    """Training steps of an epoch: all that the data has, or fewer where `limit_steps` says so."""
    return min(data.steps_per_epoch, settings.limit_steps or data.steps_per_epoch)


def print_summary(
    screen: Console, settings: Settings, model: keras.Model, data: Data, cost: Profile, facts: dict[str, Any]
) -> None:
    """A few lines on the network, the data, the stem, and the weights that it begins with as `described` in `facts`."""
    groups = "" if settings.groups is None else f", groups {settings.groups}"
    screen.print(f"{model.name}{groups}: {cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates an image")
    height, width, channels = data.input_shape
    sizes = f"{data.train_size:,} training and {data.validation_size:,} validation"
    names = f": {listed(data.class_names)}" if data.class_names else ""
    text = f"{data.name}: {sizes} images of {height} x {width} x {channels}, {data.num_classes} classes{names}"
    screen.print(text)
    if model.small_stem:
        why = "as asked"
        if settings.small_stem_chosen:
            by_size = f"images of {height} pixels; small_stem=false undoes it"
            why = "as the weights were trained" if settings.small_stem is None else by_size
        screen.print(f"stem: keeps the resolution ({why})")
    if settings.recipe.precision == "auto":
        screen.print(f"precision: {facts['precision']} (recipe.precision=auto)")
    for line in lines(settings, facts):
        screen.print(line)
