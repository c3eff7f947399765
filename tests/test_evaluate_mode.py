"""mode=evaluate repeats the figures of a run, and measures files and published weights, without training."""

import hashlib
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from helpers.checks import refusal
from helpers.file_server import serve
from helpers.training import QUICK, compose_config, config_with_data, read_run
from helpers.wandb_client import inspect
from train import train
from zoo.__main__ import run as run_command
from zoo.data_config import DataConfig
from zoo.datasets.pipeline import load
from zoo.errors import UserError
from zoo.training.evaluation_config import evaluation_config
from zoo.training.recipe import compile_for_evaluation
from zoo.training.settings import check
from zoo.weights.published import resolve

FIGURES = ("val_loss", "val_top1", "val_top5", "test_loss", "test_top1", "test_top5", "parameters", "macs")
DATA = ["dataset.validation_split='validation[:200]'", "dataset.test_split='validation[200:]'"]


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("trained")
    options = [*QUICK, *DATA, "recipe.batch_size=48", "recipe.label_smoothing=0.1", "recipe.learning_rate=0.01"]
    return directory, train(config_with_data(data_dir, *options), directory)


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("evaluated")
    cfg = compose_config("mode=evaluate", f"checkpoint={trained[0]}", "tracking=offline")
    return directory, train(cfg, directory)


def test_the_figures_of_a_run_are_repeated_to_the_digit(trained, evaluated):
    (source, result), (directory, again) = trained, evaluated
    assert {key: again[key] for key in FIGURES} == {key: result[key] for key in FIGURES}
    assert (directory / "evaluation.json").read_bytes() == (source / "evaluation.json").read_bytes()
    assert (again["status"], again["mode"], again["checkpoint"]) == ("finished", "evaluate", str(source))
    assert again["latency_seconds"] > 0 and again["peak_memory_bytes"] is again["train_images_per_second"] is None
    assert again["config"]["dataset"] == result["config"]["dataset"]  # of the run: the command line says nothing of it
    assert not (directory / "model.keras").exists() and not (directory / "metrics.csv").exists()


@pytest.mark.heavy
def test_a_run_is_evaluated_at_another_size_than_it_was_trained_at(trained, tmp_path, recwarn):
    overrides = ["dataset.image_size=12"]
    cfg = compose_config("mode=evaluate", f"checkpoint={trained[0]}", "tracking=disabled", *overrides)
    result = train(cfg, tmp_path / "run", overrides)
    assert not [each for each in recwarn if each.category is UserWarning]
    settings = check(evaluation_config(cfg, overrides))
    with pytest.warns(UserWarning, match="was saved from another build"):
        model = zoo.create("mobilenetv1_025", input_shape=(12, 12, 1), weights=trained[0])
    data = load(settings.dataset, settings.recipe.batch_size, settings.seed, training=False)
    compile_for_evaluation(model, settings.recipe)
    figures = model.evaluate(data.validation, verbose=0, return_dict=True)
    assert {key: result[f"val_{key}"] for key in figures} == figures
    assert result["macs"] > trained[1]["macs"] and result["val_loss"] != trained[1]["val_loss"]


def test_the_evaluated_run_is_not_touched(trained, evaluated):
    names = {path.name for path in trained[0].iterdir()}
    assert names == {"checkpoints", "evaluation.json", "metrics.csv", "model.keras", "result.json"}
    assert read_run(trained[0])[1] == trained[1]


def test_wandb_tells_evaluations_from_trainings(evaluated):
    (kept,) = evaluated[0].glob("wandb/offline-run-*")
    (opened,) = [record["run"] for record in inspect(kept) if record["type"] == "run"]
    assert (opened["job_type"], opened["display_name"]) == ("evaluate", "mobilenetv1_025-digits-evaluation")


