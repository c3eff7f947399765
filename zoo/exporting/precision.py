"""Models that compute in float32, as other runtimes do."""

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
    if all(layer.compute_dtype == "float32" for layer in sublayers(model) if not _is_input(layer)):
        return model
    with without_random_numbers():
        copy = keras.models.clone_model(model, clone_function=_layer_in_float32, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _is_input(layer: keras.Operation) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _layer_in_float32(layer: keras.Operation) -> keras.Operation:
    config = layer.get_config()
    if isinstance(layer, keras.Layer) and not _is_input(layer):  # other operations compute in what they are given
        mode, quantized, _ = layer.dtype_policy.name.partition("_from_")  # of "int8_from_mixed_bfloat16"
        config["dtype"] = f"{mode}_from_float32" if quantized else "float32"
    return type(layer).from_config(config)
