"""Convolutions quantised to int8: what a plain definition computes, in files, and beside Keras's dense layers."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from blocks.ops.keras_internals import sublayers
from helpers.arrays import draw
from helpers.checks import check_all_close, check_close, refusal
from helpers.definition import LAYERS
from helpers.networks import IMAGES, NAME, SHAPE
from helpers.runtimes import litert, onnx, run_litert
from zoo.exporting.precision import in_float32
from zoo.folding import report as folding_report

WEIGHTS_ONLY = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)


def levels(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """`values` as int8 with one scale for all along `axes` holds them: the definition, in their own precision."""
    scale = 127 / (np.abs(values).max(axes, keepdims=True) + values.dtype.type(1e-7))
    return np.clip(np.round(values * scale), -127, 127) / scale


def quantised_pair(rank, images, config=None, **arguments):
    """A layer, quantised, and one of floats that holds the kernels which int8 stands for."""
    layer, plain = (LAYERS[rank](16, 3, padding="same", **arguments) for _ in range(2))
    for each in (layer, plain):
        each.build(images.shape)
    layer.bias.assign(draw(16))
    plain.bias.assign(layer.bias)
    for target, kernel in zip(plain.kernels, layer.kernels, strict=True):
        target.assign(levels(np.array(tf.cast(kernel, "float32")), tuple(range(rank + 1))))
    layer.quantize("int8", config=config)
    return layer, plain


@pytest.mark.parametrize("config", [None, WEIGHTS_ONLY], ids=["inputs too", "weights only"])
@pytest.mark.parametrize("groups", [1, 4, 8, (2, 2, 4)])
@pytest.mark.parametrize("rank", LAYERS)
def test_it_computes_what_the_definition_does(rank, groups, config):
    """Outputs, and the gradients of the inputs and the bias: those of the layer of floats."""
    images = 3 * draw(2, *(5,) * rank, 8) * np.array([1.0, 100.0], "float32").reshape(2, *(1,) * (rank + 1))
    layer, plain = quantised_pair(rank, images, config, groups=groups, activation="silu")
    seen = images if config else levels(images, tuple(range(1, rank + 2))).astype("float32")
    weights = draw(*plain(images).shape)
    gradients = []
    for each, inputs in ((layer, images), (plain, seen)):
        tensor = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            outputs = each(tensor)
            total = tf.reduce_sum(outputs * weights)
        gradients.append([outputs, *tape.gradient(total, [tensor, each.bias.value])])
    check_all_close(*gradients, 1e-5)
    check_close(layer(images), plain(images), 0.02)
    assert [weight.name for weight in layer.trainable_weights] == ["bias"]
    assert all(kernel.dtype == "int8" for kernel in layer.kernels) and layer.kernel_scale.shape == (16,)


@pytest.mark.parametrize("arguments", [
    {"data_format": "channels_first", "groups": 4}, {"strides": 2, "dilation_rate": 2}, {"dtype": "float64"},
    {"activation": lambda x: x**2},
])  # fmt: skip
def test_it_does_so_with_every_other_argument(arguments):
    images = draw(2, 8, 8, 8, dtype=arguments.get("dtype", "float32"))
    layer, plain = quantised_pair(2, images, **arguments)
    seen = levels(images, (1, 2, 3)).astype(images.dtype)
    residual = 0.1 * plain(images)
    check_close(layer(images, residual=residual), plain(seen, residual=residual), 1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_bfloat16_rounds_the_outputs_alone(dtype):
    images = np.array(tf.cast(tf.cast(draw(2, 8, 8, 8), "bfloat16"), "float32"))  # which the layer is given
    layer, plain = quantised_pair(2, images, groups=2, dtype=dtype)
    exact = blocks.GroupedConv2D(16, 3, padding="same", groups=2)
    exact.build(images.shape)
    kernel = layer.kernel * (1 / layer.kernel_scale.numpy()).astype("float32")
    exact.set_weights([kernel, tf.cast(plain.bias, "float32")])
    expected = exact(levels(images, (1, 2, 3)).astype("float32"))
    outputs = layer(images)
    assert outputs.dtype == tf.bfloat16 and layer.kernel_scale.dtype == "float32"
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, rtol=2**-8, atol=1e-3)


def test_the_quantizers_of_a_configuration_are_used():
    """Their limits, and not their axes: those of Keras's dense layers would give a kernel several scales a filter."""
    config = keras.quantizers.Int8QuantizationConfig(
        keras.quantizers.AbsMaxQuantizer(axis=0, value_range=(-7, 7)),
        keras.quantizers.AbsMaxQuantizer(axis=-1, value_range=(-3, 3)),
    )
    layer, images = blocks.GroupedConv2D(4, 3, use_bias=False), draw(1, 6, 6, 3)
    layer.build(images.shape)
    kernel = np.array(layer.kernel)
    layer.quantize(config=config)
    assert np.abs(layer.kernel).max() == 7
    by_hand = [
        np.round(values * limit / np.abs(values).max(axes, keepdims=True))
        * np.abs(values).max(axes, keepdims=True)
        / limit
        for values, axes, limit in ((kernel, (0, 1, 2), 7), (images, (1, 2, 3), 3))
    ]
    plain = blocks.GroupedConv2D(4, 3, use_bias=False)
    plain.build(images.shape)
    plain.kernel.assign(by_hand[0])
    check_close(layer(images), plain(by_hand[1].astype("float32")), 1e-5)
    again = blocks.GroupedConv2D.from_config(layer.get_config())
    assert again.quantization_config.activation_quantizer.value_range == (-3, 3)


