"""Whole training runs on the digits: what they learn, what they leave behind, and how they end."""

import json
import math
import re
import signal
import subprocess
import time

import keras
import numpy as np
import pytest
from PIL import Image

import blocks  # noqa: F401  (saved models hold its layers)
import zoo
from helpers.terminal import Terminal
from helpers.training import QUICK, TINY, command, config_with_data, read_run
from helpers.wandb_client import environment, history, inspect
from train import train
from zoo import metrics
from zoo.__main__ import run
from zoo.commands.export_source import load as load_source
from zoo.data_config import DataConfig
from zoo.datasets.pipeline import load
from zoo.errors import UserError
from zoo.training.progress import compare_line
from zoo.training.schedules import schedule
from zoo.training.settings import check
from zoo.weights.trained import network_of_checkpoint

COLUMNS = ["epoch", "seconds", "train/loss", "train/top1", "train/top5", "train/images_per_second"]
COLUMNS += [
    "train/step_seconds",
    "train/seconds",
    "learning_rate",
    "val/loss",
    "val/top1",
    "val/top5",
    "train/skipped_steps",
    "peak_memory_bytes",
]
TIMES = {"seconds", "train/images_per_second", "train/step_seconds", "train/seconds", "peak_memory_bytes"}
KEYS = "status model groups dataset val_top1 val_top5 parameters macs train_images_per_second peak_memory_bytes seconds"


def without_times(rows):
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def learnt(data_dir, tmp_path_factory):
    """A run long enough to learn: its configuration, its directory and what `train` returned."""
    cfg = config_with_data(
        data_dir, "model=mobilenet_v1", "model.width=0.5", "tracking=disabled", "recipe.epochs=7",
        "recipe.batch_size=32", "recipe.learning_rate=0.005", "recipe.warmup_epochs=0.5", "dataset.crop_padding=0",
        "dataset.train_split='train[:1300]'", "dataset.test_split='train[1300:]'",
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("learnt")
    return cfg, directory, train(cfg, directory)


def test_a_network_learns(learnt):
    _, directory, result = learnt
    rows, _ = read_run(directory)
    assert result["status"] == "finished"
    assert result["val_top1"] > 0.7 and result["test_top1"] > 0.7
    assert rows[-1]["train/loss"] < 0.5 * rows[0]["train/loss"]


def test_a_run_leaves_its_figures(learnt):
    cfg, directory, returned = learnt
    rows, result = read_run(directory)
    assert json.loads(json.dumps(returned)) == result
    assert set(KEYS.split()) <= set(result)
    assert (result["model"], result["groups"], result["dataset"]) == ("mobilenetv1_050", None, "digits")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6, 7] and list(rows[0]) == COLUMNS
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        assert 0 < row["train/top1"] <= row["train/top5"] <= 1 and 0 < row["val/top1"] <= row["val/top5"] <= 1
        assert row["train/images_per_second"] * row["train/step_seconds"] == pytest.approx(32)
    for key in ("train_loss", "val_loss", "val_top1", "val_top5"):
        assert result[key] == rows[-1][key.replace("_", "/")]
    assert result["best_val_top1"] == max(row["val/top1"] for row in rows)
    assert rows[result["best_epoch"] - 1]["val/top1"] == result["best_val_top1"]
    assert result["train_top1"] == rows[-1]["train/top1"] and result["warning"] is None  # it has learnt
    rates = sorted(row["train/images_per_second"] for row in rows[1:])
    assert rates[0] <= result["train_images_per_second"] <= rates[-1]
    assert result["peak_memory_bytes"] >= rows[-1]["peak_memory_bytes"] > 100e6
    assert result["seconds"] > sum(row["train/seconds"] for row in rows)
    settings = check(cfg)
    steps = load(settings.dataset, batch_size=32, seed=0).steps_per_epoch
    rate = schedule(settings.recipe, steps)
    expected = [float(rate(epoch * steps - 1)) for epoch in range(1, 8)]  # of the last step of each epoch
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected, rel=1e-6)
    assert expected[0] > expected[-1] == pytest.approx(0, abs=1e-6)


