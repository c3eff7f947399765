"""`zoo predict`: what it says is what training's evaluation says, by whatever file the network is in."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from helpers.prediction import (
    CLASSES,
    DATASET,
    check_same,
    evaluated,
    expected_config,
    network,
    table,
    write_pictures,
)
from helpers.processes import run_code
from zoo.__main__ import run
from zoo.data_config import DataConfig

FORMATS = {"onnx": ".onnx", "litert": ".tflite", "litert-fp16": ".tflite", "savedmodel": "", "openvino": ""}


HEAVY = pytest.mark.heavy


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """The network as a run saves it, and exported: kind -> path."""
    folder = tmp_path_factory.mktemp("files")
    run_folder = folder / "run"
    run_folder.mkdir()
    model.save(run_folder / "model.keras")
    expected_config().add_to_keras(run_folder / "model.keras")
    paths = {"run": run_folder, "keras": run_folder / "model.keras"}
    for kind, suffix in FORMATS.items():
        paths[kind] = folder / f"{kind}{suffix}"
        zoo.export(model, paths[kind], kind, config=expected_config(), verify=False)
    return paths


def predicted(capsys, *arguments: object) -> str:
    """Standard output of a command that ends well and says nothing else."""
    code = run(["predict", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


@pytest.mark.parametrize("kind", ["run", "keras", *FORMATS])
def test_every_file_predicts_what_the_evaluation_of_training_does(kind, files, pictures, model, capsys):
    expected = dict(zip(pictures, evaluated(model, pictures), strict=True))
    assert len({probabilities.argmax() for probabilities in expected.values()}) == 3, "pictures of every class"
    rows = table(predicted(capsys, files[kind], *pictures, "--csv", "--batch", "4"))
    check_same(rows, expected, 1e-2 if kind == "litert-fp16" else 1e-6)


def test_json_names_the_classes(files, pictures, capsys):
    document = json.loads(predicted(capsys, files["onnx"], pictures[0], "--json", "--top", "2"))
    assert list(document) == ["model", "source", "license", "pictures", "errors"]
    (picture,) = document["pictures"]
    assert picture["picture"] == pictures[0] and document["source"] == "pets" and document["errors"] == []
    first, second = picture["predictions"]
    assert first["name"] == CLASSES[first["index"]] and first["probability"] > second["probability"]


def test_the_table_is_for_people(files, pictures, capsys):
    lines = predicted(capsys, files["onnx"], *pictures[:2], "--top", "9").splitlines()
    assert lines[0].split() == ["picture", "class", "index", "%"] and lines[-1] == "Network: pets."
    assert len(lines) == 1 + 2 * 3 + 2 and lines[1].startswith(pictures[0]) and lines[2].startswith(" ")


@pytest.mark.parametrize(
    "kind", ["litert", *(pytest.param(kind, marks=HEAVY) for kind in ("onnx", "savedmodel", "openvino"))]
)
def test_preprocessing_and_softmax_may_lie_inside(kind, pictures, model, tmp_path, capsys):
    expected = dict(zip(pictures, evaluated(model, pictures), strict=True))
    path = tmp_path / f"inside{FORMATS[kind]}"
    zoo.export(model, path, kind, config=expected_config(), preprocessing=True, softmax=True, verify=False)
    check_same(table(predicted(capsys, path, *pictures, "--csv")), expected, 1e-6)
    assert run(["predict", str(path), pictures[0], "--mean", "0.5"]) == 1
    assert "has its preprocessing inside, so mean cannot be set." in capsys.readouterr().err


@pytest.mark.parametrize("integers", ["int8", "uint8"])
def test_integers_in_and_out_of_a_quantised_file(integers, files, pictures, model, tmp_path, capsys):
    """int8 as converters of phones write it: the scales lie in the file."""
    import tensorflow as tf

    probabilities = evaluated(model, pictures)
    from zoo.prediction.pictures import prepare, read

    images = [prepare(read(path, 3), expected_config()) for path in pictures]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(files["savedmodel"]))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(integers)
    path = tmp_path / "int8.tflite"
    path.write_bytes(converter.convert())
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    options = ("--mean", "0.4,0.5,0.6", "--std", "0.2,1/4,0.3", "--crop", 0.875, "--interpolation", "bicubic")
    options += ("--activation", "logits", "--classes", names)
    rows = table(predicted(capsys, path, *pictures, *options, "--csv"))
    check_same(rows, dict(zip(pictures, probabilities, strict=True)), 0.05)


def test_a_fixed_batch_is_filled_up(pictures, model, tmp_path, capsys):
    expected = dict(zip(pictures, evaluated(model, pictures), strict=True))
    for kind in ("onnx", "litert"):
        path = tmp_path / f"four{FORMATS[kind]}"
        zoo.export(model, path, kind, batch=4, config=expected_config(), verify=False)
        check_same(table(predicted(capsys, path, *pictures, "--csv", "--batch", 6)), expected, 1e-6)


def test_a_grey_network_takes_grey_pictures(pictures, tmp_path, capsys):
    config = expected_config(channels=1, mean=(0.5,), std=(0.25,))
    model = network(channels=1)
    model.save(tmp_path / "grey.keras")
    config.add_to_keras(tmp_path / "grey.keras")
    grey = [path for path in pictures if path.endswith(("grey.png", "deep.png"))]
    dataset = type(DATASET)(**{**vars(DATASET), "channels": 1, "mean": [0.5], "std": [0.25]})
    expected = dict(zip(grey, evaluated(model, grey, dataset), strict=True))
    assert run(["predict", str(tmp_path / "grey.keras"), *pictures, "--csv"]) == 1, "the others have colour"
    out, err = capsys.readouterr()
    check_same(table(out), expected, 1e-6)
    sentence = "is not predicted: it has colour, and the network takes grey pictures (channels=1)."
    assert err.count(sentence) == len(pictures) - len(grey) == err.count("\n")


def test_a_keras_model_of_somebody_else(pictures, tmp_path, capsys):
    """It says nothing of pictures, and ends in a softmax, in a model within."""
    inner = network(activation="softmax")
    model = keras.Sequential([keras.Input((16, 16, 3)), inner])
    model.save(tmp_path / "theirs.keras")
    assert run(["predict", str(tmp_path / "theirs.keras"), pictures[0]]) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path / 'theirs.keras'} does not say how it sees pictures: give --mean, --std, as it was trained; "
        "--classes FILE names its classes.\n"
    )
    out = predicted(capsys, tmp_path / "theirs.keras", *pictures, "--mean", 0, "--std", "1/255", "--json")
    config = DataConfig(size=(16, 16), mean=(0,), std=(1 / 255,))
    from zoo.prediction.pictures import prepare, read

    expected = model.predict(np.stack([prepare(read(path, 3), config) for path in pictures]), verbose=0)
    predictions = {each["picture"]: each["predictions"] for each in json.loads(out)["pictures"]}
    for path, row in zip(pictures, expected, strict=True):
        np.testing.assert_allclose(predictions[path][0]["probability"], row.max(), rtol=1e-5)
        assert predictions[path][0]["index"] == row.argmax() and predictions[path][0]["name"] is None


def test_a_model_that_takes_levels_needs_no_options(pictures, tmp_path, capsys):
    """Its preprocessing lies inside: of pictures of one size, or of all."""
    inner = network()
    levels = keras.Input((None, None, 3), dtype="uint8")
    resized = keras.layers.Resizing(16, 16)(keras.ops.cast(levels, "float32"))
    anysize = keras.Model(levels, inner(resized / 255))
    fixed = keras.Sequential([keras.Input((20, 34, 3), dtype="uint8"), anysize])
    for model in (anysize, fixed):
        model.save(tmp_path / "levels.keras")
        code = run(["predict", str(tmp_path / "levels.keras"), *pictures, "--csv", "--top", "1"])
        out, err = capsys.readouterr()
        suits = [path for path in pictures if model is anysize or path.endswith("0.jpg")]
        assert (code, len(err.splitlines())) == (int(model is fixed), len(pictures) - len(suits))
        assert model is anysize or "pixels, and the network resizes none: it takes 20 x 34 (height, width)." in err
        for path, ((index, _),) in table(out).items():
            with Image.open(path) as image:
                if image.mode == "RGB" and not image.getexif():
                    assert index == np.argmax(anysize(np.asarray(image)[None])), path
        assert list(table(out)) == suits


def test_channels_first_and_rectangles(pictures, tmp_path, capsys):
    """A network of PyTorch in ONNX: one row of the means of red, green and blue."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("GlobalAveragePool", ["x"], ["p"])
    flat = helper.make_node("Flatten", ["p"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 12, 20])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    file = helper.make_model(helper.make_graph([node, flat], "g", [x], [y]), ir_version=9,
                             opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
    onnx.save(file, tmp_path / "theirs.onnx")
    options = ("--mean", 0, "--std", 1, "--activation", "softmax", "--crop-mode", "squash", "--csv")
    rows = table(predicted(capsys, tmp_path / "theirs.onnx", pictures[0], *options))
    with Image.open(pictures[0]) as image:
        means = np.asarray(image.resize((20, 12), Image.Resampling.BILINEAR), np.float64).mean((0, 1)) / 255
    check_same(rows, {pictures[0]: means}, 2e-3)  # Pillow 13 may start with the other axis


def test_options_take_the_place_of_what_a_file_says(files, pictures, model, capsys):
    config = DATASET.__class__(**{**vars(DATASET), "crop_fraction": 1.0, "resize_method": "nearest", "mean": [0.1]})
    expected = dict(zip(pictures, evaluated(model, pictures, config), strict=True))
    options = ("--crop", 1, "--interpolation", "nearest", "--mean", 0.1)
    check_same(table(predicted(capsys, files["run"], *pictures, *options, "--csv")), expected, 1e-6)


@pytest.mark.parametrize("kind", ["onnx", "litert", "openvino"])
def test_files_of_other_runtimes_run_without_tensorflow(kind, files, pictures):
    code = "import sys; from zoo.__main__ import run; assert run(sys.argv[1:]) == 0; print(*sys.modules)"
    *_, modules = run_code(code, "predict", files[kind], pictures[0]).splitlines()
    imported = {name.partition(".")[0] for name in modules.split()}
    assert {"onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino"}[kind] in imported
    assert not imported & {"tensorflow", "keras", "tensorflow_datasets", "torch", "hydra", "wandb"}
