"""Pictures in, logits out: preprocessing and network as one file for LiteRT, ONNX Runtime and TensorFlow Serving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import blocks
import zoo
from helpers.pictures import PLAIN, picture
from zoo.input_pipeline import Preprocessing

OPEN, FIXED = (None, None), (60, 90)


def sequential(size: tuple, *layers) -> keras.Sequential:
    return keras.Sequential([keras.Input((*size, 3), dtype="uint8"), *layers])


def interpreter_of(path):
    """The file as LiteRT runs it, without TensorFlow's operations; it must take uint8."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(path))
    names = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert not [name for name in names if name.startswith("Flex") or name == "CUSTOM"]
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    return interpreter


def run(interpreter, images: np.ndarray) -> np.ndarray:
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize(("crop_mode", "interpolation"), [
    ("center", "bicubic"),
    *(pytest.param(mode, name, marks=pytest.mark.heavy)
      for mode in ("center", "squash", "border")
      for name in ("bilinear", "bicubic")
      if (mode, name) != ("center", "bicubic")),
])  # fmt: skip
def test_the_converted_layer_gives_pillows_levels_at_every_size(tmp_path, crop_mode, interpolation):
    layer = Preprocessing(32, 0.875, interpolation=interpolation, crop_mode=crop_mode, **PLAIN)
    sequential(OPEN, layer).export(tmp_path / "open.tflite", format="litert", verbose=False)
    interpreter = interpreter_of(tmp_path / "open.tflite")
    for height, width in [(60, 90), (90, 60), (36, 36), (7, 5), (1, 40), (333, 500)]:
        images = picture(height, width)[None]
        levels = run(interpreter, images)[0] * 255
        assert np.abs(levels - layer(images)[0].numpy() * 255).max() < 0.01
        if crop_mode == "center":
            long = 36 * max(height, width) // min(height, width)
            rows, columns = (36, long) if height <= width else (long, 36)
            method = Image.Resampling[interpolation.upper()]
            # First over the width, as Pillow does by itself up to version 12.
            resized = Image.fromarray(images[0]).resize((columns, height), method).resize((columns, rows), method)
            top, left = (round((side - 32) / 2) for side in (rows, columns))
            expected = np.asarray(resized.crop((left, top, left + 32, top + 32)))
            assert np.abs(levels - expected).max() < 0.01


@pytest.mark.parametrize("size", [OPEN, pytest.param(FIXED, marks=pytest.mark.heavy)], ids=["open", "fixed"])
def test_preprocessing_and_network_are_one_file(tmp_path, size):
    keras.utils.set_random_seed(0)
    network = [
        blocks.GroupedConv2D(8, 3, strides=2, use_bias=False), blocks.BatchNormalization(), keras.layers.ReLU(),
        blocks.GroupedConv2D(16, 3, groups=4), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10),
    ]  # fmt: skip
    model = sequential(size, zoo.preprocessing("timm/mobilenetv3_small_050.lamb_in1k", size=32), *network)
    images = np.stack([picture(*FIXED), picture(*FIXED)[::-1]])
    expected = model(images).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    tolerance = 1e-4 * np.abs(expected).max()

    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = interpreter_of(tmp_path / "model.tflite")
    np.testing.assert_allclose(run(interpreter, images[:1]), expected[:1], atol=tolerance)
    np.testing.assert_allclose(run(interpreter, images), expected, atol=tolerance)

    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(served.serve(images), expected, atol=tolerance)

    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: images})[0], expected, atol=tolerance)


def test_where_the_size_is_known_the_weights_are_constants(tmp_path):
    """39 operators instead of 208: nothing of the geometry is computed anew for every picture."""
    sequential(FIXED, Preprocessing(32, 0.875, **PLAIN)).export(tmp_path / "m.tflite", format="litert", verbose=False)
    names = [operation["op_name"] for operation in interpreter_of(tmp_path / "m.tflite")._get_ops_details()]
    assert len(names) < 45 and not {"FLOOR_DIV", "RANGE", "SUM"} & set(names)
