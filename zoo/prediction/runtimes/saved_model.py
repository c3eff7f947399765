"""A network in TensorFlow, from the folder of a SavedModel."""

from pathlib import Path

import numpy as np

from zoo import tensorflow_process
from zoo.data_config import KEY
from zoo.errors import UserError
from zoo.exporting.savedmodel import SavedModel
from zoo.prediction.network import Network, check_input

SIGNATURE = "serving_default"


def open_saved_model(path: Path) -> Network:
    """The network in the folder `path`. Raises UserError where TensorFlow cannot read it, or it is no classifier."""
    tensorflow_process.prepare()
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # of many kinds, for damaged files
        raise UserError(f"{path} cannot be read by TensorFlow: {str(error).strip().splitlines()[0]}") from error
    if SIGNATURE not in loaded.signatures:
        raise UserError(f"{path} has no signature {SIGNATURE}, only {', '.join(loaded.signatures) or 'none'}.")
    function = loaded.signatures[SIGNATURE]
    inputs = function.structured_input_signature[1]
    shapes = [tuple(spec.shape) if spec.shape.rank is not None else () for spec in inputs.values()]
    shape = check_input(str(path), shapes, len(function.structured_outputs))
    ((name, spec),) = inputs.items()

    def call(images: np.ndarray) -> np.ndarray:
        (outputs,) = function(**{name: tf.constant(images.astype(spec.dtype.as_numpy_dtype, copy=False))}).values()
        return outputs.numpy()

    call.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    config = SavedModel().properties(path).get(KEY)
    return Network(str(path), shape, call, takes_levels=spec.dtype.is_integer, config=config)