@pytest.mark.parametrize("shape", [(0, 6, 6, 8), (2, 6, 6, 8)])
def test_nothing_and_zeros_go_through(shape):
    layer, _ = quantised_pair(2, draw(2, 6, 6, 8))
    outputs = layer(tf.zeros(shape))
    assert outputs.shape == (*shape[:-1], 16)
    np.testing.assert_allclose(outputs, np.broadcast_to(layer.bias, outputs.shape), rtol=1e-6)


def test_integers_are_cast_first():
    layer, _ = quantised_pair(2, draw(2, 6, 6, 8))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 8), "uint8")
    np.testing.assert_array_equal(layer(pictures), layer(pictures.astype("float32")))


def quantised_network(use_bias=True, config=None) -> keras.Model:
    images = keras.Input((8, 8, 6))
    x = blocks.GroupedConv2D(12, 3, groups=(1, 2, 3), use_bias=use_bias, activation="relu", name="uneven")(images)
    x = blocks.BatchNormalization(name="norm")(x)
    x = blocks.DepthwiseSeparableConv2D(8, 3, 2, "same", normalize=True, name="separable")(x)
    x = keras.layers.GlobalAveragePooling2D()(blocks.GroupedConv2D(8, 1, use_bias=use_bias, name="last")(x))
    model = keras.Model(images, blocks.Dense(5, name="dense")(x))
    with warnings.catch_warnings(action="ignore"):
        model.quantize("int8", config=config)
    return model


@pytest.mark.parametrize("config", [None, WEIGHTS_ONLY], ids=["inputs too", "weights only"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_quantised_model_is_saved_and_loaded(use_bias, config, tmp_path):
    model, pictures = quantised_network(use_bias, config), draw(2, 8, 8, 6)
    modes = {name: model.get_layer(name).quantization_mode for name in ("uneven", "last", "dense", "norm")}
    assert modes == {"uneven": "int8", "last": "int8", "dense": "int8", "norm": None}
    assert model.get_layer("separable").depthwise.quantization_mode == "int8"
    assert model.get_layer("last").dtype_policy.name == "int8_from_float32"
    expected = model(pictures)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(pictures), expected)
    assert [weight.dtype for weight in loaded.weights] == [weight.dtype for weight in model.weights]
    model.save_weights(tmp_path / "model.weights.h5")
    other = quantised_network(use_bias, config)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(pictures), expected)
    check_close(zoo.fuse(model)(pictures), expected, 1e-5)
    assert folding_report(model).left["norm"] == "what comes before it, 'uneven' (GroupedConv2D), is quantised to int8"


def conv(**arguments):
    layer = blocks.GroupedConv2D(8, 3, name="conv", **arguments)
    layer.build((None, 6, 6, 8))
    return layer


