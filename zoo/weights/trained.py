"""The network in a checkpoint of a training, as it was at that epoch."""

from pathlib import Path

import keras

import blocks  # noqa: F401  (its layers, which the file names)
from zoo.data_config import DataConfig
from zoo.weights.loading import load_weights
from zoo.weights.readers.training import DATA_CONFIG, MODEL, open_checkpoint


def network_of_checkpoint(path: Path) -> tuple[keras.Model, DataConfig | None]:
    """The network with its weights (their averages, where the training has some), and how it sees pictures.

    Raises:
        CheckpointError: the file is damaged, or no checkpoint of a training.
        ValueError: what it describes cannot be built.

    Example:
        >>> import pathlib
        >>> from zoo.weights.trained import network_of_checkpoint
        >>> network_of_checkpoint(pathlib.Path("none.safetensors"))
        Traceback (most recent call last):
            ...
        zoo.weights.readers.training.CheckpointError: The checkpoint none.safetensors cannot be used: No such file or \
directory.
    """
    metadata = open_checkpoint(path).metadata
    try:
        model = keras.saving.deserialize_keras_object(metadata[MODEL])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not describe a network that can be built: {error}") from error
    load_weights(model, path)
    expected = metadata.get(DATA_CONFIG)
    return model, None if expected is None else DataConfig.from_json(expected, str(path))
