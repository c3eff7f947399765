"""Divergence is noticed at its step, in every precision; validation alone may be no number."""

import keras
import numpy as np
import pytest

from zoo.training.epochs import EpochRows
from zoo.training.non_finite import DivergedError
from zoo.training.progress import epoch_line
from zoo.training.recipe import compile_model, policy, schedule
from zoo.training.recipe_config import RecipeConfig


class Spoilt(keras.utils.PyDataset):
    """Eight batches, of which one holds a value that spoils what is learnt from it."""

    def __init__(self, at, value):
        super().__init__()
        self.at, self.value = at, value

    def __len__(self):
        return 8

    def __getitem__(self, index):
        images = np.full((4, 3), self.value if index == self.at else 1, "float32")
        return images, np.zeros(4, "int32")


@pytest.mark.parametrize("value, word", [(np.nan, "nan"), (np.inf, "(nan|inf)")])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"precision": "bfloat16"}], ids=["", "clip", "bfloat16"])
def test_a_loss_that_is_no_number_ends_training_at_its_step(value, word, options):
    keras.utils.set_random_seed(0)
    recipe = RecipeConfig(**options)
    layers = [keras.layers.Dense(64, dtype=policy(recipe)), keras.layers.Dense(5, dtype="float32")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    compile_model(model, recipe, 8)
    emitted, validated = [], []
    rows = EpochRows(4, 0.0, emitted.append)
    after = keras.callbacks.LambdaCallback(on_test_begin=lambda logs: validated.append(True))
    training = Spoilt(5, value)
    with pytest.raises(
        DivergedError, match=rf"^The loss became {word} in epoch 1: lower .* \(it was so after step 6\)"
    ):
        model.fit(training, validation_data=Spoilt(-1, 0), epochs=2, verbose=0, shuffle=False, callbacks=[rows, after])
    assert not validated and model.optimizer.iterations == 5  # that step changed nothing
    (row,) = emitted
    assert row["epoch"] == 1 and not np.isfinite(row["train/loss"]) and row["val/loss"] is None
    assert epoch_line(row, 2).startswith("epoch   1/2  loss ") and "val loss -  val top-1 -" in epoch_line(row, 2)


def test_validation_alone_may_be_no_number():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    compile_model(model, RecipeConfig(), 8)
    emitted = []
    rows = EpochRows(4, 0.0, emitted.append)
    model.fit(Spoilt(-1, 0), validation_data=Spoilt(2, np.nan), epochs=2, verbose=0, callbacks=[rows])
    assert [row["epoch"] for row in emitted] == [1, 2]
    assert all(np.isfinite(row["train/loss"]) and np.isnan(row["val/loss"]) for row in emitted)


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2}, {"schedule": "constant", "warmup_epochs": 0}])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_rate_of_an_epoch_is_that_of_its_last_step(options, precision):
    recipe = RecipeConfig(epochs=3, learning_rate=0.1, optimizer="sgd", precision=precision, **options)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, dtype="float32")])
    compile_model(model, recipe, 8)
    emitted = []
    model.fit(Spoilt(-1, 0), epochs=3, verbose=0, callbacks=[EpochRows(4, 0.0, emitted.append)])
    rate = schedule(recipe, 8)
    expected = [float(rate(step)) if callable(rate) else rate for step in (7, 15, 23)]
    assert [row["learning_rate"] for row in emitted] == pytest.approx(expected, rel=1e-6)
