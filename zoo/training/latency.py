"""How long a trained network takes for one image, as it would be shipped: fused, in float32, alone."""

from functools import partial

import keras
import numpy as np

from blocks.layers.initializers import without_random_numbers
from zoo.folding import fuse
from zoo.timing import call_seconds, least_seconds

WARM_UP = 3  # calls before any is timed: the first traces the graph, the next fill caches
REPEATS_SECONDS = 1.0  # what all timed calls take together
REPEATS = 3, 200  # timed calls, at least and at most


def latency_seconds(model: keras.Model) -> float:
    """Seconds for one image through `zoo.fuse(model)` in float32: a `tf.function` of batch 1, its result read back.

    The least of the repeated calls, which is what comes out again on a busy machine.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow.
        TypeError, ValueError: `model` cannot be fused.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}, and latency is measured on TensorFlow alone")
    import tensorflow as tf

    fused = fuse(in_float32(model))
    shape = (1, *model.input_shape[1:])
    call = tf.function(lambda image: fused(image, training=False), input_signature=[tf.TensorSpec(shape)])
    image = tf.constant(np.random.default_rng(0).standard_normal(shape), tf.float32)
    fewest, most = REPEATS
    clock = partial(call_seconds, lambda: call(image).numpy())
    (seconds,) = least_seconds([clock], most, warm_up=WARM_UP, budget=REPEATS_SECONDS, fewest=fewest)
    return seconds


def in_float32(model: keras.Model) -> keras.Model:
    """`model`, or where a layer of it computes in another precision a copy that computes in float32."""
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model
    with without_random_numbers():
        copy = keras.models.clone_model(model, clone_function=_layer_in_float32)
    copy.set_weights(model.get_weights())
    return copy


def _layer_in_float32(layer: keras.Operation) -> keras.Operation:
    config = layer.get_config()
    if isinstance(layer, keras.Layer):  # other operations compute in what they are given
        config["dtype"] = "float32"
    return type(layer).from_config(config)