def test_a_comparison_has_an_evaluation_as_a_row_of_its_own(trained, evaluated, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["compare", str(trained[0]), str(evaluated[0]), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["name"] for row in rows} == {"mobilenetv1_025-digits", "mobilenetv1_025-digits-evaluation"}
    assert len({row["figures"]["val_top1"]["mean"] for row in rows}) == 1
    assert [row["epochs_planned"] for row in rows if row["name"].endswith("evaluation")] == [0]
    assert run_command(["compare", str(evaluated[0])]) == 0 and (tmp_path / "comparison.html").exists()


def test_a_run_is_evaluated_on_what_the_user_says_instead(trained):
    source = trained[0]
    own = check(evaluation_config(compose_config("mode=evaluate", f"checkpoint={source}")))
    assert (own.recipe.batch_size, own.recipe.label_smoothing, own.model.name) == (48, 0.1, "mobilenetv1_025")

    def asked(*overrides):
        cfg = compose_config("mode=evaluate", f"checkpoint={source}", *overrides)
        return check(evaluation_config(cfg, overrides))

    fewer = asked("dataset.validation_split='validation[:9]'", "dataset.test_split=null", "recipe.batch_size=7")
    assert (fewer.dataset.validation_split, fewer.dataset.test_split) == ("validation[:9]", None)
    assert (fewer.dataset.data_dir, fewer.recipe.batch_size) == (own.dataset.data_dir, 7)
    other = asked("dataset=mnist", "dataset.mean=[0.4]")  # pictures as the network knows them, but for the mean
    assert (other.dataset.builder, other.dataset.test_split) == ("mnist", "test")
    assert (other.dataset.image_size, other.dataset.mean, other.dataset.std) == (8, [0.4], own.dataset.std)


def test_what_has_no_effect_is_named_and_another_network_is_refused(trained, caplog):
    def asked(*overrides):
        cfg = compose_config("mode=evaluate", f"checkpoint={trained[0]}", *overrides)
        return evaluation_config(cfg, overrides)

    asked("recipe.epochs=3", "model=mobilenet_v1", "model.width=0.25", "tracking=disabled", "seed=3", "recipe.loss=bce")
    assert [record.message for record in caplog.records] == ["Without effect on an evaluation: recipe.epochs, seed."]
    sentence = refusal(lambda: asked("groups=4"), UserError)
    assert re.match(r"groups asks for resnext50_4x24d, and .* is of mobilenetv1_025: leave it out", sentence)


@pytest.mark.parametrize("name", ["model.keras", pytest.param("weights.safetensors", marks=pytest.mark.heavy)])
def test_files_and_their_figures_are_those_of_the_same_weights(trained, data_dir, tmp_path, name):
    file, own = trained[0] / name, []
    if not file.exists():  # weights alone: which network they are of is on the command line
        file, own = tmp_path / name, ["model=mobilenet_v1", "model.width=0.25"]
        zoo.save_torch(zoo.create(weights=trained[0]), file)
    options = [*DATA, *own, "recipe.batch_size=48", "recipe.label_smoothing=0.1", "tracking=disabled"]
    cfg = config_with_data(data_dir, *options, "mode=evaluate", f"checkpoint={file}")
    again = train(cfg, tmp_path / "run", overrides=own)
    assert [again[key] for key in FIGURES] == pytest.approx([trained[1][key] for key in FIGURES], rel=1e-6)
    assert (again["model"], again["family"]) == ("mobilenetv1_025", "mobilenet_v1")


def test_a_model_of_somebody_else_is_evaluated_and_keeps_its_name(data_dir, tmp_path):
    images = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(images))
    keras.Model(images, outputs, name="mine").save(tmp_path / "mine.keras")
    DataConfig((8, 8), (0.0,), (1.0,), channels=1).add_to_keras(tmp_path / "mine.keras")
    cfg = config_with_data(data_dir, "mode=evaluate", f"checkpoint={tmp_path / 'mine.keras'}", "tracking=disabled")
    result = train(cfg, tmp_path / "run")
    assert (result["model"], result["family"], result["groups"]) == ("mine", None, None)
    assert result["config"]["dataset"]["std"] == [1.0] and result["name"] == "mine-digits-evaluation"
    from zoo.datasets.pipeline import load

    model = keras.models.load_model(tmp_path / "mine.keras")
    ((pictures, labels),) = load(check(evaluation_config(cfg)).dataset, 360, 0, training=False).validation
    chances = np.asarray(model(pictures), np.float64)[np.arange(360), labels.numpy()]
    assert result["val_loss"] == pytest.approx(-np.log(chances).mean(), rel=1e-5)


