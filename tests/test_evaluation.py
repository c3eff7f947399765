"""What is measured once a network has been trained: what it confuses, and how long it takes for one image."""

import json
import os
import signal
import socket
import subprocess
from collections import Counter
from datetime import UTC, datetime

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from omegaconf import OmegaConf
from rich.console import Console

import zoo
from helpers.training import QUICK, command, config_with_data, read_run
from train import train
from zoo.datasets import pipeline as data
from zoo.datasets.config import DatasetConfig
from zoo.training import evaluation, latency, run
from zoo.training.settings import check


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    cfg = config_with_data(data_dir, *QUICK, "limit_steps=8", "recipe.learning_rate=0.01", "recipe.batch_size=50")
    directory = tmp_path_factory.mktemp("trained")
    return cfg, directory, train(cfg, directory)


def test_a_run_leaves_what_was_confused_with_what(trained):
    cfg, directory, result = trained
    saved = json.loads((directory / "evaluation.json").read_text())
    assert saved.keys() == {"split", "classes", "confusion"}
    assert saved["split"] == "validation" and saved["classes"] == [str(digit) for digit in range(10)]
    model = keras.models.load_model(directory / "model.keras")
    images, labels = zip(*data.load(check(cfg).dataset, 50, 0).validation.as_numpy_iterator(), strict=True)
    predicted = np.concatenate([model.predict_on_batch(some).argmax(1) for some in images])
    labels = np.concatenate(labels)
    expected = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    assert len(labels) == sum(expected.values()) == 360
    assert {(true, guess): count for true, guess, count in saved["confusion"]} == expected
    assert sum(expected[digit, digit] for digit in range(10)) == pytest.approx(360 * result["val_top1"])


def test_a_run_tells_its_configuration_its_process_and_when_each_epoch_ended(trained):
    cfg, directory, result = trained
    rows, _ = read_run(directory)
    assert result["family"] == "mobilenet_v1"
    assert result["config"] == OmegaConf.to_container(cfg, resolve=True)
    assert (result["process"]["host"], result["process"]["pid"]) == (socket.gethostname(), os.getpid())
    started = datetime.fromisoformat(result["process"]["started"])
    assert started.utcoffset().total_seconds() == 0 and abs((datetime.now(UTC) - started).total_seconds()) < 600
    first, second = (row["seconds"] for row in rows)
    assert rows[0]["train/seconds"] < first < first + rows[1]["train/seconds"] < second < result["seconds"]
    assert 0 < result["latency_seconds"] < 1


@pytest.mark.heavy
def test_a_killed_run_tells_what_it_cost_and_which_process_it_was(data_dir, tmp_path):
    options = [*QUICK, "recipe.epochs=500", "hydra.run.dir=run"]
    process = subprocess.Popen(command(data_dir, *options), stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not (line := process.stderr.readline()).startswith("epoch   2/"):
        assert line
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    rows, result = read_run(tmp_path / "run")
    assert result["status"] == "running" and result["process"]["pid"] == process.pid
    assert result["parameters"] > 200_000 and result["macs"] > 200_000 and result["activations"] > 5_000
    assert result["config"]["recipe"]["epochs"] == 500 and len(rows) >= 2


@pytest.mark.heavy
def test_ctrl_c_while_a_run_measures_costs_nothing_that_was_learnt(data_dir, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config_with_data(data_dir, *QUICK, "recipe.epochs=1"), tmp_path)
    rows, result = read_run(tmp_path)
    assert (result["status"], result["latency_seconds"]) == ("interrupted", None)
    assert result["val_top1"] == rows[-1]["val/top1"] and result["train_images_per_second"] > 0
    assert keras.models.load_model(tmp_path / "model.keras").count_params() > result["parameters"]
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.heavy
def test_measuring_is_neither_part_of_the_peak_memory_nor_may_it_fail_a_run(data_dir, tmp_path, monkeypatch, capsys):
    def waste(model):
        raise OSError(f"{len(b'x' * 2**30):,} bytes\nand no result")

    monkeypatch.setattr(run, "latency_seconds", waste)
    result = train(config_with_data(data_dir, *QUICK, "recipe.epochs=1"), tmp_path)
    assert (result["status"], result["latency_seconds"]) == ("finished", None)
    assert result["peak_memory_bytes"] < read_run(tmp_path)[0][-1]["peak_memory_bytes"] + 2**29
    assert "The latency of one image was not measured: 1,073,741,824 bytes and no result." in capsys.readouterr().err


@pytest.fixture(scope="module")
def classifier():
    """A linear classifier of the digits, hardly better than chance."""
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 1))
    return keras.Model(images, keras.layers.Dense(10)(keras.layers.Flatten()(images)))