def test_the_saved_model_reproduces_the_figures(learnt):
    cfg, directory, result = learnt
    model = keras.models.load_model(directory / "model.keras")
    data = load(check(cfg).dataset, batch_size=32, seed=0)
    top1, top5 = keras.metrics.SparseCategoricalAccuracy(), keras.metrics.SparseTopKCategoricalAccuracy(5)
    for images, labels in data.validation:
        logits = model(images, training=False)
        top1.update_state(labels, logits)
        top5.update_state(labels, logits)
    assert float(top1.result()) == pytest.approx(result["val_top1"], abs=1.5 / 360)
    assert float(top5.result()) == pytest.approx(result["val_top5"], abs=1.5 / 360)
    assert model.count_params() > result["parameters"] > 0.9 * model.count_params()  # moving averages are not counted


def test_the_best_checkpoint_is_a_network_to_predict_and_export_with(learnt, tmp_path, capsys):
    cfg, directory, result = learnt
    best = directory / "checkpoints" / "best.safetensors"
    model, config = network_of_checkpoint(best)
    data = load(check(cfg).dataset, batch_size=32, seed=0)
    images, labels = (np.concatenate(each) for each in zip(*data.validation.as_numpy_iterator(), strict=True))
    right = (model(images).numpy().argmax(1) == labels).sum()
    assert right / data.validation_size == pytest.approx(result["best_val_top1"], abs=1.5 / 360)
    assert config == DataConfig.from_keras(directory / "model.keras")
    Image.new("L", (8, 8), 200).save(tmp_path / "grey.png")
    assert run(["predict", str(best), str(tmp_path / "grey.png"), "--json"]) == 0
    (picture,) = json.loads(capsys.readouterr().out)["pictures"]
    assert len(picture["predictions"]) == 5 and all(each["name"] for each in picture["predictions"])
    source = load_source(str(best), None, None, None)
    created = zoo.create(weights=best, input_shape=(8, 8, 1))
    np.testing.assert_allclose(created(images), model(images), atol=1e-5)
    assert source.config == config and source.dataset is None and source.model.name == "mobilenetv1_050"


def test_the_saved_model_says_what_it_expects_of_pictures(learnt):
    """And is a model to Keras and a file of weights to the zoo as it was."""
    cfg, directory, _ = learnt
    dataset = check(cfg).dataset
    digits = tuple(map(str, range(10)))
    assert DataConfig.from_keras(directory / "model.keras") == DataConfig(
        size=(8, 8), mean=tuple(dataset.mean), std=tuple(dataset.std), channels=1, class_names=digits,
        source="mobilenetv1_050 on digits",
    )  # fmt: skip
    assert zoo.create(weights=directory).output_shape == (None, 10)


def test_a_directory_holds_one_run(learnt):
    cfg, directory, _ = learnt
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(
        UserError, match="holds model.keras, evaluation.json, checkpoints and metrics.csv of an earlier run"
    ):
        train(cfg, directory)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.heavy
def test_a_seed_decides_everything(data_dir, tmp_path):
    histories = []
    for seed, folder in ((3, tmp_path / "tfds"), (3, data_dir), (4, data_dir)):  # the first prepares its data
        directory = tmp_path / f"run{len(histories)}"
        train(config_with_data(folder, *QUICK, "limit_steps=2", f"seed={seed}"), directory)
        histories.append(without_times(read_run(directory)[0]))
    first, same, other = histories
    assert first == same and len(first) == 2
    assert first[0]["train/loss"] != other[0]["train/loss"]


