"""Steps whose loss or gradients are NaN or infinite change nothing, are counted, and are traced to a layer."""

import itertools
import json

import keras
import numpy as np
import pytest

import blocks
from helpers.checks import refusal
from helpers.training import QUICK, compose_config, config_with_data
from train import train
from zoo.datasets import pipeline
from zoo.datasets.config import DatasetConfig
from zoo.errors import UserError
from zoo.training.epochs import EpochRows
from zoo.training.guarded_step import guard_steps
from zoo.training.non_finite import MOST_IN_A_ROW, DivergedError, NonFiniteSteps, first_non_finite
from zoo.training.progress import epoch_line
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig
from zoo.training.settings import check

RECIPE = RecipeConfig()


class Batches(keras.utils.PyDataset):
    """Eight batches of images (4, 6, 6, 3), some of which have a value that is not finite."""

    def __init__(self, wrong=(), value=np.nan, left_out=()):
        super().__init__()
        self.numbers = [number for number in range(8) if number not in left_out]
        self.wrong, self.value = wrong, value

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        draw = np.random.default_rng(self.numbers[index])
        images, labels = draw.standard_normal((4, 6, 6, 3), np.float32), draw.integers(0, 5, 4).astype("int32")
        if self.numbers[index] in self.wrong:
            images[2, 3, 1, 0] = self.value
        return images, labels


def network(dropout=0.0):
    keras.utils.set_random_seed(3)
    images = keras.Input((6, 6, 3))
    x = blocks.GroupedConv2D(8, 3, padding="same", name="conv")(images)
    x = blocks.BatchNormalization(momentum=0.9, activation="relu", name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout, name="drop")(x) if dropout else x
    return keras.Model(images, blocks.Dense(5, name="fc")(x))


def fitted(batches, recipe=RECIPE, epochs=1, guarded=True, dropout=0.0, callbacks=(), compiled=compile_model):
    model = network(dropout)
    compiled(model, recipe, 8)
    if not guarded:
        del model.train_step  # Keras's own again
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def state(model):
    """Everything that a step changes, but random states."""
    return [keras.ops.convert_to_numpy(each) for each in [*model.weights, *model.optimizer.variables]]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "clip_norm": 1.0}, {"label_smoothing": 0.1}])
def test_sound_steps_are_those_of_keras_bit_for_bit(options):
    recipe = RecipeConfig(**options)
    ours, plain = (fitted(Batches(), recipe, epochs=2, guarded=guarded, dropout=0.3) for guarded in (True, False))
    assert same(state(ours), state(plain))
    assert ours.get_metrics_result() == plain.get_metrics_result()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_skipped_step_changes_neither_weights_nor_optimizer_nor_statistics(value):
    rows, lines = [], []
    steps = NonFiniteSteps("skip", lambda epoch, step: f"Look at {epoch}, {step}.", lines.append)
    epochs = EpochRows(4, 0.0, rows.append, steps)
    skipped = fitted(Batches(wrong=(2, 5), value=value), callbacks=[epochs])
    without = fitted(Batches(left_out=(2, 5)))
    assert same(state(skipped), state(without)) and skipped.optimizer.iterations == 6
    assert skipped.get_metrics_result() == without.get_metrics_result()
    (row,) = rows
    assert (row["train/skipped_steps"], steps.skipped) == (2, 2) and np.isfinite(row["train/loss"])
    assert epoch_line({**row, "val/loss": None}, 1).endswith("  2 steps skipped")
    (line,) = lines
    assert "in epoch 1, step 3: skipped (recipe.non_finite=skip). Look at 0, 3." in line


def test_random_states_are_those_before_a_skipped_step():
    """So that the step can be repeated with the same dropout."""
    model = network(dropout=0.5)
    compile_model(model, RecipeConfig(), 8)
    states = [each for each in model.non_trainable_variables if "seed" in each.path]
    before = [keras.ops.convert_to_numpy(each) for each in states]
    model.fit(*Batches(wrong=(0,))[0], verbose=0)
    assert states and same(before, [keras.ops.convert_to_numpy(each) for each in states])


@pytest.mark.heavy
def test_it_is_the_same_under_xla():
    def compiled(model, recipe, steps):
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=True,
        )
        guard_steps(model)

    skipped, without = (fitted(each, compiled=compiled) for each in (Batches(wrong=(4,)), Batches(left_out=(4,))))
    assert skipped.optimizer.iterations == 7 and skipped.get_metrics_result() == without.get_metrics_result()
    for actual, expected in zip(state(skipped), state(without), strict=True):
        np.testing.assert_array_equal(actual, expected)


class Root(keras.layers.Layer):
    """The square root, whose gradient at 0 is infinite."""

    def call(self, inputs):
        return keras.ops.sqrt(inputs)