def test_pictures_are_as_a_tag_has_them_but_for_what_the_user_sets():
    overrides = ["dataset=fashion_mnist", "dataset.mean=[0.1]"]
    cfg = compose_config("mode=evaluate", "checkpoint=timm/lcnet_050.ra2_in1k", *overrides)
    settings = check(evaluation_config(cfg, overrides))
    dataset, known = settings.dataset, resolve("timm/lcnet_050.ra2_in1k").data_config()
    assert (dataset.image_size, dataset.channels, dataset.crop_fraction) == (224, 3, known.crop_pct)
    assert (dataset.mean, tuple(dataset.std), dataset.resize_method) == ([0.1], known.std, known.interpolation)
    assert (dataset.builder, settings.model.name, settings.small_stem) == ("fashion_mnist", "lcnet_050", False)


@pytest.mark.heavy
def test_published_weights_see_pictures_as_their_tag_says(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra 'weights' is not installed")
    tag = "timm/lcnet_050.ra2_in1k"
    model = zoo.create(resolve(tag).model)
    zoo.save_torch(model, tmp_path / "weights.safetensors")
    content = (tmp_path / "weights.safetensors").read_bytes()
    # A folder of 1000 classes, of which a few have a second picture to evaluate on.
    draw = np.random.default_rng(0)
    for number in range(1000):
        for split in ("train", *(["validation"] if number < 6 else [])):
            folder = tmp_path / "data" / split / f"{number:04}"
            folder.mkdir(parents=True)
            pixels = (
                draw.integers(0, 256, (20, 24, 3), np.uint8) if split == "validation" else np.zeros((1, 1, 3), "u1")
            )
            Image.fromarray(pixels).save(folder / "1.png")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serve(content) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        server.headers = {"X-Repo-Commit": "c" * 40, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        folder = ["dataset=image_folder", f"dataset.data_dir={tmp_path / 'data'}"]
        cfg = compose_config("mode=evaluate", f"checkpoint={tag}", *folder, "tracking=disabled")
        result = train(cfg, tmp_path / "run")
    assert (result["model"], result["small_stem"]) == ("lcnet_050", False)
    prepare = zoo.preprocessing(tag)
    pictures = np.concatenate([prepare(tmp_path / "data" / "validation" / f"{n:04}" / "1.png") for n in range(6)])
    loss = keras.losses.sparse_categorical_crossentropy(np.arange(6), model(pictures), from_logits=True)
    assert result["val_loss"] == pytest.approx(float(keras.ops.mean(loss)), rel=1e-4)


def test_what_cannot_be_evaluated_is_said_in_one_sentence(trained, evaluated, data_dir, tmp_path):
    def refused(checkpoint, *overrides):
        cfg = config_with_data(data_dir, "mode=evaluate", f"checkpoint={checkpoint}", "tracking=disabled", *overrides)
        return refusal(lambda: train(cfg, tmp_path / "run", overrides), UserError)

    assert "is an evaluation, which saves no model.keras: give what it evaluated" in refused(evaluated[0])
    assert "is a folder without model.keras" in refused(tmp_path)
    assert "did you mean timm/lcnet_050.ra2_in1k, " in refused("timm/lcnet_050.ra2_in1")
    assert "There is no file" in refused("absent.keras")
    (tmp_path / "empty.keras").touch()
    assert "empty.keras is damaged, or no file of Keras" in refused(tmp_path / "empty.keras")
    (tmp_path / "net.onnx").touch()
    assert "is of no kind that mode=evaluate takes" in refused(tmp_path / "net.onnx")
    size = "takes images of 8 x 8 x 1 (height, width, channels), and the data set has 9 x 9 x 1"
    assert size in refused(trained[0] / "model.keras", "dataset.image_size=9")
    assert "takes images of 8 x 8 x 1" in refused(trained[0], "dataset.image_size=9", "dataset.channels=3")
    synthetic = ["dataset.source=synthetic", "dataset.num_classes=7", "dataset.name=synthetic"]
    assert "has 10 classes, and synthetic has 7" in refused(trained[0], *synthetic)
    assert read_run_status(tmp_path / "run") == "failed"


def read_run_status(directory):
    return json.loads((directory / "result.json").read_text())["status"]


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        ("mode=evalute", "mode='evalute' is not allowed: did you mean evaluate?"),
        ("mode=null", "mode=null is not allowed: it must be text."),
        ("mode=evaluate", "mode=evaluate needs checkpoint=RUN"),
        ("checkpoint=x", "checkpoint='x' is what mode=evaluate evaluates: give mode=evaluate too."),
    ],
)
def test_a_mode_that_cannot_be_is_refused(overrides, sentence):
    assert refusal(lambda: check(compose_config(*overrides.split()))).startswith(sentence)
