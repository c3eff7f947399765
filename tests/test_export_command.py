"""`zoo export`: from a network, a run or a file of Keras to a file of another runtime, and a report."""

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import blocks
import zoo
from helpers.checks import check_close
from helpers.hub import published
from helpers.networks import NAME, SHAPE
from helpers.paths import ROOT
from helpers.pictures import picture
from helpers.processes import process_environment
from helpers.randomized import randomized
from helpers.runtimes import onnx
from helpers.training import TINY, compose_config
from zoo.__main__ import run
from zoo.data_config import DataConfig
from zoo.datasets.validation import validation_images
from zoo.exporting import FORMATS, metadata
from zoo.training.settings import dataset_config
from zoo.weights.published import resolve

CLASSES = tuple(f"class {number}" for number in range(10))
MEAN = (0.485, 0.456, 0.406)


def run_export(capfd, *arguments: object) -> str:
    """Standard output of `zoo export` with these arguments, that of TensorFlow's own code included."""
    code = run(["export", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


def run_refused(capfd, *arguments: object) -> tuple[int, str]:
    """The exit code and the one line of an export that can't be done."""
    code = run(["export", *map(str, arguments)])
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(("I0", "WARNING", "INFO"))]
    assert out == "" and len(lines) == 1, err
    return code, lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's directory, as train.py leaves it, with the model that is in it."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1), name="images")
    x = blocks.conv_norm(images, 16, 3, act="relu")
    x = blocks.mobilenet_v1_block(x, 16)
    x = keras.layers.Dense(10, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    model = randomized(keras.Model(images, x, name="net"))
    model.save(folder / "model.keras")
    config = DataConfig(size=(8, 8), mean=(0.3,), std=(0.4,), channels=1, class_names=CLASSES, source="a run")
    config.add_to_keras(folder / "model.keras")
    (folder / ".hydra").mkdir()
    overrides = ["dataset=synthetic", "dataset.image_size=8", "dataset.channels=1", "dataset.num_classes=10"]
    overrides += ["dataset.synthetic_validation_size=30", "dataset.mean=[0.3]", "dataset.std=[0.4]"]
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(compose_config(*TINY, *overrides)))
    return folder, model


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(picture(40, 50), 9 * number, 0)).save(folder / f"{number}.png")
    return folder


@pytest.mark.heavy
def test_published_weights_are_exported_with_all_that_is_known(pictures, tmp_path, capfd, monkeypatch):
    tag, path = "timm/lcnet_050.ra2_in1k", tmp_path / "net.onnx"
    with published(tag, tmp_path, monkeypatch) as model:
        run_export(capfd, tag, "-o", path, "--with-preprocessing", "--softmax")
    texts, weights = metadata(path), resolve(tag)
    assert texts["license"] == weights.licence and texts["class_names"].split("\n") == list(weights.class_names)
    assert DataConfig.from_json(texts["zoo"]).source == tag
    image, prepare = pictures / "0.png", zoo.preprocessing(tag)
    (outputs,) = onnx(path)[0].run(None, {"pictures": np.asarray(Image.open(image))[None]})
    check_close(outputs, keras.ops.softmax(model(prepare(image))))


