"""What leaves for other runtimes: plain operations, one a convolution, tensors with names, equal outputs."""

import contextlib
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from blocks import GroupedConv2D
from blocks.ops import exporting
from helpers.arrays import draw
from helpers.checks import check_close
from helpers.randomized import randomized
from helpers.runtimes import litert, onnx, run_litert

IMAGES = draw(2, 64, 64, 3)


def fused(name: str, size: int | None = 64) -> keras.Model:
    return zoo.fuse(randomized(zoo.create(name, 10, (size, size, 3))))


def traced(model: keras.Model, context=contextlib.nullcontext, batch: int | None = 1):
    with context():
        return tf.function(lambda images: model(images)).get_concrete_function(
            tf.TensorSpec((batch, *model.input_shape[1:]))
        )


def own_operations(graph) -> set[str]:
    functions = [function.graph for function in graph._functions.values()] if hasattr(graph, "_functions") else []
    return {op.type for each in (graph, *functions) for op in each.get_operations() if op.type.startswith("Blocks")}


@pytest.fixture(scope="module")
def mobilenet():
    return fused("mobilenetv2_035")


@pytest.fixture(scope="module")
def mobilenet_v3():
    return fused("mobilenetv3_small_050")


@pytest.fixture(scope="module")
def small():
    """A network of two blocks, depthwise and of groups with a shuffle, for what any network shows."""
    images = keras.Input(IMAGES.shape[1:], name="images")
    x = blocks.conv_norm(images, 12, 3, 2, act="relu6")
    x = blocks.mobilenet_v2_block(x, 12, 24)
    x = blocks.shufflenet_v1_unit(x, 24, 2, 2)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return randomized(keras.Model(images, keras.layers.Dense(10, name="logits")(x)))


def test_the_switch_traces_plain_operations(mobilenet, tmp_path):
    plain = traced(mobilenet, blocks.exportable)
    assert own_operations(traced(mobilenet).graph) and not own_operations(plain.graph)
    check_close(plain(IMAGES[:1]), mobilenet(IMAGES[:1]))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([plain])
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    check_close(run_litert(litert(tmp_path / "model.tflite")[0], IMAGES), mobilenet(IMAGES))


def test_a_graph_of_the_switch_can_be_frozen(mobilenet):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(traced(mobilenet, blocks.exportable, None))
    assert not own_operations(frozen.graph)
    check_close(frozen(tf.constant(IMAGES))[0], mobilenet(IMAGES))


def test_training_is_as_before_behind_the_switch_and_after_an_error(mobilenet):
    with contextlib.suppress(RuntimeError), blocks.exportable():
        raise RuntimeError
    assert own_operations(traced(mobilenet).graph)


def test_python_frames_are_looked_at_in_graphs_only(monkeypatch):
    layer, calls = GroupedConv2D(8, 3, groups=4), []
    layer(tf.ones((1, 6, 6, 8)))
    monkeypatch.setattr(exporting, "_called_by_an_exporter", lambda: calls.append(1))
    layer(tf.ones((1, 6, 6, 8)))
    assert not calls
    tf.function(layer)(tf.ones((1, 6, 6, 8)))
    assert calls


def float_operations(function) -> int:
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(function.graph, options=options).total_float_ops


@pytest.mark.parametrize("name", [
    "small", "mobilenet", "regnety_002", "resnet26",
    pytest.param("shufflenet_g2_wd4", marks=pytest.mark.heavy),  # its unit is in the small one
])  # fmt: skip
def test_the_profiler_counts_our_operations_as_tensorflows(name, request):
    model = zoo.fuse(request.getfixturevalue(name)) if name in ("small", "mobilenet") else fused(name)
    ours = float_operations(traced(model))
    assert ours == float_operations(traced(model, blocks.exportable)) > 2 * zoo.profile(model).macs


def test_sums_of_candidates_and_merged_paths_are_counted():
    images, logits = keras.Input((8, 8, 32), batch_size=2), keras.Input((1, 1, 64), batch_size=2)
    for inputs, outputs, expected in (
        ([images, logits], blocks.SoftmaxSum(2)([images, images], logits), 3 * 2 * 64 * 32 + 5 * 2 * 64),
        ([images], blocks.DualPathMerge(20)(images, images), 2 * 64 * 20),
    ):
        model = keras.Model(inputs, outputs)
        specs = [tf.TensorSpec(tensor.shape) for tensor in inputs]
        function = tf.function(lambda *tensors, m=model: m(list(tensors))).get_concrete_function(*specs)
        assert own_operations(function.graph) and float_operations(function) == expected
        with blocks.exportable():
            function = tf.function(lambda *tensors, m=model: m(list(tensors))).get_concrete_function(*specs)
        assert float_operations(function) == pytest.approx(expected, abs=8)  # and what its shapes take


