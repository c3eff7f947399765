"""Models that compute in another precision: in float32, as other runtimes do, or in bfloat16."""

import keras

from blocks.layers.initializers import without_random_numbers
from blocks.ops.keras_internals import sublayers


def in_float32(model: keras.Model) -> keras.Model:
    """`model`, or where a layer of it computes in another precision a copy that computes in float32.

    Example:
        >>> from zoo.exporting.precision import in_float32
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), blocks.GroupedConv2D(8, 3, dtype="mixed_bfloat16")])
        >>> in_float32(model).layers[0].compute_dtype
        'float32'
    """
    return _copied(model, "float32", "float32")


def in_bfloat16(model: keras.Model) -> keras.Model:
    """`model`, or where a layer of it computes in another precision a copy that computes in bfloat16.

    Its weights are float32, by Keras's policy mixed_bfloat16.

    Example:
        >>> from zoo.exporting.precision import in_bfloat16
        >>> layer = in_bfloat16(keras.Sequential([keras.Input((8, 8, 4)), blocks.GroupedConv2D(8, 3)])).layers[0]
        >>> layer.compute_dtype, layer.variable_dtype
        ('bfloat16', 'float32')
    """
    return _copied(model, "bfloat16", "mixed_bfloat16")


def _copied(model: keras.Model, dtype: str, policy: str) -> keras.Model:
    """`model`, or a copy in which each layer has the `policy` where one does not compute in its `dtype`."""
    if all(layer.compute_dtype == dtype for layer in sublayers(model) if not _is_input(layer)):
        return model
    with without_random_numbers():
        copy = keras.models.clone_model(model, clone_function=lambda layer: _with_policy(layer, policy), recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _is_input(layer: keras.Operation) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _with_policy(layer: keras.Operation, policy: str) -> keras.Operation:
    config = layer.get_config()
    if isinstance(layer, keras.Layer) and not _is_input(layer):  # other operations compute in what they are given
        mode, quantized, _ = layer.dtype_policy.name.partition("_from_")  # of "int8_from_mixed_bfloat16"
        config["dtype"] = f"{mode}_from_{policy}" if quantized else policy
    return type(layer).from_config(config)
