"""Steps of a network in TensorFlow that are timed, built in the worker's process; and its files for other runtimes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import keras
import numpy as np
import tensorflow as tf

import zoo
from zoo.exporting.assembly import ends_in_softmax
from zoo.exporting.precision import in_bfloat16, in_float32
from zoo.training.optimizers.keras_fused import MomentumSGD

LEARNING_RATE, MOMENTUM = 0.01, 0.9
CALIBRATION = 8  # random images: the scales of int8 change no speed


def training(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, images: Any, labels: Any, from_logits: bool = True
) -> Callable[[], SupportsFloat]:
    """A step: forward, cross-entropy, backward, update, in one graph; never through XLA, which is slow on a CPU.

    Example:
        >>> from zoo.benchmarking.tensorflow_steps import training
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> step = training(model, keras.optimizers.SGD(0.1), np.ones((2, 4), "float32"), np.zeros(2, "int32"))
        >>> float(step()) > float(step())
        True
    """
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = tf.cast(model(images, training=True), tf.float32)
            losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=from_logits)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda: step(images, labels)


def load(source: Mapping[str, str], size: tuple[int, int] | None, precision: str = "float32") -> keras.Model:
    """The model of a source, {"network": NAME} with random weights or {"path": FILE.keras}, that takes `size`.

    Raises ValueError for a model that is not from images of this size to classes.

    Example:
        >>> from zoo.benchmarking.tensorflow_steps import load
        >>> load({"network": "lcnet_035"}, (32, 32)).input_shape
        (None, 32, 32, 3)
    """
    cast = in_bfloat16 if precision == "bfloat16" else in_float32
    if "network" in source:
        if size is None:
            raise ValueError(f"The network {source['network']} needs a size of images.")
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        try:
            return zoo.create(source["network"], input_shape=(*size, 3))
        finally:
            keras.config.set_dtype_policy(policy)
    model = keras.models.load_model(source["path"], compile=False)
    name = Path(source["path"]).name
    if not getattr(model, "outputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{name} is no functional model from one tensor of images to one output.")
    shape = model.inputs[0].shape
    if len(shape) != 4:
        raise ValueError(f"{name} takes inputs {tuple(shape)}, not images (batch, height, width, channels).")
    if size is None and None in shape[1:3]:
        raise ValueError(f"{name} takes images of any size: give --size.")
    if size is not None and any(own not in (None, wanted) for own, wanted in zip(shape[1:3], size, strict=True)):
        raise ValueError(f"{name} takes images of {shape[1]} x {shape[2]} pixels alone, not of {size[0]} x {size[1]}.")
    return cast(model)


def random_images(model: keras.Model, batch: int, size: tuple[int, int] | None) -> np.ndarray:
    """Random images (batch, height, width, channels) for a model, in the type that it takes.

    Example:
        >>> from zoo.benchmarking.tensorflow_steps import random_images
        >>> random_images(zoo.create("lcnet_035", 10, (32, 32, 3)), 2, None).shape
        (2, 32, 32, 3)
    """
    specification = model.inputs[0]
    shape = (batch, *(size or specification.shape[1:3]), specification.shape[3])
    random = np.random.default_rng(0)
    if "int" in specification.dtype:
        return random.integers(0, 256, shape).astype(specification.dtype)
    return random.standard_normal(shape, "float32").astype(specification.dtype)


def step_of(
    source: Mapping[str, str], contender: str, mode: str, batch: int, size: tuple[int, int] | None
) -> tuple[Callable[[], object], dict[str, Any]]:
    """A call that takes one step and returns when its result is on the host, and facts about the model.

    Args:
        contender: "float32", "bfloat16", "fused" or "stock", which is float32 in a process without our kernels.
        mode: "inference" or "training", a step of SGD with momentum.

    Raises ValueError for a model that cannot be so.

    Example:
        >>> from zoo.benchmarking.tensorflow_steps import step_of
        >>> step, facts = step_of({"network": "lcnet_035"}, "fused", "inference", 1, (32, 32))
        >>> step().shape, facts["size"]
        ((1, 1000), [32, 32])
    """
    model = load(source, size, "bfloat16" if contender == "bfloat16" else "float32")
    images = tf.constant(random_images(model, batch, size))
    facts = facts_of(model, size)
    if mode == "training":
        classes = model.output_shape[-1]
        if len(model.output_shape) != 2:
            raise ValueError(f"{model.name} gives outputs {model.output_shape}, and training needs a row of classes.")
        if not model.trainable_variables:
            raise ValueError(f"{model.name} has no trainable weights.")
        labels = tf.constant(np.random.default_rng(1).integers(0, classes, batch), tf.int32)
        step = training(model, MomentumSGD(LEARNING_RATE, MOMENTUM), images, labels, not ends_in_softmax(model))
        return lambda: float(step()), facts
    network = zoo.fuse(model) if contender == "fused" else model
    call = tf.function(lambda images: network(images, training=False), jit_compile=False, autograph=False)
    return lambda: call(images).numpy(), facts


def facts_of(model: keras.Model, size: tuple[int, int] | None) -> dict[str, Any]:
    """Parameters, and for a fixed size the multiply-accumulates of one image.

    Example:
        >>> from zoo.benchmarking.tensorflow_steps import facts_of
        >>> facts_of(zoo.create("lcnet_035", 10, (32, 32, 3)), None)["size"]
        [32, 32]
    """
    height, width = size or model.input_shape[1:3]
    facts = {"parameters": model.count_params(), "macs": None, "size": [height, width]}
    if None not in model.input_shape[1:]:
        profile = zoo.profile(model)
        facts |= {"parameters": profile.parameters, "macs": profile.macs}
    return facts


def export(
    source: Mapping[str, str], format: str, path: str, batch: int, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Write the model for another runtime, for batches of this many images; facts about it, and the bytes written.

    Nothing is compared, which `zoo export` does.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.benchmarking.tensorflow_steps import export
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.tflite"
        >>> export({"network": "lcnet_035"}, "litert", str(path), 1, (32, 32))["bytes"] == path.stat().st_size
        True
    """
    from zoo.exporting import FORMATS

    model = load(source, size)
    facts = facts_of(model, size)
    images = random_images(model, CALIBRATION, size) if FORMATS[format].calibrated else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of converters
        report = zoo.export(model, path, format, batch=batch, images=images, verify=False)
    return {**facts, "bytes": report.bytes}