def test_gradients_count_as_their_convolutions():
    layer = GroupedConv2D(32, 3, 2, 1, groups=8, use_bias=False)
    macs = 8 * 8 * 32 * 3 * 3 * 4

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        return tape.gradient(outputs, [images, layer.kernel])

    layer(tf.ones((1, 16, 16, 32)))
    function = tf.function(step).get_concrete_function(tf.TensorSpec((1, 16, 16, 32)))
    assert own_operations(function.graph)
    assert float_operations(function) == pytest.approx(3 * 2 * macs, rel=0.01)


@pytest.mark.heavy
@pytest.mark.parametrize("size", [64, None])
def test_a_depthwise_network_is_one_partition_of_its_convolutions(size, tmp_path):
    model = fused("mobilenetv2_035", size)
    zoo.export(model, tmp_path / "model.tflite")
    interpreter, operators = litert(tmp_path / "model.tflite")
    assert operators["DEPTHWISE_CONV_2D"] == 17 and operators["CONV_2D"] == 35 and operators["DELEGATE"] == 1
    assert set(operators) == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "PAD", "MEAN", "FULLY_CONNECTED", "DELEGATE"}
    check_close(run_litert(interpreter, IMAGES), model(IMAGES))


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name, size",
    [
        (name, size)
        for name in ("shufflenet_v2_x0_5", "mobilenetv3_small_050", "skresnet18", "resnet26", "ghostnet_050")
        for size in (64, None)
    ],
)
def test_open_sizes_bring_no_chains_of_shapes(name, size, tmp_path):
    model = fused(name, size)
    zoo.export(model, tmp_path / "model.tflite")
    interpreter, operators = litert(tmp_path / "model.tflite")
    assert not {"PACK", "UNPACK", "STRIDED_SLICE", "GATHER"} & set(operators)
    assert size is None or "SHAPE" not in operators
    check_close(run_litert(interpreter, IMAGES), model(IMAGES))


def test_selections_and_normalisations_of_a_dense_network_are_one_operator_each(tmp_path):
    """Normalisations before their convolution, which cannot be folded, and selections of channels."""
    images = keras.Input((8, 8, 4))
    x = blocks.condensenet_unit(images, 4, 2, name="unit")
    model = zoo.fuse(randomized(keras.Model(images, x)))
    zoo.export(model, tmp_path / "model.tflite")
    interpreter, operators = litert(tmp_path / "model.tflite")
    assert operators["GATHER"] and operators["DEPTHWISE_CONV_2D"] and not {"MUL", "SHAPE"} & set(operators)
    values = np.random.default_rng(1).standard_normal((2, 8, 8, 4)).astype("float32")
    check_close(run_litert(interpreter, values), model(values))


def test_grouped_and_strided_convolutions_are_one_operator(tmp_path):
    images = keras.Input((16, 16, 24))
    x = GroupedConv2D(48, 3, 2, 1, groups=3)(images)
    x = GroupedConv2D(24, 1, 2, groups=4)(x)
    x = GroupedConv2D(48, 5, 1, 2, groups=24)(x)  # two filters a channel
    model = keras.Model(images, GroupedConv2D(7, 1)(x))
    zoo.export(model, tmp_path / "model.tflite")
    interpreter, operators = litert(tmp_path / "model.tflite")
    assert operators["CONV_2D"] == 3 and operators["DEPTHWISE_CONV_2D"] == 1
    values = np.random.default_rng(1).standard_normal((2, 16, 16, 24)).astype("float32")
    check_close(run_litert(interpreter, values), model(values))


@pytest.mark.parametrize("size", [9, None])
@pytest.mark.parametrize("padding", ["same", 2, "valid"])
def test_dilated_depthwise_convolutions_stay_whole(size, padding, tmp_path):
    images = keras.Input((size, size, 8))
    model = keras.Model(images, GroupedConv2D(8, 3, 1, padding, dilation_rate=2, groups=8)(images))
    values = np.random.default_rng(1).standard_normal((2, 9, 9, 8)).astype("float32")
    for name in ("model.tflite", "model.onnx"):
        zoo.export(model, tmp_path / name)
    interpreter, operators = litert(tmp_path / "model.tflite", (1, 9, 9, 8))
    assert set(operators) <= {"CONV_2D", "PAD", "DELEGATE"}
    check_close(run_litert(interpreter, values), model(values))
    session, operators = onnx(tmp_path / "model.onnx")
    assert operators["Conv"] == 1 and set(operators) <= {"Conv", "Pad", "Transpose"}
    check_close(session.run(None, {session.get_inputs()[0].name: values})[0], model(values))


@pytest.mark.parametrize("mode", ["max", "average"])
def test_images_with_channels_first(mode, tmp_path):
    images = keras.Input((8, 9, 9))
    x = GroupedConv2D(8, 3, padding=1, groups=8, data_format="channels_first")(images)
    model = keras.Model(images, blocks.PaddedPooling2D(mode, 3, 2, 1, "channels_first")(x))
    zoo.export(model, tmp_path / "model.tflite")
    interpreter, operators = litert(tmp_path / "model.tflite")
    values = np.random.default_rng(1).standard_normal((2, 8, 9, 9)).astype("float32")
    assert operators["DEPTHWISE_CONV_2D"] == 1 and "PADV2" not in operators
    check_close(run_litert(interpreter, values), model(values))


