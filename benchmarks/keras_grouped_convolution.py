"""A training step of a network of the zoo against the same network built on Keras's own grouped convolution.

usage: python benchmarks/keras_grouped_convolution.py [--model resnext50_32x4d] [--batch 16] [--size 128] [--rounds 3]

Both are built by `zoo.create` with the same weights, and differ in one thing: where ours calls `tf.nn.conv2d`,
the other calls `keras.layers.Conv2D(groups=)`. Steps of the two are timed alternately, in one process, so that a noisy
machine slows both; the ratio is of the medians. One JSON line is printed at the end.
"""

import argparse
import json
import os
import statistics
import time
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import zoo
from blocks import GroupedConv2D
from zoo.timing import call_seconds


def on_keras(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer that stands in for `layer`: Keras's own for a grouped convolution, else a copy."""
    config = layer.get_config()
    if not isinstance(layer, GroupedConv2D) or layer.groups == 1:
        return type(layer).from_config(config)
    known = keras.layers.Conv2D(1, 1).get_config()
    return PaddedConv2D.from_config({key: config[key] for key in known})


class PaddedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with explicit padding: zeros first, then a convolution without padding."""

    def __init__(self, *args, padding=((0, 0), (0, 0)), **kwargs):
        self.explicit_padding = padding
        super().__init__(*args, padding="valid", **kwargs)

    def build(self, input_shape):
        super().build(self.padded(input_shape))
        self.input_spec = None

    def padded(self, shape):
        sizes = [
            None if size is None else size + before + after
            for size, (before, after) in zip(shape[1:3], self.explicit_padding, strict=True)
        ]
        return (shape[0], *sizes, shape[3])

    def call(self, inputs):
        return super().call(keras.ops.pad(inputs, ((0, 0), *self.explicit_padding, (0, 0))))

    def compute_output_shape(self, input_shape):
        return super().compute_output_shape(self.padded(input_shape))


def training_step(model: keras.Model):
    """A compiled function of (images, labels) that takes one step of SGD with momentum; never through XLA."""
    optimizer = keras.optimizers.SGD(0.01, 0.9)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnext50_32x4d", help="a name from zoo.list_models()")
    parser.add_argument("--batch", type=int, default=16, help="images of a step")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--rounds", type=int, default=3, help="how often the two are timed, one after the other")
    parser.add_argument("--steps", type=int, default=5, help="steps of ours timed in each round; of Keras's one")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(0)
    ours = zoo.create(arguments.model, input_shape=(arguments.size, arguments.size, 3))
    for weight in ours.weights:
        if weight.path.endswith("/gamma"):
            weight.assign(tf.ones(weight.shape))  # zeros would hide the branches of residual blocks from the comparison
    theirs = keras.models.clone_model(ours, clone_function=on_keras)
    theirs.set_weights(ours.get_weights())
    images = tf.random.normal((arguments.batch, arguments.size, arguments.size, 3))
    labels = tf.random.uniform((arguments.batch,), maxval=1000, dtype=tf.int32)
    logits = [model(images, training=False).numpy() for model in (ours, theirs)]
    difference = float(np.abs(logits[0] - logits[1]).max() / np.abs(logits[0]).max())

    steps = {"zoo": training_step(ours), "keras": training_step(theirs)}
    seconds = {name: [] for name in steps}

    def fetched(step) -> float:
        return float(step(images, labels))

    for name, step in steps.items():
        start = time.perf_counter()
        losses = [fetched(step) for _ in range(2)]  # the first compiles
        print(f"{name}: two steps with compilation in {time.perf_counter() - start:.1f} s, losses {losses}", flush=True)
    for index in range(arguments.rounds):
        for name, step in steps.items():
            for _ in range(arguments.steps if name == "zoo" else 1):
                seconds[name].append(call_seconds(partial(fetched, step)))
        print(
            f"round {index + 1}: " + ", ".join(f"{name} {times[-1]:.3f} s" for name, times in seconds.items()),
            flush=True,
        )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    report = {
        "model": arguments.model,
        "batch": arguments.batch,
        "size": arguments.size,
        "layers_on_keras": sum(isinstance(layer, PaddedConv2D) for layer in theirs.layers),
        "relative_difference_of_logits": difference,
        "zoo_step_seconds": round(medians["zoo"], 4),
        "keras_step_seconds": round(medians["keras"], 4),
        "times_as_fast": round(medians["keras"] / medians["zoo"], 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