def test_a_run_is_compared_on_its_validation_images(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = trained
    report = json.loads(run_export(capfd, folder, "--format", "litert-int8", "--json"))
    assert (report["path"], report["images"], report["drawn"]) == ("net-int8.tflite", 30, False)
    assert report["grouped_convolutions"] == report["model_grouped_convolutions"] == 1
    assert report["top1"] is not None and report["model_top1"] is not None and report["bytes"] < 400_000
    config = DataConfig.from_json(metadata(report["path"])["zoo"])
    assert config.class_names == CLASSES and config.size == (8, 8) and not config.include_preprocessing


def test_a_runs_file_takes_pictures_and_gives_probabilities(trained, tmp_path, capfd):
    folder, _ = trained
    path = tmp_path / "net.onnx"
    rows = run_export(capfd, folder, "-o", path, "--with-preprocessing", "--softmax", "--opset", 17, "--csv")
    (row,) = csv.DictReader(io.StringIO(rows, newline=""))
    assert row["format"] == "onnx" and row["images"] == "30" and float(row["difference"]) < 1e-4
    config = DataConfig.from_json(metadata(path)["zoo"])
    assert config.include_preprocessing and config.classifier_activation == "softmax"
    assert metadata(path)["class_names"].splitlines() == list(CLASSES)


def test_a_network_with_weights_from_a_file(tmp_path, capfd, pictures):
    model = randomized(zoo.create(NAME, 4, SHAPE))
    zoo.save_torch(model, tmp_path / "weights.safetensors")
    options = ["--weights", tmp_path / "weights.safetensors", "--size", "32", "--batch", 1]
    out = run_export(capfd, NAME, *options, "--calibrate", pictures, "-o", tmp_path / "net.tflite")
    assert "13 operators of more than one group, 13 in the model" in out
    assert "on 3 images (given): largest difference" in out and "ms for 1 image on 1 thread (median)" in out
    config = DataConfig.from_json(metadata(tmp_path / "net.tflite")["zoo"])
    assert config.size == (32, 32) and config.mean == MEAN


def test_a_model_of_keras_from_elsewhere(tmp_path, capfd, pictures):
    images = keras.Input((24, 20, 3), name="scan")
    x = keras.layers.Conv2D(8, 3, groups=1)(images)
    x = keras.layers.Conv2D(8, 3, groups=4)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    randomized(keras.Model(images, x, name="elsewhere")).save(tmp_path / "mine.keras")
    known = {"version": 1, "size": [24, 20], "mean": [0.5], "std": [0.5], "class_names": ["cat", "dog"]}
    (tmp_path / "known.json").write_text(json.dumps(known))
    options = ["--format", "litert-int8", "-o", tmp_path / "net.tflite", "--json"]
    sentence = run_refused(capfd, tmp_path / "mine.keras", *options, "--calibrate", pictures)[1]
    assert sentence.startswith("It is not known how elsewhere sees pictures: give --data-config FILE, JSON such as {")
    options += ["--calibrate", pictures, "--data-config", tmp_path / "known.json"]
    report = json.loads(run_export(capfd, tmp_path / "mine.keras", *options))
    assert report["grouped_convolutions"] == 1 and report["images"] == 3
    assert metadata(tmp_path / "net.tflite")["class_names"] == "cat\ndog"


def test_a_run_whose_data_are_gone(trained, tmp_path, capfd):
    folder, _ = trained
    other = tmp_path / "run"
    (other / ".hydra").mkdir(parents=True)
    (other / "model.keras").write_bytes((folder / "model.keras").read_bytes())
    overrides = ["dataset=image_folder", f"dataset.data_dir={tmp_path}/gone", "dataset.image_size=8"]
    (other / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(compose_config(*TINY, *overrides)))
    code, sentence = run_refused(capfd, other, "--format", "litert-int8", "-o", tmp_path / "net.tflite")
    assert code == 1 and sentence.startswith("The run's validation images cannot be read, give --calibrate FOLDER: ")
    assert run(["export", str(other), "-o", str(tmp_path / "net.onnx")]) == 0
    out, err = capfd.readouterr()
    assert "drawn at random" in out and "The run's validation images cannot be read, random ones are compared: " in err


WRONG = [
    ("nope --format onnx", 1, "There is no network, tag of weights, run or file 'nope': "),
    ("mobilenetv1_02 --format onnx", 1, "There is no network, tag of weights, run or file 'mobilenetv1_02': did you "),
    ("resnext --format onnx", 1, "'resnext' is a family: give one of its networks, `zoo list --family resnext` lists "),
    ("none.keras --format onnx", 1, "There is no file 'none.keras'."),
    (". --format onnx", 1, ". is a folder without model.keras: give the directory of a run that has trained."),
    ("text.keras --format onnx", 1, "text.keras is damaged, or no file of Keras: "),
    ("text.pth --format onnx", 1, "text.pth is no .keras file: of a network's weights, give its name and --weights t"),
    ("text.keras --format onnx --size 32", 1, "--size is for the networks that `zoo list` shows: text.keras has its "),
    ("mobilenetv1_025", 1, "Give --format, one of savedmodel, onnx, litert, litert-fp16, litert-dynamic, litert-int8"),
    ("mobilenetv1_025 --format onx", 2, "Invalid value for '--format': there is no format 'onx': did you mean onnx?"),
    ("mobilenetv1_025 --format onnx --batch 0", 2, "Invalid value for '--batch': '0' is not allowed: give a whole num"),
    ("mobilenetv1_025 --format onnx --size 32 --opset 99", 1, "opset=99 is not allowed: use 13 to 18; the nearest is "),
    ("mobilenetv1_025 --format litert --size 32 -o net.onnx", 1, "'net.onnx' is not the name of a file of format='lit"),
    ("mobilenetv1_025 --format litert-int8 --size 32", 1, "--format litert-int8 is calibrated on pictures: give --cal"),
    ("mobilenetv1_025 --format onnx --weights none.pth", 1, "There is no file 'none.pth'."),
    ("timm/lcnet_050.ra2_in1k --weights x.pth --format onnx", 1, "timm/lcnet_050.ra2_in1k is a tag of weights, and "),
    ("mobilenetv1_025 --format onnx --data-config text.pth --size 32", 1, "text.pth: the data config is no JSON that "),
]


@pytest.mark.parametrize("arguments, code, sentence", WRONG, ids=[arguments for arguments, _, _ in WRONG])
def test_a_mistake_costs_one_sentence(arguments, code, sentence, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("text.keras", "text.pth"):
        (tmp_path / name).write_text("no model at all")
    status, line = run_refused(capfd, *arguments.split())
    assert (status, line[: len(sentence)]) == (code, sentence)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.keras", "text.pth"]


@pytest.mark.heavy
def test_ctrl_c_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "zoo", "export", "resnext50_32x4d", "--format", "litert", "-o", "net.tflite"]
    process = subprocess.Popen(command, cwd=tmp_path, env=process_environment(), stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.iterdir()):  # until it writes
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and process.stderr.read().endswith("Stopped by Ctrl-C.\n")
    assert not list(tmp_path.iterdir())


def test_a_poor_int8_file_is_written_with_a_warning(trained, tmp_path, capfd):
    """Logits that hardly differ beside a common offset: few of the 256 values of int8 are left to tell them apart."""
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "run")
    model = keras.models.load_model(folder / "model.keras")
    kernel, bias = model.get_layer("logits").get_weights()
    dataset = dataset_config(OmegaConf.load(folder / ".hydra" / "config.yaml"))
    means = np.mean(model(np.stack([image for image, _ in validation_images(dataset, 30)])), axis=0)
    model.get_layer("logits").set_weights([0.2 * kernel, 4 + 0.2 * (bias - means)])
    model.save(tmp_path / "run" / "model.keras")
    assert run(["export", str(tmp_path / "run"), "--format", "litert-int8", "-o", str(tmp_path / "a.tflite")]) == 0
    out, err = capfd.readouterr()
    (share,) = re.findall(r"same class for ([0-9.]+) %", out)
    (line,) = (line for line in err.splitlines() if line.startswith("The file gives"))
    assert line == (
        f"The file gives another class than the model for {100 - float(share):.0f} % of 30 images: calibrate on more "
        "pictures (200 are used), train longer, or use format litert-dynamic or litert-fp16."
    )


def test_the_page_has_the_bounds_of_every_format():
    table = re.findall(r"^\| (`.+`) \| (.+) \|$", (ROOT / "docs" / "ship.md").read_text(), re.MULTILINE)
    written = {name: text for names, text in table for name in re.findall("`([^`]+)`", names)}
    assert set(written) == set(FORMATS)
    for name, chosen in FORMATS.items():
        bound = chosen.bounds.cosine if chosen.bounds.difference is None else chosen.bounds.difference
        assert re.search(r"[01]\.\d+", written[name])[0] == f"{bound:.6f}".rstrip("0"), name
        assert (chosen.bounds.difference is None) == ("cosine" in written[name])
    assert FORMATS["litert-int8"].bounds.variation == 0.1