@pytest.mark.heavy
def test_tensors_and_axes_have_names(mobilenet, small, tmp_path):
    zoo.export(mobilenet, tmp_path / "model.onnx")
    session, operators = onnx(tmp_path / "model.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("images", ["batch", 64, 64, 3])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("logits", ["batch", 10])]
    assert operators["Conv"] == 52 and not {"Reshape", "Shape"} & set(operators)
    check_close(session.run(None, {"images": IMAGES})[0], mobilenet(IMAGES))
    zoo.export(small, tmp_path / "model.tflite")
    signature = litert(tmp_path / "model.tflite")[0].get_signature_list()["serving_default"]
    assert signature == {"inputs": ["images"], "outputs": ["logits"]}
    zoo.export(small, tmp_path / "saved")
    serving = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    check_close(serving(images=tf.constant(IMAGES))["logits"], small(IMAGES))


def test_the_output_of_a_network_behind_preprocessing_is_named_as_without(tmp_path, small):
    pictures = keras.Input((64, 64, 3), dtype="uint8", name="pictures")
    inner = keras.Sequential([zoo.preprocessing("timm/mobilenetv3_small_050.lamb_in1k", size=64), small])
    zoo.export(keras.Sequential([pictures, inner]), tmp_path / "model.onnx")
    session, _ = onnx(tmp_path / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["pictures"]
    assert [value.name for value in session.get_outputs()] == ["logits"]
    images = np.zeros((2, 64, 64, 3), np.uint8)
    check_close(session.run(None, {"pictures": images})[0], inner(images))


@pytest.mark.heavy
def test_hard_activations_leave_no_transpositions(mobilenet_v3, tmp_path):
    """One, of the images; tf2onnx fails at Keras's scalar constants and leaves one at every convolution."""
    zoo.export(mobilenet_v3, tmp_path / "model.onnx")
    session, operators = onnx(tmp_path / "model.onnx")
    assert operators["Transpose"] == 1
    check_close(session.run(None, {"images": IMAGES})[0], mobilenet_v3(IMAGES))


def test_gelu_is_what_onnx_has(tmp_path):
    """TensorFlow computes it by an operation that ONNX lacks, the complementary error function."""
    images = keras.Input((8, 8, 3))
    x = GroupedConv2D(8, 3, activation="gelu")(images)
    model = keras.Model(images, keras.layers.Activation("gelu")(x))
    zoo.export(model, tmp_path / "model.onnx")
    session, _ = onnx(tmp_path / "model.onnx")
    values = np.random.default_rng(1).standard_normal((2, 8, 8, 3)).astype("float32")
    check_close(session.run(None, {session.get_inputs()[0].name: values})[0], model(values))


def test_feature_maps_keep_their_order(tmp_path):
    model = zoo.create("regnetx_002", features_only=True, input_shape=(None, None, 3))
    zoo.export(model, tmp_path / "model.onnx")
    session, _ = onnx(tmp_path / "model.onnx")
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    assert [value.name for value in session.get_outputs()] == model.output_names
    for ours, theirs in zip(session.run(None, {"images": IMAGES}), model(IMAGES), strict=True):
        check_close(ours, theirs)


def test_keras_exports_at_once(tmp_path):
    """Keras's exporter to ONNX wants a model that was called; a graph is complete without."""
    model = zoo.create("mobilenetv1_025", 10, (64, 64, 3))
    model.export(tmp_path / "plain.onnx", format="onnx", verbose=False)
    folded = zoo.fuse(model)
    folded.export(tmp_path / "fused.onnx", format="onnx", verbose=False)
    for path in ("plain.onnx", "fused.onnx"):
        check_close(onnx(tmp_path / path)[0].run(None, {"images": IMAGES})[0], model(IMAGES))


def test_wrong_paths_and_formats_are_refused(mobilenet, tmp_path):
    with pytest.raises(ValueError, match="format='onx' is not allowed for export: did you mean onnx"):
        zoo.export(mobilenet, tmp_path / "model.onnx", format="onx")
    with pytest.raises(ValueError, match="must end in .tflite"):
        zoo.export(mobilenet, tmp_path / "model.onnx", format="litert")
    with pytest.raises(ValueError, match="subclassed or not built"):
        zoo.export(keras.Sequential([keras.layers.Dense(1)]), tmp_path / "model.onnx")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="folder"):
        zoo.export(mobilenet, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "mine.txt").read_text() == "mine"


def test_without_the_packages_of_onnx_one_sentence_says_what_to_install(mobilenet, tmp_path, monkeypatch):
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else installed(name))
    sentence = r"^format='onnx' needs onnx, which is not installed: pip install '.*\[export\]'"
    with pytest.raises(ImportError, match=sentence):
        zoo.export(mobilenet, tmp_path / "new" / "model.onnx")
    assert not (tmp_path / "new").exists()