@pytest.mark.heavy
def test_the_steps_of_an_epoch_can_be_limited(data_dir, tmp_path):
    recipe = ["recipe=sgd", "recipe.learning_rate=0.01", "recipe.precision=bfloat16"]
    train(config_with_data(data_dir, *QUICK, *recipe), tmp_path)
    rows, result = read_run(tmp_path)
    # A half cosine over twice four steps, at the last of each epoch.
    expected = [0.005 * (1 + math.cos(math.pi * step / 8)) for step in (3, 7)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert rows[0]["train/top1"] * 4 * 64 == pytest.approx(round(rows[0]["train/top1"] * 4 * 64), abs=1e-3)
    assert result["status"] == "finished" and math.isfinite(result["train_loss"])
    model = keras.models.load_model(tmp_path / "model.keras")
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.get_layer("conv_stem").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"  # for whatever runs next in this process


def test_what_does_not_fit_the_data_fails_in_one_sentence(data_dir, tmp_path):
    expected = "batch_size=10000 exceeds the 1437 training images of digits"
    with pytest.raises(UserError, match=expected) as raised:
        train(config_with_data(data_dir, *QUICK, "recipe.batch_size=10000"), tmp_path)
    assert "\n" not in str(raised.value)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed" and expected in result["error"] and result["val_top1"] is None
    with pytest.raises(UserError, match="seed=-1 is not allowed"):
        train(config_with_data(data_dir, *QUICK, "seed=-1"), tmp_path)


def test_a_directory_that_cannot_be_written_is_named(data_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"Cannot write {tmp_path}/file/run: Not a directory.* hydra.run.dir=PATH"):
        train(config_with_data(data_dir, *QUICK), tmp_path / "file" / "run")


def swept(data_dir, tmp_path, *overrides):
    """A sweep that has ended, and of each of its runs the directory and the records that W&B has of it."""
    done = subprocess.run(
        command(data_dir, "-m", "hydra.sweep.dir=sweep", "tracking=offline", "limit_steps=3", *overrides),
        capture_output=True, text=True, cwd=tmp_path, env=environment(tmp_path / "home"), timeout=200,
    )  # fmt: skip
    directories = sorted(path.parent for path in tmp_path.glob("sweep/*/result.json"))
    runs = []
    for directory in directories:
        (offline,) = directory.glob("wandb/offline-run-*")
        records = inspect(offline)
        summary = {}
        for record in records:
            summary |= record.get("summary", {}).get("update", {})
        last = {record["type"]: record[record["type"]] for record in records}
        runs.append((directory, last | {"history": history(records), "summary": summary}))
    return done, runs


@pytest.mark.heavy
def test_a_sweep_over_models_gives_finished_separate_runs_in_one_group(data_dir, tmp_path):
    overrides = ["model=mobilenet_v1,shufflenet_v1", "model.width=0.25", "recipe.epochs=2", "limit_steps=6"]
    done, runs = swept(data_dir, tmp_path, *overrides)
    assert done.returncode == 0 and done.stdout == "" and len(runs) == 2, done.stderr
    started = [records["run"] for _, records in runs]
    assert len({run["run_id"] for run in started}) == 2
    assert [run["display_name"] for run in started] == ["mobilenetv1_025-digits", "shufflenet_g3_wd4-g3-digits"]
    assert {run["run_group"] for run in started} == {"digits-sweep"}
    assert len({read_run(directory)[1]["process"]["pid"] for directory, _ in runs}) == 2  # and so a memory of its own
    for (directory, records), groups in zip(runs, (None, 3), strict=True):
        rows, result = read_run(directory)
        assert result["status"] == "finished" and records["exit"].get("exit_code", 0) == 0
        assert result["wandb"]["id"] == records["run"]["run_id"] and result["groups"] == groups
        config = records["run"]["config"]["update"]
        assert config["groups"] == config["model"]["groups"] == groups
        assert (config["family"], config["network"]) == (result["family"], result["model"])
        assert {"dataset", "recipe", "tracking", "seed", "limit_steps", "small_stem", "versions"} <= set(config)
        assert config["commit"] == result["commit"] and config["recipe"]["epochs"] == 2
        assert len(records["history"]) == 2
        for row, logged in zip(rows, records["history"], strict=True):
            assert {key: logged[key] for key in COLUMNS} == pytest.approx(row)
        for key in ("parameters", "macs", "peak_memory_bytes", "val_top1", "latency_seconds"):
            assert records["summary"][key] == pytest.approx(result[key])
        tables = {key.removesuffix("._type") for key, value in records["summary"].items() if value == "table-file"}
        charts = {f"{metrics.CONFUSION}_table", f"{metrics.PER_CLASS}_table"}
        assert tables == {*charts, metrics.MISTAKES, metrics.LAYERS} and records["summary"]["status"] == "finished"


@pytest.mark.heavy
def test_a_run_that_fails_costs_a_sweep_nothing_but_itself(data_dir, tmp_path):
    done, runs = swept(data_dir, tmp_path, *TINY, "recipe.epochs=1", "recipe.warmup_epochs=0",
                       "recipe.learning_rate=1e30,0.01")  # fmt: skip
    sentence = "The loss became nan in epoch 1: lower recipe.learning_rate"
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert f"This run failed, the sweep goes on: {sentence}" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(sentence)
    (_, failed), (_, finished) = [read_run(directory) for directory, _ in runs]
    assert failed["status"] == "failed" and sentence in failed["error"]
    assert finished["status"] == "finished" and finished["val_top1"] > 0
    assert [records["exit"].get("exit_code", 0) for _, records in runs] == [1, 0]


@pytest.mark.heavy
def test_a_terminal_shows_progress_and_ctrl_c_ends_it_with_what_was_learnt_saved(data_dir, tmp_path):
    options = [*TINY, "recipe.batch_size=16", "recipe.epochs=30", "tracking=offline", "hydra.run.dir=run"]
    terminal = Terminal(command(data_dir, *options), tmp_path, environment(tmp_path / "home", TERM="xterm"))
    terminal.read(until="epoch   1/30 ")
    terminal.type(b"\x03")  # to the whole foreground, W&B's service too
    terminal.read()
    assert terminal.process.wait(20) == 130
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.shown)
    bars = [line for line in re.split(r"[\r\n]+", shown) if "━" in line]
    assert "compiling" in bars[0]
    figures = r"^epoch 1/30 .*━ [\d,]+ images/s  loss \d\.\d+  top-1 [\d.]+ % \d:\d\d:\d\d$"
    assert any(re.search(figures, bar) for bar in bars)
    assert not [bar for bar in bars if len(bar.removesuffix("^C")) > 80]
    assert "Traceback" not in shown and "saving the model" in shown
    table = shown[shown.rindex("mobilenetv1_025-digits: interrupted") :]
    for word in ("validation top-1", "parameters", "multiply-accumulates", "images/s", "run directory"):
        assert word in table
    assert table.splitlines()[-2:] == [compare_line(tmp_path / "run").replace(f"{tmp_path}/", ""), "Stopped by Ctrl-C."]
    assert (tmp_path / "run" / "evaluation.json").exists()  # a pass over these few images is no time
    rows, result = read_run(tmp_path / "run")
    assert result["status"] == "interrupted" and result["epochs"] == len(rows) >= 1
    assert result["val_top1"] == rows[-1]["val/top1"]
    assert keras.models.load_model(tmp_path / "run" / "model.keras").count_params() > result["parameters"]
    (offline,) = tmp_path.glob("run/wandb/offline-run-*")
    assert len(history(inspect(offline))) == len(rows)


