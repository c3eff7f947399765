"""A Keras model, from a `.keras` file or a checkpoint of a training, or built with published weights."""

from pathlib import Path
from typing import Any

import numpy as np

from zoo import tensorflow_process
from zoo.data_config import DataConfig
from zoo.errors import UserError
from zoo.prediction.network import Network, check_input


def open_keras(path: Path) -> Network:
    """The network in a `.keras` file, of this project or another. Raises UserError where Keras cannot load it."""
    tensorflow_process.prepare()
    import keras

    import blocks  # noqa: F401  (its layers, which the file names)

    try:
        model = keras.models.load_model(path, compile=False)
    except OSError:
        raise
    except Exception as error:  # of many kinds, for damaged files and for layers that are not there
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
        raise UserError(f"{path} cannot be loaded by Keras: {reason}.") from error
    return network_of(model, str(path))


def open_checkpoint(path: Path) -> tuple[Network, DataConfig | None]:
    """The network in a checkpoint of a training, and how it sees pictures. Raises UserError for a damaged one."""
    tensorflow_process.prepare()
    from zoo.weights.trained import network_of_checkpoint

    model, config = network_of_checkpoint(path)
    return network_of(model, str(path)), config


def open_published(tag: str, size: tuple[int, int]) -> Network:
    """The network that a tag of published weights is for, with these, for pictures of `size`."""
    tensorflow_process.prepare()
    import zoo

    return network_of(zoo.create(weights=tag, input_shape=(*size, 3)), tag)


def network_of(model: Any, name: str) -> Network:
    """A functional or Sequential model as it is; one graph serves batches of every size."""
    import keras

    from zoo.exporting.assembly import ends_in_softmax

    if not getattr(model, "outputs", None):
        raise UserError(f"{name} is a subclassed model or not built: predict takes functional and Sequential models.")
    shape = check_input(name, [tuple(each.shape) for each in model.inputs], len(model.outputs))
    source = model.inputs[0]

    def infer(images: Any) -> Any:
        (outputs,) = keras.tree.flatten(model(images, training=False))
        return outputs

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specification = tf.TensorSpec(source.shape, source.dtype)
        infer = tf.function(infer, input_signature=[specification], autograph=False)

    def call(images: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(infer(keras.ops.convert_to_tensor(images, source.dtype)))

    takes_levels = source.dtype.startswith(("uint", "int"))
    return Network(name, shape, call, takes_levels, "softmax" if ends_in_softmax(model) else "logits")