def test_a_gradient_alone_that_is_not_finite_is_noticed_before_it_reaches_a_weight():
    images = keras.Input((3,))
    model = keras.Model(images, Root()(keras.layers.Dense(5, name="fc", kernel_initializer="zeros")(images)))
    compile_model(model, RecipeConfig(optimizer="sgd"), 1)
    batch = np.ones((4, 3), "float32"), np.zeros(4, "int32")
    rows = []
    steps = NonFiniteSteps(locate=lambda epoch, step: first_non_finite(model, *batch))
    with pytest.raises(DivergedError) as caught:
        model.fit(*batch, batch_size=4, verbose=0, callbacks=[EpochRows(4, 0.0, rows.append, steps)])
    assert str(caught.value).startswith("A gradient became NaN or infinite in epoch 1: lower recipe.learning_rate")
    assert "appeared first in the gradient of kernel of fc (Dense): 15 of 15 values." in str(caught.value)
    assert not model.get_weights()[0].any() and np.isfinite(rows[0]["train/loss"])


def spoil(model, name, value):
    weight = model.get_layer(name).weights[0]
    values = np.asarray(weight).copy()
    values.ravel()[0] = value
    weight.assign(values)


def test_it_is_said_where_it_appeared_first():
    model = network(dropout=0.5)
    compile_model(model, RecipeConfig(), 8)
    images, labels = Batches()[0]
    before = [keras.ops.convert_to_numpy(each) for each in model.variables]
    assert first_non_finite(model, images, labels).startswith("It did not appear again")
    assert same(before, [keras.ops.convert_to_numpy(each) for each in model.variables])
    sentence = first_non_finite(model, *Batches(wrong=(0,), value=np.inf)[0])
    assert sentence == "Infinity is in the images of this step: 1 of 432 values."
    spoil(model, "fc", 3e38)
    model.get_layer("norm").beta.assign([100.0] * 8)  # no image is without
    sentence = first_non_finite(model, images, labels)
    assert sentence.startswith("Infinity appeared first in the output of fc (Dense): ")
    spoil(model, "conv", np.nan)
    sentence = first_non_finite(model, images, labels)
    assert sentence.startswith(
        "NaN appeared first in the output of conv (GroupedConv2D), whose kernel became so in an earlier"
    )


def test_a_loss_beyond_float32_is_said_to_be_the_loss():
    images = keras.Input((1,))
    model = keras.Model(images, keras.layers.Dense(2, use_bias=False)(images))
    compile_model(model, RecipeConfig(), 1)
    model.set_weights([np.asarray([[3e38, -3e38]], "float32")])
    sentence = first_non_finite(model, np.ones((1, 1), "float32"), np.ones(1, "int32"))
    assert sentence == "Infinity appeared first in the loss: all layers have finite outputs, logits up to 3e+38."


def test_the_first_skipped_step_is_said_also_behind_scales_that_were_too_large():
    lines = []
    steps = NonFiniteSteps("skip", say=lines.append, skipped=3)
    for logs in ({"loss": 1.0, "step_overflow": 1.0}, *[{"loss": 1.0, "step_loss": np.nan, "step_finite": 0.0}] * 2):
        assert steps.after_step(0, 7, logs) is None
    assert len(lines) == 1 and lines[0].startswith("The loss became nan in epoch 1, step 7: skipped")
    assert steps.skipped == 6


def test_steps_that_are_skipped_one_after_the_other_stop_the_run():
    lines = []
    steps = NonFiniteSteps("skip", say=lines.append)
    sound, wrong = ({"loss": 1.0, "step_loss": loss, "step_finite": finite} for loss, finite in ((1.0, 1), (np.nan, 0)))
    for step in range(1, MOST_IN_A_ROW):
        assert steps.after_step(0, step, wrong) is None
    assert steps.after_step(0, MOST_IN_A_ROW, sound) is None
    errors = [steps.after_step(1, step, wrong) for step in range(1, MOST_IN_A_ROW + 1)]
    assert errors[:-1] == [None] * (MOST_IN_A_ROW - 1) and steps.skipped == 2 * MOST_IN_A_ROW - 1
    assert str(errors[-1]).startswith("10 steps in a row were skipped, until step 10 of epoch 2, for loss or gradients")
    assert len(lines) == 1


@pytest.mark.parametrize(
    "policy, begin",
    [
        pytest.param("stop", "The loss became nan in epoch 1: ", marks=pytest.mark.heavy),
        ("skip", "10 steps in a row were skipped"),
    ],
)
def test_a_run_that_diverges_says_where_and_leaves_no_model(data_dir, tmp_path, policy, begin):
    options = [*QUICK, "recipe.learning_rate=1e30", "limit_steps=12", f"recipe.non_finite={policy}"]
    sentence = refusal(lambda: train(config_with_data(data_dir, *options), tmp_path), UserError)
    assert sentence.startswith(begin) and "appeared first in the output of " in sentence
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed" and sentence in result["error"]
    assert not (tmp_path / "model.keras").exists() and (tmp_path / "metrics.csv").exists()


def test_a_batch_of_the_training_is_had_again_by_its_number():
    config = DatasetConfig(source="synthetic", num_classes=3, synthetic_train_size=20, flip=True, crop_padding=1)
    data = pipeline.load(config, batch_size=6, seed=0)
    for number, (images, labels) in enumerate(itertools.islice(data.stream(), 7)):
        again = data.batch(number)
        assert (again[0].numpy() == images.numpy()).all() and (again[1].numpy() == labels.numpy()).all()


def test_what_cannot_be_done_about_it_is_refused():
    sentence = refusal(lambda: check(compose_config("recipe.non_finite=skp")))
    assert sentence == "recipe.non_finite='skp' is not known: did you mean skip, stop?"
