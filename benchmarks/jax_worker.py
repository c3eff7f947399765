"""The worker of Keras on JAX: networks of the zoo, a training step compiled as a whole."""

import math
import os
from collections.abc import Callable
from typing import SupportsFloat

os.environ["KERAS_BACKEND"] = "jax"
# Other contenders share the GPU, so JAX must not take three quarters of its memory beforehand.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from worker import Steps, serve

LEARNING_RATE, MOMENTUM = 0.01, 0.9
CLASSES = 1000
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def load() -> tuple[dict, dict]:
    """Import JAX and Keras; the commands of this worker and what it says first."""
    import jax
    import keras
    from ceilings import jax_ceilings

    import zoo  # noqa: F401, so that its absence is reported at once

    steps = Steps()
    commands = {
        "network": lambda **request: steps.begin(lambda: network(**request)),
        "take": steps.take,
        "memory": lambda: {**steps.memory(), "device_peak_mb": device_peak_mb()},
        "ceilings": jax_ceilings,
    }
    device = jax.devices()[0]
    gpu = device.device_kind if device.platform == "gpu" else None
    return commands, {"versions": f"keras {keras.__version__} on jax {jax.__version__}", "gpu": gpu}


def device_peak_mb() -> float | None:
    """The most memory that arrays took on the GPU, in MB (10^6 bytes); None on a CPU."""
    import jax

    statistics = jax.devices()[0].memory_stats()
    return statistics["peak_bytes_in_use"] / 1e6 if statistics else None


def network(contender: str, model: str, mode: str, precision: str, batch: int, size: int):
    """A step of `model`, and a function that says what it costs.

    Args:
        contender: "zoo" or "keras", the same on stock layers.
        mode: "train", a step of SGD with momentum, whose loss comes back; "infer", the sum of the logits.
        precision: "float32", or "bfloat16" or "float16" by Keras's mixed policies.

    Raises:
        ValueError: for another contender.
    """
    import jax
    import keras

    import zoo

    if contender not in ("zoo", "keras"):
        raise ValueError(f"Keras on JAX does not offer the contender {contender!r}")
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.utils.set_random_seed(0)
    built = zoo.create(model, CLASSES, (size, size, 3))
    if contender == "keras":
        from stock_keras import clone

        built = clone(built)
    images = jax.random.normal(jax.random.key(1), (batch, size, size, 3))
    labels = jax.random.randint(jax.random.key(2), (batch,), 0, CLASSES)
    step = (
        training(built, images, labels, precision)
        if mode == "train"
        else inference(zoo.fuse(built) if contender == "zoo" else built, images)
    )

    def facts() -> dict:
        if contender == "keras":
            return {"parameters": sum(math.prod(weight.shape) for weight in built.trainable_variables)}
        profile = zoo.profile(built)
        return {"parameters": profile.parameters, "macs": profile.macs, "activations": profile.activations}

    return step, facts


def training(model, images, labels, precision: str) -> Callable[[], SupportsFloat]:
    """Forward, cross-entropy, backward, update, compiled as one; weights and momenta are updated in place."""
    import jax
    import keras

    optimizer = keras.optimizers.SGD(LEARNING_RATE, MOMENTUM)
    if precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)

    def loss_of(weights, others, slots, images, labels):
        logits, others = model.stateless_call(weights, others, images, training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        with keras.StatelessScope(zip(optimizer.variables, slots, strict=True)):
            scaled = optimizer.scale_loss(loss)  # by float16's loss scale, which is one of the slots
        return scaled, (loss, others)

    def update(state, images, labels):
        weights, others, slots = state
        gradients, (loss, others) = jax.grad(loss_of, has_aux=True)(weights, others, slots, images, labels)
        weights, slots = optimizer.stateless_apply(slots, gradients, weights)
        return (weights, others, slots), loss

    compiled = jax.jit(update, donate_argnums=0)
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    held = [tuple([variable.value for variable in each] for each in variables)]

    def step():
        held[0], loss = compiled(held[0], images, labels)
        return loss

    return step


def inference(model, images) -> Callable[[], SupportsFloat]:
    """The sum of the logits, so that a step ends with one number for every contender."""
    import jax

    weights = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    @jax.jit
    def forward(weights, others, images):
        logits, _ = model.stateless_call(weights, others, images, training=False)
        return logits.astype("float32").sum()

    return lambda: forward(weights, others, images)


if __name__ == "__main__":
    serve(load)
