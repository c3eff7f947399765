"""The model that a run leaves: written whole or not at all, and never with weights that are no numbers."""

from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from zoo.data_config import DataConfig
from zoo.tracking.tracker import first_line
from zoo.training.files import RecordError, replacing
from zoo.training.non_finite import REMEDIES, DivergedError


def uncompiled(model: keras.Model) -> keras.Model:
    """The network without optimizer and loss: a third of the size, and it loads with `blocks` alone."""
    # A single input is no list, or the loaded model warns of the structure at every call.
    inputs, outputs = (each[0] if len(each) == 1 else each for each in (model.inputs, model.outputs))
    return keras.Model(inputs, outputs, name=model.name)


def save_model(model: keras.Model, path: Path, data_config: DataConfig | None = None) -> None:
    """Write the model, if it has learnt anything, with what it expects of pictures; a file that is there is whole.

    Raises:
        DivergedError: a weight is NaN or infinite; nothing is written.
        RecordError: the file cannot be written.
    """
    if model.optimizer.iterations == 0:
        return
    if not all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.weights):
        raise DivergedError(f"The weights have become NaN or infinite, and {path.name} is not written: {REMEDIES}.")
    with replacing(path) as part:
        uncompiled(model).save(part)
        if data_config is not None:
            data_config.add_to_keras(part)


def save_after_error(
    model: keras.Model, path: Path, screen: Console, error: BaseException, data_config: DataConfig | None = None
) -> None:
    """Save after `error`, which is raised whether this succeeds or not."""
    if model.optimizer.iterations == 0:
        return
    try:
        save_model(model, path, data_config)
        line = f"The model so far is in {path.name}."
    except Exception as another:
        if isinstance(error, RecordError) and isinstance(another, RecordError):
            return  # the same disk is full, of which `error` tells
        line = f"The model so far could not be saved: {first_line(another)}."
    with suppress(OSError, SystemExit):  # it may be the output that failed
        screen.print(line)