@pytest.mark.parametrize("saved_bias", [True, False])
def test_files_of_floats_and_of_int8_are_not_mistaken_for_each_other(saved_bias):
    """Without its bias a quantised layer has as many weights as one of floats with it."""
    quantised, file = conv(use_bias=saved_bias), {}
    quantised.quantize("int8")
    quantised.save_own_variables(file)
    sentence = refusal(lambda: conv().load_own_variables(file))
    expected = (
        "expected 2 variables, but received 3"
        if saved_bias
        else "kernel of conv is stored as int8 in the file and as floats"
    )
    assert expected in sentence
    file = {}
    conv().save_own_variables(file)
    target = conv(use_bias=False)
    target.quantize("int8")
    assert "is stored as floats in the file and as int8" in refusal(lambda: target.load_own_variables(file))


def test_lora_and_int8_go_together(tmp_path):
    """The product is added to what int8 stands for; a file has the sum, quantised anew."""
    layer, images = conv(), draw(2, 6, 6, 8)
    model = keras.Sequential([keras.Input((6, 6, 8)), layer])
    layer.quantize("int8")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(draw(2, 8))
    assert sorted(weight.name for weight in layer.trainable_weights) == ["bias", "lora_kernel_a", "lora_kernel_b"]
    kernel = np.array(layer.stored_kernels[0], "float32") / np.array(layer.kernel_scale)
    kernel = kernel + np.einsum("...r,rf->...f", *map(np.array, (layer.lora_kernel_a, layer.lora_kernel_b)))
    plain = conv()
    plain.set_weights([kernel, layer.bias])
    check_close(layer(images), plain(levels(images, (1, 2, 3)).astype("float32")), 1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    plain.kernel.assign(levels(kernel, (0, 1, 2)))
    check_close(loaded(images), plain(levels(images, (1, 2, 3)).astype("float32")), 1e-5)
    adapted = conv(lora_rank=2)
    adapted.quantize("int8")
    assert adapted.lora_enabled and adapted.quantization_mode == "int8"


class Own(blocks.GroupedConv2D):
    """A layer that computes something else, with a weight of its own before the kernel."""

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones", trainable=False)
        super().build(input_shape)

    def call(self, inputs, residual=None):
        return self.factor * super().call(inputs, residual)


def test_a_subclass_keeps_the_weights_that_it_adds(tmp_path):
    """Also where its kernel is adapted, or quantised."""
    images = draw(2, 6, 6, 8)
    for adapt in (
        lambda layer: None,
        lambda layer: layer.enable_lora(2),
        lambda layer: layer.quantize("int8", type_check=False),
    ):
        models = [keras.Sequential([keras.Input((6, 6, 8)), Own(8, 3, name="conv")]) for _ in range(2)]
        for model in models:
            adapt(model.layers[0])
        models[0].layers[0].factor.assign(3.0)
        models[0].save_weights(tmp_path / "model.weights.h5")
        models[1].load_weights(tmp_path / "model.weights.h5")
        check_close(models[1](images), models[0](images), 1e-6)


@pytest.mark.parametrize("mode", ["int4", "float8"])
def test_other_modes_are_refused_with_what_is_allowed(mode):
    layer = conv()
    with pytest.raises(
        Exception, match=f"mode='{mode}' is not allowed for conv \\(GroupedConv2D\\): give 'int8'."
    ) as caught:
        layer.quantize(mode)
    assert type(caught.value) is type(_refused_by_keras()) and layer.quantization_mode is None
    assert [weight.dtype for weight in layer.weights] == ["float32"] * 2
    with pytest.raises(Exception, match=f"mode='{mode}' is not allowed for conv"):
        conv(dtype=f"{mode}_from_float32")


def _refused_by_keras() -> Exception:
    layer = keras.layers.Conv2D(8, 3)
    layer.build((None, 6, 6, 8))
    with pytest.raises(Exception) as caught:
        layer.quantize("int8")
    return caught.value


def test_subclasses_half_precision_and_twice_are_refused():
    own = Own(8, 3, name="conv")
    own.build((None, 6, 6, 8))
    with pytest.raises(type(_refused_by_keras()), match="conv is a Own, which may compute something else"):
        own.quantize("int8")
    own.quantize("int8", type_check=False)
    assert own.quantization_mode == "int8"
    for make in (
        lambda: own.quantize("int8", type_check=False),
        lambda: conv(dtype="float16").quantize("int8"),
        lambda: blocks.GroupedConv2D(8, 3).quantize("int8"),
    ):
        with pytest.raises(ValueError):
            make()


def test_a_network_of_the_zoo_is_quantised_whole(tmp_path):
    model = zoo.create(NAME, 7, SHAPE)
    before, path = np.asarray(model(IMAGES)), tmp_path / "model.keras"
    model.save(path)
    size = path.stat().st_size
    with warnings.catch_warnings(action="ignore"):
        model.quantize("int8")
    convolutions = [layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D)]
    assert convolutions and all(layer.quantization_mode == "int8" for layer in convolutions)
    model.save(path)
    assert path.stat().st_size < 0.6 * size
    assert np.corrcoef(np.ravel(model(IMAGES)), np.ravel(before))[0, 1] > 0.95
    assert zoo.profile(model).macs == zoo.profile(zoo.create(NAME, 7, SHAPE)).macs
    sentence = refusal(lambda: zoo.save_torch(model, tmp_path / "weights.safetensors"))
    assert "conv_stem of mobilenetv1_025 is quantised to int8" in sentence
    assert "is a model quantised to int8" in refusal(lambda: zoo.create(NAME, 7, SHAPE, weights=path))