@pytest.mark.parametrize("batch_size, worst", [(64, 5), (360, 5), (7, 32)])
def test_the_worst_mistakes_are_those_with_the_least_chance_for_the_truth(classifier, digits, batch_size, worst):
    outcome = evaluation.evaluate(classifier, data.load(digits, batch_size, 0), digits, worst)
    source = tfds.load("digits", split="validation", data_dir=digits.data_dir, as_supervised=True)
    images, labels = zip(*tfds.as_numpy(source), strict=True)
    normalised = (np.stack(images) / 255 - digits.mean[0]) / digits.std[0]
    chances = np.asarray(keras.ops.softmax(classifier(normalised.astype(np.float32))))
    of_truth = chances[np.arange(360), labels]
    wrong = np.flatnonzero(chances.argmax(1) != labels)
    expected = wrong[np.argsort(of_truth[wrong])][:worst]
    assert [mistake.position for mistake in outcome.mistakes] == expected.tolist() and len(expected) == worst
    for mistake in outcome.mistakes:
        chance = chances[mistake.position]
        assert (mistake.true, mistake.predicted) == (labels[mistake.position], chance.argmax())
        assert mistake.true_probability == pytest.approx(chance[mistake.true], rel=1e-4)
        assert mistake.predicted_probability == pytest.approx(chance.max(), rel=1e-4)
        assert mistake.loss == pytest.approx(-np.log(chance[mistake.true]), rel=1e-4)
        assert mistake.pixels.dtype == np.uint8
        assert (mistake.pixels == images[mistake.position][..., 0]).all()
    recognised = np.bincount(np.asarray(labels)[chances.argmax(1) == labels], minlength=10)
    counts = outcome.per_class()
    assert [name for name, *_ in counts] == [str(digit) for digit in range(10)]
    assert [images for _, images, _ in counts] == np.bincount(labels).tolist()
    assert [right for *_, right in counts] == recognised.tolist()


def test_a_network_whose_outputs_are_no_numbers_is_evaluated_too(digits):
    images = keras.Input((8, 8, 1))
    model = keras.Model(images, keras.layers.Dense(10)(keras.layers.Flatten()(images)))
    model.layers[-1].kernel.assign(np.full((64, 10), np.nan))
    outcome = evaluation.evaluate(model, data.load(digits, 64, 0), digits, 4)
    assert sum(outcome.confusion.values()) == 360
    assert [mistake.loss for mistake in outcome.mistakes] == [np.inf] * 4
    positions = [mistake.position for mistake in outcome.mistakes]
    assert positions == sorted(positions)


def test_pixels_are_what_was_normalised():
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    config = DatasetConfig(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], channels=3)
    normalised = (colour / 255 - np.asarray(config.mean)) / np.asarray(config.std)
    assert (evaluation.pixels(normalised.astype(np.float32), config) == colour).all()
    far = evaluation.pixels(np.full((2, 2, 1), 9.0, np.float32), DatasetConfig(mean=[0.5], std=[0.5]))
    assert far.shape == (2, 2) and (far == 255).all()


def test_classes_without_names_are_numbers():
    config = DatasetConfig(source="synthetic", builder=None, num_classes=3, image_size=8)
    assert evaluation.class_names(data.load(config, 8, 0)) == ("0", "1", "2")


def test_latency_is_that_of_a_float32_network():
    model = zoo.create("mobilenetv3_small_050", 10, (8, 8, 1), small_stem=True)
    assert latency.in_float32(model) is model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = zoo.create("mobilenetv3_small_050", 10, (8, 8, 1), small_stem=True)
    finally:
        keras.config.set_dtype_policy(before)
    mixed.set_weights(model.get_weights())
    copy = latency.in_float32(mixed)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-5, atol=1e-6)
    assert 0 < latency.latency_seconds(mixed) < 1


def test_a_network_that_cannot_be_fused_has_no_latency_and_the_run_says_why(capsys):
    class Code(keras.Model):
        def call(self, images):
            return images

    model = Code(name="mine")
    model(np.zeros((1, 8, 8, 1), np.float32))
    assert run.latency(model, Console(soft_wrap=True)) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("The latency of one image was not measured: mine is a Code, whose computation is code")
