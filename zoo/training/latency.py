"""How long a trained network takes for one image, as it would be shipped: fused, in float32, alone."""

from functools import partial

import keras
import numpy as np

from zoo.exporting.precision import in_float32
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
