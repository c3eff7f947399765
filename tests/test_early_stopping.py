"""Early stopping ends a training when Keras's would, says why, and goes on where an earlier process stood."""

import json

import keras
import numpy as np
import pytest

import zoo
from helpers.checks import refusal
from helpers.training import QUICK, compose_config, config_with_data, read_run
from train import train
from zoo.training.early_stopping import EarlyStopping
from zoo.training.recipe_config import EarlyStoppingConfig
from zoo.training.settings import check


class Scripted(keras.callbacks.Callback):
    """Gives epochs these figures, and the model a weight that tells its epoch."""

    def __init__(self, key, values, first_epoch=0):
        super().__init__()
        self.key, self.values, self.first_epoch = key, values, first_epoch

    def on_epoch_end(self, epoch, logs=None):
        logs[self.key] = self.values[epoch]
        self.model.set_weights([np.full((1, 1), epoch + 1.0)])


def fitted(stopping, values, key="val_loss", first_epoch=0):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    batch = np.ones((1, 1))
    scripted = Scripted(key, values)
    options = {"epochs": len(values), "initial_epoch": first_epoch, "verbose": 0}
    history = model.fit(batch, batch, callbacks=[scripted, stopping], **options)
    if isinstance(stopping, EarlyStopping):
        stopping.finish(model)
    return len(history.epoch), float(model.get_weights()[0].item())


CASES = [
    ("val_loss", {}, [5, 4, 3, 3.5, 3.2, 9, 9], 3),
    ("val_loss", {"min_delta": 0.5}, [5, 4, 3.8, 3.6, 1, 1], 2),
    ("val_top1", {}, [0.1, 0.5, 0.4, 0.3, 0.9], 2),
    ("val_top1", {"restore_best_weights": False}, [0.1, 0.5, 0.4, 0.3, 0.9], 2),
    ("val_loss", {}, [5, 4, 3, 2, 1], 5),
    ("val_loss", {}, [5, 4, 3, 2, 2.5], 4),  # all epochs are trained, and the best is not the last
]


@pytest.mark.parametrize("key, options, values, best", CASES)
def test_it_stops_where_keras_does(key, options, values, best):
    config = EarlyStoppingConfig(patience=2, monitor=key, **options)
    plain = keras.callbacks.EarlyStopping(
        key, patience=2, mode="min" if key == "val_loss" else "max", **{"restore_best_weights": True, **options}
    )
    stopping = EarlyStopping(config)
    epochs, weight = fitted(stopping, values, key)
    assert (epochs, weight) == fitted(plain, values, key)
    outcome = stopping.outcome()
    assert (outcome["stopped"], outcome["best_epoch"]) == (epochs < len(values), best)
    assert outcome["weights"] == ("best" if config.restore_best_weights else "last")
    assert weight == (best if config.restore_best_weights else epochs)


def test_what_is_no_number_is_never_the_best():
    stopping = EarlyStopping(EarlyStoppingConfig(patience=3))
    assert fitted(stopping, [np.nan, 5, np.nan, 4, np.nan, np.nan, np.nan, 1]) == (7, 4)
    assert stopping.outcome()["reason"] == "val_loss has not improved for 3 epochs, since epoch 4 (4)"
    never = EarlyStopping(EarlyStoppingConfig(patience=2))
    assert fitted(never, [np.nan] * 5)[0] == 3
    assert never.outcome()["best"] is None and never.outcome()["reason"] == "val_loss has not improved for 2 epochs"


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_it_goes_on_where_an_earlier_process_stood(cut):
    values = [5.0, 3.0, 4.0, 3.5, 3.2, 9.0]
    whole = EarlyStopping(EarlyStoppingConfig(patience=3))
    expected = fitted(whole, values)
    first = EarlyStopping(EarlyStoppingConfig(patience=3))
    fitted(first, values[:cut])
    state = json.loads(json.dumps(first.state()))
    second = EarlyStopping(EarlyStoppingConfig(patience=3))
    second.restore(state, [np.full((1, 1), state["best_epoch"] + 1.0)])
    epochs, weight = fitted(second, values, first_epoch=cut)
    assert (cut + epochs, weight) == expected and second.outcome() == whole.outcome()


@pytest.mark.heavy
def test_a_run_says_why_it_ended_and_its_figures_are_those_of_its_model(data_dir, tmp_path, capsys):
    # So slow that the accuracy of the first epoch is not left behind by 0.5.
    options = [*QUICK, "recipe.epochs=9", "recipe.early_stopping.patience=1", "recipe.learning_rate=1e-6"]
    options += ["recipe.early_stopping.monitor=val_top1", "recipe.early_stopping.min_delta=0.5"]
    options += ["recipe.class_weights=balanced"]
    result = train(config_with_data(data_dir, *options), tmp_path)
    rows, saved = read_run(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2] and saved["early_stopping"] == result["early_stopping"]
    reason = f"val_top1 has not improved by more than 0.5 for 1 epoch, since epoch 1 ({rows[0]['val/top1']:.6g})"
    assert result["early_stopping"] == {
        "stopped": True,
        "reason": reason,
        "monitor": "val_top1",
        "best": rows[0]["val/top1"],
        "best_epoch": 1,
        "weights": "best",
    }
    assert (result["status"], result["epochs"], result["epochs_planned"]) == ("finished", 2, 9)
    assert [result[f"val_{key}"] for key in ("loss", "top1")] == [rows[0]["val/loss"], rows[0]["val/top1"]]
    assert rows[0]["val/loss"] != rows[1]["val/loss"]
    assert f"Stopped early: {reason}; the model is that of epoch 1." in (shown := capsys.readouterr().err)
    assert "recipe.class_weights: from 0.9" in shown
    cfg = compose_config("mode=evaluate", f"checkpoint={tmp_path}", "tracking=disabled")
    assert train(cfg, tmp_path / "again")["val_loss"] == result["val_loss"]
    assert zoo.create(weights=tmp_path).name == "mobilenetv1_025"


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("early_stopping.patience=0", "recipe.early_stopping.patience=0 is not allowed: .*; the nearest is 1."),
        ("early_stopping.patience=1.5", "recipe.early_stopping.patience=1.5 is not allowed: .* nearest are 1 and 2."),
        ("early_stopping.monitor=val_los", "recipe.early_stopping.monitor='val_los' is not known: did you mean val_lo"),
        ("early_stopping.min_delta=-1", "recipe.early_stopping.min_delta=-1 is not allowed: it must be finite, 0 or"),
        (
            "early_stopping=3",
            "recipe.early_stopping=3 is not allowed: it is a group of keys, of which",
        ),
    ],
)
def test_impossible_settings_are_refused(override, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        check(compose_config(f"recipe.{override}"))


def test_a_key_that_is_not_there_is_refused_with_the_nearest():
    sentence = refusal(lambda: check(compose_config("+recipe.early_stopping.patienc=3")))
    assert sentence.startswith("There is no setting recipe.early_stopping.patienc: did you mean recipe.")
    assert check(compose_config("recipe.early_stopping=null")).recipe.early_stopping == EarlyStoppingConfig()
