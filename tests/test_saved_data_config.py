"""What a network expects of its images: made from tags and data sets, as JSON, and in a .keras file."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from helpers.checks import refusal
from helpers.processes import process_environment
from zoo.data_config import LARGEST_TEXT, MEMBER, DataConfig
from zoo.datasets.config import DatasetConfig, data_config
from zoo.input_pipeline import preprocessing
from zoo.weights.published import resolve, tags

VALID = {"size": (24, 32), "mean": (0.5,), "std": (0.25,)}


def test_it_comes_back_from_json():
    names = ("Käfer", "a,b\n", "\x1b[31m", "\udc80")  # the last as folders are called whose names are no UTF-8
    config = DataConfig(**VALID, class_names=names, crop_pct=0.9, license="MIT", include_preprocessing=True)
    assert DataConfig.from_json(config.to_json()) == config
    assert config.to_json().isascii() and "\n" not in config.to_json()


def test_keys_of_later_versions_are_ignored_and_later_versions_refused():
    values = {"version": 1, "size": [8, 8], "mean": [0.5], "std": [0.5]}
    assert DataConfig.from_json(json.dumps({**values, "mixup": {"alpha": 1}})) == DataConfig((8, 8), (0.5,), (0.5,))
    sentence = refusal(lambda: DataConfig.from_json(json.dumps({**values, "version": 2}), "net.onnx"))
    assert sentence.startswith("net.onnx: version=2 is of a later version") and sentence.endswith("update it.")


@pytest.mark.parametrize("change, expected", [
    ({"size": (8,)}, "size=[8] is not allowed: give height and width"),
    ({"size": (8.0, 8)}, "size=[8.0, 8] is not allowed"),
    ({"size": (True, 8)}, "size=[true, 8] is not allowed"),
    ({"size": (0, 9999)}, "a side has 1 to 4096 pixels; the nearest is [1, 4096]."),
    ({"size": "224"}, 'size="224" is not allowed'),
    ({"channels": 4}, "channels=4 is not allowed: use 1 or 3."),
    ({"channels": True}, "channels=true is not allowed"),
    ({"mean": (0.5, 0.5)}, "mean=[0.5, 0.5] is not allowed: give 3 numbers, or 1 for all channels."),
    ({"mean": (float("nan"),)}, "mean=[NaN] is not allowed"),
    ({"mean": ("0.5",)}, "mean="),
    ({"mean": (123.675, 116.28, 103.53)}, "divide values meant for 0..255 by 255."),
    ({"std": (0,)}, "std=[0.0, 0.0, 0.0] is not allowed"),
    ({"std": None}, "std=null is not allowed"),
    ({"std": (10**400,)}, "std="),
    ({"interpolation": "bicubik"}, "did you mean bicubic"),
    ({"interpolation": ["bicubic"]}, "interpolation="),
    ({"crop_pct": 0}, "crop_pct=0 is not allowed: it is a share, above 0 and at most 1."),
    ({"crop_pct": float("inf")}, "crop_pct=Infinity is not allowed"),
    ({"crop_mode": "centre"}, "did you mean center"),
    ({"class_names": ()}, "class_names=[] is not allowed"),
    ({"class_names": ("cat", 3)}, 'class_names=["cat", 3] is not allowed'),
    ({"class_names": "cat"}, 'class_names="cat" is not allowed'),
    ({"classifier_activation": "sigmoid"}, "classifier_activation="),
    ({"include_preprocessing": 1}, "include_preprocessing=1 is not allowed: use true or false."),
    ({"license": 3}, "license=3 is not allowed"),
    ({"source": ("a",)}, 'source=["a"] is not allowed'),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_invalid_values_are_one_sentence(change, expected):
    sentence = refusal(lambda: DataConfig(**{**VALID, **change}))
    assert expected in sentence and "\n" not in sentence and len(sentence) < 250
    text = json.dumps({"version": 1, **VALID, **change})
    assert refusal(lambda: DataConfig.from_json(text, "net.onnx")) == f"net.onnx: {sentence}"


@pytest.mark.parametrize("text", [
    "", "{", "[]", "3", "null", "{}", '{"version": 1}', '{"version": "1"}', "[" * 100_000, b"\xff\xfe\x00", "9" * 5000,
    '{"version": 1, "size": [8, 8], "mean": [1e999], "std": [1]}', " " * (LARGEST_TEXT + 1),
], ids=range(13))  # fmt: skip
def test_text_that_is_none_is_refused(text):
    assert refusal(lambda: DataConfig.from_json(text, "net.onnx")).startswith("net.onnx")


def test_of_published_weights_it_is_what_preprocessing_does():
    for tag in tags():
        for test in (False, True):
            config, layer = resolve(tag).data_config(test), preprocessing(tag, test=test)
            assert config.size == (layer.size, layer.size) and config.channels == 3
            same = ("mean", "std", "interpolation", "crop_mode")
            assert all(getattr(config, key) == getattr(layer, key) for key in same)
            assert config.crop_pct == layer.crop and config.source == tag


def test_published_classifiers_name_their_classes_where_they_are_known():
    counts = {len(resolve(tag).class_names) for tag in tags() if resolve(tag).num_classes == 1000}
    assert counts == {1000}
    names = resolve("timm/resnext50_32x4d.a1h_in1k").class_names
    # https://image-net.org, in the order of the WordNet numbers, as torchvision's categories are
    known = {0: "tench", 134: "crane", 207: "golden retriever", 340: "zebra", 517: "crane", 817: "sports car"}
    assert all(names[index].startswith(name) for index, name in known.items()) and "toilet tissue" in names[999]
    for tag in tags():
        names = resolve(tag).class_names
        assert names is None or len(names) == resolve(tag).num_classes, tag
    assert resolve("pytorchcv/resnext29_32x4d_cifar10").class_names[9] == "truck"
    assert resolve("timm/convnext_tiny.fb_in22k").class_names is None


def test_of_a_data_set_it_is_the_evaluations():
    config = DatasetConfig(image_size=28, channels=3, mean=[0.3], std=[0.4], resize_method="area", crop_fraction=0.9)
    expected = DataConfig((28, 28), (0.3,), (0.4,), 3, "area", 0.9, "center", ("a", "b"), source="run")
    assert data_config(config, ["a", "b"], "run") == expected


def test_keras_does_not_mind_it_in_its_file(tmp_path):
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save(path)
    assert DataConfig.from_keras(path) is None
    config = DataConfig(**VALID, class_names=("cat", "dog"))
    config.add_to_keras(path)
    loaded = keras.models.load_model(path)
    assert DataConfig.from_keras(path) == config
    images = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(loaded(images), model(images))
    loaded.save(path)  # by a user: Keras writes its own entries alone
    assert DataConfig.from_keras(path) is None


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"no archive")
    assert refusal(lambda: DataConfig.from_keras(path)).startswith(f"{path} is damaged, or no file of Keras")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, " " * (LARGEST_TEXT + 5))  # a few bytes in the archive
    assert "is not read" in refusal(lambda: DataConfig.from_keras(path))


def test_it_imports_nothing_slow():
    code = "import sys, zoo.data_config, zoo.weights.published as p; p.resolve(p.tags()[0]).data_config()"
    code += "; print(sorted({'keras', 'tensorflow', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=process_environment())
    assert done.stdout == "[]\n", done.stderr
