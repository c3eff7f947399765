"""The worker of TensorFlow: networks of the zoo, the same on stock Keras layers, and those of keras.applications."""

from collections.abc import Callable
from typing import SupportsFloat

from networks import APPLICATIONS
from worker import Steps, serve

LEARNING_RATE, MOMENTUM = 0.01, 0.9
CLASSES = 1000


def load() -> tuple[dict, dict]:
    """Import TensorFlow; the commands of this worker and what it says first."""
    from zoo import tensorflow_process

    tensorflow_process.prepare()  # as in `train.py`; the stock layers gain by it too
    import keras
    import tensorflow as tf
    from ceilings import tensorflow_ceilings
    from tensorflow_layers import Layers

    import zoo  # noqa: F401, so that its absence is reported at once
    from blocks.ops.implementation import NAMES

    steps, layers = Steps(), Layers()
    commands = {
        "network": lambda **request: network(steps, **request),
        "take": steps.take,
        "memory": steps.memory,
        "ceilings": tensorflow_ceilings,
        "layer": layers.prepare,
        "time": layers.time,
        "forget": layers.forget,
    }
    versions = f"tensorflow {tf.__version__}, keras {keras.__version__}"
    return commands, {"versions": versions, "implementations": NAMES}


def network(steps: Steps, contender: str, model: str, mode: str, precision: str, batch: int, size: int) -> dict:
    """Build a step of `model` and take the first ones; what they took, and what the network costs.

    Args:
        contender: "zoo", "keras" (the same on stock layers) or "applications" (keras.applications).
        mode: "train", a step of SGD with momentum, whose loss comes back; "infer", the sum of the logits.
        precision: "float32", or "bfloat16", which is Keras's policy mixed_bfloat16.

    Raises:
        ValueError: for a network that the contender does not have.
    """
    import keras
    import tensorflow as tf

    import zoo
    from zoo.benchmarking.tensorflow_steps import training

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    images = tf.random.stateless_normal((batch, *shape), (0, 1))
    labels = tf.random.stateless_uniform((batch,), (0, 2), maxval=CLASSES, dtype=tf.int32)
    # What a clone is made of is neither on its clock nor in its memory.
    originals = [zoo.create(model, CLASSES, shape)] if contender == "keras" else []

    def build():
        built = create(contender, model, shape, originals)
        if mode == "train":
            step = training(built, optimizer(contender), images, labels)
        else:
            # As the zoo runs a network for inference: normalisations folded into the convolutions.
            step = inference(zoo.fuse(built) if contender == "zoo" else built, images)
        return step, lambda: facts(contender, built)

    return steps.begin(build)


def create(contender: str, model: str, shape: tuple[int, int, int], originals: list):
    """The Keras model of one contender, with random weights and raw logits; "keras" clones the last of `originals`."""
    import keras

    import zoo

    if contender == "zoo":
        return zoo.create(model, CLASSES, shape)
    if contender == "keras":
        from stock_keras import clone

        return clone(originals.pop())
    if model not in APPLICATIONS:
        raise ValueError(f"keras.applications has no network {model}")
    name, arguments = APPLICATIONS[model]
    make = getattr(keras.applications, name)
    return make(input_shape=shape, weights=None, classes=CLASSES, classifier_activation=None, **arguments)


def optimizer(contender: str):
    """SGD with momentum: the zoo's own, or Keras's."""
    import keras

    from zoo.training.optimizers.keras_fused import MomentumSGD

    return (MomentumSGD if contender == "zoo" else keras.optimizers.SGD)(LEARNING_RATE, MOMENTUM)


def inference(model, images) -> Callable[[], SupportsFloat]:
    """The sum of the logits, so that a step ends with one number for every contender."""
    import tensorflow as tf

    @tf.function(jit_compile=False)
    def step(images):
        return tf.reduce_sum(tf.cast(model(images, training=False), tf.float32))

    return lambda: step(images)


def facts(contender: str, model) -> dict:
    """Parameters; for ours also the multiply-accumulates and activations of one image."""
    import zoo

    parameters = sum(int(weight.shape.num_elements()) for weight in model.trainable_variables)
    if contender != "zoo":
        return {"parameters": parameters}
    profile = zoo.profile(model)
    return {"parameters": parameters, "macs": profile.macs, "activations": profile.activations}


if __name__ == "__main__":
    serve(load)
