"""Precisions of a recipe: a loss that is scaled in float16, steps at which the scale was too large, and auto."""

import keras
import numpy as np
import pytest

from zoo import hardware
from zoo.training import precision
from zoo.training.guarded_step import STEP_FINITE, STEP_OVERFLOW, step_mark
from zoo.training.non_finite import DivergedError, NonFiniteSteps
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig

IMAGES = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
LABELS = np.arange(8, dtype="int32") % 3


def network(**recipe):
    keras.utils.set_random_seed(0)
    config = RecipeConfig(warmup_epochs=0, **recipe)
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision.policy(config))
    try:
        images = keras.Input((6,))
        x = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(images))
        model = keras.Model(images, keras.layers.Dense(3, dtype="float32")(x))  # as the zoo's classifiers
    finally:
        keras.config.set_dtype_policy(default)
    return model, compile_model(model, config, 10)


def state(model, average=None):
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = average.averages if average else []
    return [np.array(each) for each in (*model.weights, *inner.variables, *averages)]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name, compute", [("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "float32")])
def test_layers_compute_in_it_and_weights_are_float32(name, compute):
    model, _ = network(precision=name)
    assert {layer.compute_dtype for layer in model.layers[1:-1]} == {compute}
    assert {each.dtype for each in model.weights} == {"float32"}
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (name == "float16")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb", "rmsprop"])
def test_the_scale_changes_no_update(optimizer):
    weights = []
    for name in ("float32", "float16"):
        model, _ = network(precision=name, optimizer=optimizer, learning_rate=0.01)
        for _ in range(5):
            model.train_on_batch(IMAGES, LABELS)
        weights.append([np.array(each) for each in model.trainable_weights])
    for full, half in zip(*weights, strict=True):
        np.testing.assert_allclose(half, full, rtol=0.05, atol=0.01)


def test_a_scale_that_was_too_large_is_halved_and_nothing_else_happens():
    model, average = network(precision="float16", ema_decay=0.9, accumulation_steps=2)
    model.train_on_batch(IMAGES, LABELS)
    model.optimizer.dynamic_scale.assign(2.0**24)
    before, mark = state(model, average), step_mark(model.optimizer)
    logs = model.train_on_batch(IMAGES, LABELS, return_dict=True)
    assert (float(logs[STEP_FINITE]), float(logs[STEP_OVERFLOW])) == (1, 1)
    assert same(before, state(model, average)) and model.optimizer.dynamic_scale == 2.0**23
    assert step_mark(model.optimizer) != mark  # the step is over, though it has changed no weight
    while float(model.train_on_batch(IMAGES, LABELS, return_dict=True)[STEP_OVERFLOW]):
        pass
    assert not same(before, state(model, average)) and model.optimizer.dynamic_scale > 2.0**10


def test_a_step_that_is_not_finite_without_a_scale_is_no_overflow():
    model, _ = network(precision="float16")
    logs = model.train_on_batch(np.full_like(IMAGES, np.nan), LABELS, return_dict=True)
    assert (float(logs[STEP_FINITE]), float(logs[STEP_OVERFLOW])) == (0, 0)
    assert model.optimizer.dynamic_scale == 2.0**15  # the images were wrong, not the scale


def test_overflows_are_counted_and_stop_nothing():
    steps = NonFiniteSteps("stop")
    overflow = {"loss": 1.0, STEP_FINITE: 1.0, STEP_OVERFLOW: 1.0}
    assert all(steps.after_step(0, step, overflow) is None for step in range(1, 20))
    assert (steps.skipped, steps.in_a_row) == (19, 0)
    assert isinstance(steps.after_step(0, 20, {"loss": 1.0, STEP_FINITE: 0.0, STEP_OVERFLOW: 0.0}), DivergedError)


@pytest.mark.parametrize(
    "capability, instructions, accelerators, chosen",
    [
        ((9, 0), [], ["H100"], "bfloat16"),
        ((8, 0), [], ["A100"], "bfloat16"),
        ((7, 5), [], ["T4"], "float16"),
        ((6, 1), ["amx_bf16"], ["P40"], "float32"),
        (None, ["avx512_bf16", "amx_bf16"], [], "bfloat16"),
        (None, ["avx512_bf16"], [], "float32"),
        (None, ["amx_bf16"], ["another maker's"], "float32"),
    ],
)
def test_auto_is_by_the_machine(capability, instructions, accelerators, chosen, monkeypatch):
    monkeypatch.setattr(precision, "_capability", lambda: capability)
    monkeypatch.setattr(hardware, "instructions", lambda: instructions)
    monkeypatch.setattr(hardware, "accelerators", lambda: accelerators)
    assert precision.precision(RecipeConfig(precision="auto")) == chosen
    assert precision.precision(RecipeConfig(precision="float16")) == "float16"