@pytest.mark.heavy
def test_ctrl_c_while_the_first_step_compiles(data_dir, tmp_path):
    options = [*TINY, "tracking=disabled", "hydra.run.dir=run"]
    process = subprocess.Popen(command(data_dir, *options), stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    err = ""
    while not err.endswith("undoes it)\n"):  # the line on the stem, the last before training
        err += (line := process.stderr.readline())
        assert line, err
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    err += process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in err, err
    # In a finalizer, of which tracing has many, Python drops it: then the run stops behind the first step.
    learnt = "Stopped: saving the model." in err
    assert learnt or "Stopped before the first step was done." in err, err
    assert "mobilenetv1_025-digits: interrupted" in err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "interrupted" and result["epochs"] == 0 and result["val_top1"] is None
    assert [path.name for path in tmp_path.rglob("*.keras")] == ["model.keras"] * learnt
    assert not list(tmp_path.rglob("evaluation.json"))


@pytest.mark.heavy
def test_a_sweep_names_the_classes_and_says_once_how_to_compare(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 10, 12, 12, 3), np.uint8)
    for pictures, name in zip(pixels, ("bird", "[cat]", "dog"), strict=True):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / "photos" / name / f"{number}.png")
    sweep = [
        "-m",
        "seed=0,1",
        "dataset=image_folder",
        "dataset.image_size=32",
        "recipe.batch_size=8",
        "hydra.sweep.dir=multirun/a",
    ]
    done = subprocess.run(
        command("photos", *sweep, *QUICK),
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr.count("3 classes: [cat], bird, dog\n") == 2, done.stderr
    assert re.findall("To compare runs: (?:zoo|python -m zoo) compare (.+)", done.stderr) == ["multirun/a/"]
