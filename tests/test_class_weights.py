"""Weights of the classes: what scikit-learn calls balanced, in the training loss alone."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from helpers.checks import refusal
from helpers.training import compose_config
from zoo.datasets import pipeline
from zoo.datasets.config import DatasetConfig
from zoo.training.class_weights import balanced, class_weights
from zoo.training.epochs import EpochRows
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig
from zoo.training.settings import check


def test_balanced_is_that_of_scikit_learn():
    labels = np.random.default_rng(0).choice(5, 300, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(balanced(np.bincount(labels)), expected, rtol=1e-12)
    assert balanced(np.bincount(labels, minlength=7))[5:].tolist() == [0, 0]  # of classes without images


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"cache": False}, marks=pytest.mark.heavy),
        pytest.param({"random_resized_crop": True}, marks=pytest.mark.heavy),
    ],
    ids=["pixels", "records", "files"],
)
def test_images_of_the_training_split_are_counted_however_they_are_kept(digits, options):
    config = DatasetConfig(**{**vars(digits), "crop_padding": 0, "train_split": "train[:500]", **options})
    data = pipeline.load(config, 500, 0)
    labels = next(iter(data.epoch(0)))[1].numpy()  # one batch is all of them
    assert data.class_counts().tolist() == np.bincount(labels, minlength=10).tolist()
    weights = class_weights("balanced", data)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_training_loss_alone_is_weighted_as_the_definition_says(smoothing):
    draw = np.random.default_rng(1)
    images, labels = draw.standard_normal((12, 4), np.float32), draw.integers(0, 3, 12).astype("int32")
    weights = {0: 0.5, 1: 4.0, 2: 0.0}
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    plain = {"momentum": 0.0, "weight_decay": 0.0, "warmup_epochs": 0, "schedule": "constant"}
    recipe = RecipeConfig(optimizer="sgd", learning_rate=0.1, label_smoothing=smoothing, **plain)
    compile_model(model, recipe, 1)
    kernel, bias = (each.astype(np.float64) for each in model.get_weights())

    import tensorflow as tf

    data = tf.data.Dataset.from_tensors((images, labels))
    rows = []
    model.fit(data, validation_data=data, class_weight=weights, verbose=0, callbacks=[EpochRows(12, 0.0, rows.append)])
    logits = images @ kernel + bias
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    targets = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    losses, own = -(targets * logs).sum(1), np.array([weights[label] for label in labels])
    assert rows[0]["train/loss"] == pytest.approx((own * losses).mean(), rel=1e-5)
    gradient = images.T @ ((np.exp(logs) - targets) * own[:, None]) / 12
    new_kernel, new_bias = model.get_weights()
    np.testing.assert_allclose(new_kernel, kernel - 0.1 * gradient, atol=1e-6)
    logits = images @ new_kernel + new_bias
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert rows[0]["val/loss"] == pytest.approx(-logs[range(12), labels].mean(), rel=1e-5)  # not smoothed either


def test_a_list_has_a_number_for_each_class(digits):
    data = pipeline.load(digits, 64, 0)
    assert class_weights([1, *[2] * 9], data) == {0: 1.0, **dict.fromkeys(range(1, 10), 2.0)}
    sentence = refusal(lambda: class_weights([1.0, 2.0], data))
    assert sentence == "recipe.class_weights has 2 numbers, and digits has 10 classes: give 10, or balanced."


@pytest.mark.parametrize(
    "value, sentence",
    [
        ("balancd", "recipe.class_weights='balancd' is not known: did you mean balanced?"),
        (
            "[1,-1]",
            "recipe.class_weights=[1, -1] is not allowed: give null, balanced, or a list with a number for each",
        ),
        ("[0,0]", "recipe.class_weights=[0, 0] is not allowed"),
        ("[1,inf]", "recipe.class_weights=[1, inf] is not allowed"),
        ("[1,a]", "recipe.class_weights=[1, 'a'] is not allowed"),
        ("2", "recipe.class_weights=2 is not allowed"),
        ("{a:1}", "recipe.class_weights={'a': 1} is not allowed"),
    ],
)
def test_impossible_weights_are_refused(value, sentence):
    assert refusal(lambda: check(compose_config(f"recipe.class_weights={value}"))).startswith(sentence)
