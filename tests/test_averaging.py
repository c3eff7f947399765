"""The average of the weights: timm's, what is validated and saved with it, and how gradients are accumulated."""

import keras
import numpy as np
import pytest

import blocks
from helpers.timm_training import expected
from zoo.training.averaging import AveragedValidation, WeightAverage
from zoo.training.early_stopping import EarlyStopping
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import EarlyStoppingConfig, RecipeConfig

NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@pytest.mark.parametrize("case", expected("averages"), ids=lambda case: str(case["options"]))
def test_each_average_is_timms(case):
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    options = case["options"]
    average = WeightAverage(model, options["decay"], options.get("use_warmup", False))
    for update, (weights, averages) in enumerate(zip(case["weights"], case["averages"], strict=True), 1):
        for each in model.weights:
            each.assign(weights[NAMES[each.name]])
        average.update(update)
        with average.in_model():
            for each in model.weights:
                np.testing.assert_allclose(each.numpy(), averages[NAMES[each.name]], rtol=0, atol=1e-6)
        assert all(np.array_equal(each, np.float32(weights[NAMES[each.name]])) for each in model.weights)


def test_averages_are_named_as_their_weights():
    vectors = keras.Input((2,))
    model = keras.Model(vectors, keras.layers.Dense(2, name="b")(keras.layers.Dense(2, name="a")(vectors)))
    average = WeightAverage(model, 0.5)
    assert list(average.named()) == ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    average.weights = [model.weights[0], *model.weights[:3]]  # as of a layer that another's name is given to
    assert list(average.named()) == ["a/kernel", "a/kernel#2", "a/bias", "b/kernel"]


def data(count=32):
    draw = np.random.default_rng(0)
    return draw.normal(size=(count, 6, 6, 3)).astype("float32"), draw.integers(0, 5, count).astype("int32")


def network(normalized=True):
    keras.utils.set_random_seed(3)
    images = keras.Input((6, 6, 3))
    x = blocks.GroupedConv2D(8, 3, padding="same", use_bias=not normalized, name="conv")(images)
    x = blocks.BatchNormalization(momentum=0.9, activation="relu", name="norm")(x) if normalized else x
    return keras.Model(images, blocks.Dense(5, name="fc")(keras.layers.GlobalAveragePooling2D()(x)))


def test_the_average_follows_the_training_step_by_step():
    """Of kernels and of running statistics; a step that is skipped moves nothing."""
    model, (images, labels) = network(), data()
    average = compile_model(model, RecipeConfig(ema_decay=0.7, learning_rate=0.1, warmup_epochs=0), 8)
    images[8:12] = np.nan
    reference = [np.array(each) for each in model.weights]
    updates = 0
    for first in range(0, 32, 4):
        model.train_on_batch(images[first : first + 4], labels[first : first + 4])
        if first != 8:
            updates += 1
            decay = 0.7 if updates > 1 else 0.0
            reference = [
                decay * mean + (1 - decay) * np.array(each) for mean, each in zip(reference, model.weights, strict=True)
            ]
    assert model.optimizer.iterations == 7
    for variable, mean in zip(average.averages, reference, strict=True):
        np.testing.assert_allclose(variable.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_validation_and_early_stopping_have_the_average():
    model, (images, labels) = network(), data()
    average = compile_model(model, RecipeConfig(ema_decay=0.9, learning_rate=0.1), 8)
    stopping = EarlyStopping(EarlyStoppingConfig(patience=9), average)
    callbacks = [AveragedValidation(average), stopping]
    history = model.fit(
        images, labels, 4, 1, verbose=0, shuffle=False, validation_data=(images, labels), callbacks=callbacks
    )
    figures = history.history["val_loss"][0]
    trained = [np.array(each) for each in model.weights]
    assert model.evaluate(images, labels, verbose=0)[0] != pytest.approx(figures, rel=1e-3)
    with average.in_model():
        assert model.evaluate(images, labels, batch_size=4, verbose=0)[0] == pytest.approx(figures, rel=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(trained, model.weights, strict=True))
    average.show()
    stopping.finish(model)
    assert all(np.array_equal(a, b) for a, b in zip(stopping_weights(average, trained), model.weights, strict=True))


def stopping_weights(average, trained):
    """The averages, which are in the model, and the weights in the averages' place."""
    assert all(np.array_equal(a, b) for a, b in zip(trained, average.averages, strict=True))
    return [np.array(each) for each in average.weights]


@pytest.mark.parametrize("optimizer", ["sgd", "lamb", "rmsprop", "adamw"])
def test_accumulated_gradients_are_those_of_the_whole_batch(optimizer):
    """Without normalisation, which sees another batch. Clipping, decay, schedule and average are per update."""
    (images, labels), weights = data(48), []
    for steps in (1, 4):
        model = network(normalized=False)
        recipe = RecipeConfig(optimizer=optimizer, clip_norm=0.5, ema_decay=0.6, learning_rate=0.05, epochs=2)
        recipe.accumulation_steps = steps
        average = compile_model(model, recipe, 3 * steps)
        size = 16 // steps
        for first in range(0, 48, size):
            model.train_on_batch(images[first : first + size], labels[first : first + size])
        assert model.optimizer.iterations == 3
        weights.append([np.array(each) for each in (*model.weights, *average.averages)])
    for whole, accumulated in zip(*weights, strict=True):
        np.testing.assert_allclose(accumulated, whole, rtol=2e-4, atol=2e-5)


def test_between_updates_nothing_moves():
    model, (images, labels) = network(normalized=False), data()
    average = compile_model(model, RecipeConfig(ema_decay=0.6, accumulation_steps=3, warmup_epochs=0), 9)
    changed = []
    for _ in range(6):
        before = [np.array(each) for each in (*model.weights, *average.averages)]
        model.train_on_batch(images, labels)
        after = [np.array(each) for each in (*model.weights, *average.averages)]
        changed.append(not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)))
    assert changed == [False, False, True] * 2


class Stopped(keras.callbacks.Callback):
    def on_test_batch_begin(self, batch, logs=None):
        raise KeyboardInterrupt


def test_a_stopped_validation_loses_no_weights():
    model, (images, labels) = network(), data()
    average = compile_model(model, RecipeConfig(ema_decay=0.9, learning_rate=0.1), 8)
    with pytest.raises(KeyboardInterrupt):
        callbacks = [AveragedValidation(average), Stopped()]
        model.fit(images, labels, 4, 1, verbose=0, validation_data=(images, labels), callbacks=callbacks)
    averages = [np.array(each) for each in model.weights]
    trained = [np.array(each) for each in average.averages]
    average.hide()
    average.hide()
    assert all(np.array_equal(a, b) for a, b in zip(trained, model.weights, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(averages, average.averages, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(trained, averages, strict=True))
