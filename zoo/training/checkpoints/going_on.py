"""A training that goes on from a checkpoint: its variables, and what is not as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from rich.console import Console

from zoo import metrics
from zoo.data_config import DataConfig
from zoo.training.averaging import WeightAverage
from zoo.training.checkpoints.progress import progress_of
from zoo.training.checkpoints.resume import differences, identity, refuse_another
from zoo.training.checkpoints.state import TrainingState
from zoo.training.early_stopping import EarlyStopping
from zoo.training.saving import uncompiled
from zoo.training.settings import Settings
from zoo.weights.readers.training import DATA_CONFIG, MODEL, CheckpointFile

SOURCE = ("commit", "dirty", "changes", "packages", metrics.DATA)
ROUNDING = tuple(key for key in metrics.MADE_WITH if key not in SOURCE)  # what the last bits of a sum depend on


def checkpoint_facts(
    settings: Settings, model: keras.Model, facts: Mapping[str, Any], expected: DataConfig, wandb_id: str | None
) -> dict[str, Any]:
    """What every checkpoint of a run says of it, and of its network where the weights alone are wanted.

    expected: of pictures.
    """
    return {
        "settings": identity(settings),
        "data": facts["data"],
        "made_with": {key: facts[key] for key in ROUNDING},
        "wandb_id": wandb_id,
        MODEL: keras.saving.serialize_keras_object(uncompiled(model)),
        DATA_CONFIG: expected.to_json(),
    }


def restored_state(
    model: keras.Model,
    checkpoint: CheckpointFile | None,
    steps: int,
    screen: Console,
    stopping: EarlyStopping | None = None,
    average: WeightAverage | None = None,
) -> tuple[TrainingState, dict[str, np.ndarray]]:
    """The variables of the training, set to those of the checkpoint, and the running metrics of its epoch; early
    stopping is set to its state.

    Raises:
        CheckpointError: it is of another network or optimizer.
    """
    state = TrainingState(
        model, average.named() if average else None, best_weights=lambda: stopping.best_weights if stopping else None
    )
    if checkpoint is None:
        return state, {}
    running_metrics = state.restore(checkpoint)
    progress = progress_of(checkpoint)
    if stopping is not None and progress.early_stopping is not None:
        stopping.restore(progress.early_stopping, state.best_weights_in(checkpoint))
    behind = f" and {progress.step} of {steps} steps" if progress.step else ""
    screen.print(f"Goes on from {checkpoint.path}, after {progress.epoch} epochs{behind}.")
    return state, running_metrics


def check_surroundings(checkpoint: CheckpointFile | None, facts: Mapping[str, Any], screen: Console) -> None:
    """A line says what may round otherwise than where the training began.

    Raises:
        UserError: the data are others.
    """
    if checkpoint is None:
        return
    now = json.loads(json.dumps({key: facts[key] for key in (metrics.DATA, *ROUNDING)}))
    earlier = checkpoint.metadata
    refuse_another(checkpoint.path, differences({"data": earlier["data"]}, {"data": now["data"]}))
    if changed := differences(earlier["made_with"], {key: now[key] for key in ROUNDING}):
        screen.print(f"Sums may be rounded otherwise than before, for different are {', '.join(changed)}.")