def test_a_quantised_network_of_bfloat16_is_exported_in_float32():
    """It is the same int8 kernels, in layers that compute in float32."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = quantised_network()
    finally:
        keras.config.set_dtype_policy("float32")
    copy = in_float32(model)
    assert {layer.compute_dtype for layer in sublayers(copy)} == {"float32"}
    np.testing.assert_array_equal(copy.get_layer("last").kernel, model.get_layer("last").kernel)
    pictures = draw(2, 8, 8, 6)
    check_close(copy(pictures), tf.cast(model(pictures), "float32"), 0.05)


def test_what_keras_has_no_layer_for_stays_when_it_is_restored():
    images = keras.Input((6, 6, 8))
    model = keras.Model(images, blocks.GroupedConv2D(8, 3, name="conv")(images))
    model.quantize("int8", filters="conv")
    restored, report = blocks.restore(model, report=True)
    assert type(restored.get_layer("conv")) is blocks.GroupedConv2D
    assert "conv" in str(report) and "it is quantised to int8, which Keras's convolutions cannot be" in str(report)
    check_close(restored(draw(2, 6, 6, 8)), model(draw(2, 6, 6, 8)), 1e-6)


def test_a_product_that_litert_lacks_is_named(tmp_path):
    """Of Keras's dense layers; a file is not left behind."""
    model = quantised_network()
    sentence = refusal(lambda: zoo.export(model, tmp_path / "network.tflite"), Exception)
    assert "LiteRT has no product of int8 matrices, which the quantised dense would need" in sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.heavy
def test_quantised_convolutions_are_exported_as_convolutions(tmp_path):
    """A runtime's rounding moves an input to the next level here and there, which later layers amplify."""
    model = zoo.create(NAME, 7, SHAPE)
    with warnings.catch_warnings(action="ignore"):
        model.quantize("int8", filters=lambda layer: isinstance(layer, blocks.GroupedConv2D))
    convolutions = sum(isinstance(layer, blocks.GroupedConv2D) for layer in model.layers)
    for name in ("network.onnx", "network.tflite"):
        zoo.export(model, tmp_path / name, verify=False)
    session, operators = onnx(tmp_path / "network.onnx")
    check_close(session.run(None, {"images": IMAGES})[0], model(IMAGES), 0.1)
    assert operators["Conv"] == convolutions
    interpreter, operators = litert(tmp_path / "network.tflite")
    check_close(run_litert(interpreter, IMAGES), model(IMAGES), 0.1)
    assert operators["CONV_2D"] + operators["DEPTHWISE_CONV_2D"] == convolutions


@pytest.mark.heavy
def test_weights_alone_stay_int8_in_a_file_of_litert(tmp_path):
    model = zoo.create(NAME, 7, SHAPE)
    zoo.export(model, tmp_path / "floats.tflite")
    with warnings.catch_warnings(action="ignore"):
        model.quantize(config=WEIGHTS_ONLY)
    zoo.export(model, tmp_path / "network.tflite")
    check_close(run_litert(litert(tmp_path / "network.tflite")[0], IMAGES), model(IMAGES), 1e-4)
    sizes = [(tmp_path / name).stat().st_size for name in ("network.tflite", "floats.tflite")]
    assert sizes[0] < 0.4 * sizes[1]
