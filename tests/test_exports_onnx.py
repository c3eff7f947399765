"""What is written to ONNX in ONNX's own operators, as its other exporters write it."""

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

import blocks
import zoo
from helpers.arrays import draw
from helpers.checks import check_close
from helpers.randomized import randomized
from helpers.runtimes import onnx


def exported(model: keras.Model, path, **options) -> tuple:
    """The operators of the file, which computes what the model does."""
    model = randomized(model)
    zoo.export(model, path, **options)
    session, operators = onnx(path)
    images = draw(2, *(size or 10 for size in model.input_shape[1:]))
    check_close(session.run(None, {session.get_inputs()[0].name: images})[0], model(images))
    return operators


@pytest.mark.parametrize("size", [10, None])
@pytest.mark.parametrize("opset", [13, 17])
def test_hard_activations_are_one_operator(size, opset, tmp_path):
    images = keras.Input((size, size, 8))
    x = blocks.GroupedConv2D(8, 3, groups=2, activation="hard_silu")(images)
    x = blocks.squeeze_excite(x, 4, "hard_sigmoid", name="se")
    operators = exported(keras.Model(images, layers.Activation("hard_sigmoid")(x)), tmp_path / "net.onnx", opset=opset)
    assert operators["HardSwish"] == (opset > 13) and operators["HardSigmoid"] == 2 + (opset == 13)
    assert not {"Clip", "Div"} & set(operators) and operators["Mul"] == 1 + (opset == 13)


def test_what_is_no_hard_activation_stays(tmp_path):
    images = keras.Input((6, 6, 4))
    x = keras.ops.relu6(images + 3.0)
    model = keras.Model(images, keras.ops.concatenate([x / 5.0, keras.ops.relu6(images + 2.0) / 6.0, x], -1))
    assert not {"HardSigmoid", "HardSwish"} & set(exported(model, tmp_path / "net.onnx"))


def test_a_gate_of_one_pixel_is_not_reshaped(tmp_path):
    images = keras.Input((9, 9, 8))
    x = blocks.squeeze_excite(blocks.GroupedConv2D(8, 3)(images), 4, name="se")
    operators = exported(keras.Model(images, blocks.GroupedConv2D(4, 1)(x)), tmp_path / "net.onnx")
    assert "Reshape" not in operators


def test_a_shuffle_keeps_the_channels_first(tmp_path):
    """One transposition swaps the groups; ONNX Runtime takes out those around it, which cancel each other."""
    images = keras.Input((8, 8, 12))
    x = blocks.GroupedConv2D(12, 1, groups=3, activation="relu")(images)
    x = blocks.GroupedConv2D(12, 3, padding="same", groups=12)(blocks.ChannelShuffle(3)(x))
    exported(keras.Model(images, x), tmp_path / "net.onnx")
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath, settings.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), settings, providers=["CPUExecutionProvider"])
    assert onnx(tmp_path / "optimised.onnx")[1]["Transpose"] <= 3  # images, groups, outputs


@pytest.mark.parametrize("activation, folded", [("relu", True), ("relu6", True), ("tanh", False)])
def test_a_maximum_over_what_is_not_negative_has_its_own_padding(activation, folded, tmp_path):
    images = keras.Input((9, 9, 8))
    x = blocks.GroupedConv2D(8, 3, activation=activation)(images)
    x = blocks.PaddedPooling2D("max", 3, 2, 1)(x)
    assert ("Pad" not in exported(keras.Model(images, x), tmp_path / "net.onnx")) == folded


def test_tensors_of_layers_are_constants(tmp_path):
    """tf2onnx took the mean of Keras's Normalization for an input; EfficientNet of keras.applications has one."""
    images = keras.Input((6, 6, 3), name="images")
    normalization = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    model = keras.Model(images, layers.Conv2D(4, 3)(normalization(images)))
    exported(model, tmp_path / "net.onnx")
    assert [each.name for each in onnx(tmp_path / "net.onnx")[0].get_inputs()] == ["images"]
    assert keras.ops.is_tensor(normalization.mean)


def test_nothing_unused_is_left(tmp_path):
    import onnx as package

    images = keras.Input((9, 9, 8))
    x = blocks.GroupedConv2D(8, 3, activation="hard_silu")(images)
    exported(keras.Model(images, x), tmp_path / "net.onnx")
    graph = package.load(tmp_path / "net.onnx").graph
    used = {name for node in graph.node for name in node.input}
    assert {each.name for each in graph.initializer} <= used
    package.checker.check_model(package.load(tmp_path / "net.onnx"))
    assert np.prod([len(graph.input), len(graph.output)]) == 1
