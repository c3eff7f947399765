"""Layers whose kernel is not one stored weight: adapted by LoRA, or quantised."""

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

import blocks
import zoo
from helpers.checks import refusal
from helpers.networks import IMAGES, NAME, SHAPE


def draw_lora(layer: keras.Layer, rank: int, alpha: float | None = None) -> np.ndarray:
    """Enable LoRA with factors that are not 0; the merged kernel, by its definition (Hu et al. 2021, section 4.1)."""
    layer.enable_lora(rank, alpha)
    draw = np.random.default_rng(1)
    for factor in (layer.lora_kernel_a, layer.lora_kernel_b):
        factor.assign(draw.standard_normal(factor.shape))
    first, second = (keras.ops.convert_to_numpy(each) for each in (layer.lora_kernel_a, layer.lora_kernel_b))
    kernel = keras.ops.convert_to_numpy(layer._kernel).astype("float32")
    return kernel + (alpha or rank) / rank * (first @ second)


@pytest.fixture
def adapted():
    model = zoo.create(NAME, 7, SHAPE, dropout=0.1)  # dropout: a layer with a seed among its variables
    return model, draw_lora(model.get_layer("classifier"), 2, alpha=3.0)


def test_save_torch_writes_the_merged_kernel(adapted, tmp_path):
    model, merged = adapted
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(model, path)
    tensors = load_file(path)
    assert not [name for name in tensors if "lora" in name]
    np.testing.assert_allclose(tensors["classifier.weight"], merged.T, rtol=1e-5, atol=1e-6)
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=path)
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "model.keras")
    saved = keras.models.load_model(tmp_path / "model.keras").get_layer("classifier").kernel
    np.testing.assert_array_equal(tensors["classifier.weight"].T, saved)


def test_keras_files_of_an_adapted_network_fit_it_and_others(adapted, tmp_path):
    model, merged = adapted
    model.save_weights(tmp_path / "model.weights.h5")
    other = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other.get_layer("classifier").kernel, merged, rtol=1e-5, atol=1e-6)
    before = model(IMAGES)
    zoo.load_weights(model, tmp_path / "model.weights.h5")
    np.testing.assert_allclose(model(IMAGES), before, rtol=1e-4, atol=1e-4)


def test_weights_loaded_into_an_adapted_network_are_what_it_computes(adapted, tmp_path):
    """And it learns on: of the two factors one is 0 alone, as when LoRA begins."""
    model, _ = adapted
    plain = zoo.create(NAME, 7, SHAPE)
    zoo.save_torch(plain, tmp_path / "weights.safetensors")
    zoo.load_weights(model, tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(model(IMAGES), plain(IMAGES))
    layer = model.get_layer("classifier")
    assert np.ptp(layer.lora_kernel_a) > 0 and not layer._kernel.trainable
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(IMAGES, np.ones((2, 7)), verbose=0)
    assert np.ptp(layer.lora_kernel_b) > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
def test_other_precisions_merge_too(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = zoo.create(NAME, 7, SHAPE)
    finally:
        keras.config.set_dtype_policy("float32")
    merged = draw_lora(model.get_layer("classifier"), 1)
    zoo.save_torch(model, tmp_path / "weights.safetensors")
    written = load_file(tmp_path / "weights.safetensors")["classifier.weight"]
    assert written.dtype == "float32"
    step = {"mixed_bfloat16": 1e-6, "bfloat16": ml_dtypes.finfo("bfloat16").eps, "float16": np.finfo("float16").eps}
    np.testing.assert_allclose(written.T, merged, rtol=float(step[policy]), atol=1e-6)


def test_fuse_merges():
    """Of a dense layer with a normalisation behind it, and of Keras's own grouped convolution."""
    images = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(6, 3, groups=2, name="conv")(images)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = blocks.Dense(5, name="dense")(x)
    model = keras.Model(images, keras.layers.BatchNormalization(name="norm2")(x))
    draw = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(0.5 + draw.random(weight.shape))
    for name in ("conv", "dense"):
        draw_lora(model.get_layer(name), 2)
    pictures = draw.standard_normal((3, 8, 8, 4)).astype("float32")
    fused = zoo.fuse(model)
    np.testing.assert_allclose(fused(pictures), model(pictures), rtol=1e-3, atol=1e-3)
    assert not [weight.path for weight in fused.weights if "lora" in weight.path]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in fused.layers)


def test_profile_counts_what_is_computed(adapted):
    model, _ = adapted
    assert zoo.profile(model).macs == zoo.profile(zoo.create(NAME, 7, SHAPE)).macs


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_the_classifier_is_quantised(mode, tmp_path):
    """As Keras quantises a dense layer of its own."""
    model = zoo.create(NAME, 100, SHAPE)
    draw = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(weight + 0.1 * draw.random(weight.shape))
    expected = keras.ops.convert_to_numpy(model(IMAGES))
    reference = keras.Sequential([keras.Input((256,)), keras.layers.Dense(100)])
    reference.set_weights(model.get_layer("classifier").get_weights())
    vector = keras.Model(model.input, model.get_layer("classifier").input)(IMAGES)
    model.quantize(mode, filters="classifier")
    reference.quantize(mode)
    assert model.get_layer("classifier").quantization_mode == mode
    quantised = keras.ops.convert_to_numpy(model(IMAGES))
    np.testing.assert_allclose(quantised, reference(vector), rtol=1e-5, atol=1e-5)
    assert np.abs(quantised - expected).max() < {"int8": 0.02, "int4": 0.2}[mode] * np.abs(expected).max()
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "model.keras")(IMAGES), quantised, rtol=1e-5, atol=1e-5
    )
    fused = zoo.fuse(model)
    np.testing.assert_allclose(fused(IMAGES), quantised, rtol=2e-2, atol=2e-2)
    assert zoo.profile(fused).macs == zoo.profile(zoo.create(NAME, 100, SHAPE)).macs


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_weights_have_no_place_in_a_file(adapted, tmp_path):
    model, _ = adapted
    plain = tmp_path / "weights.safetensors"
    zoo.save_torch(model, plain)
    model.quantize("int8", filters="classifier")
    expected = "classifier of mobilenetv1_025 is quantised to int8, which a file of weights has no place for"
    assert refusal(lambda: zoo.save_torch(model, tmp_path / "other.safetensors")).startswith(expected)
    assert refusal(lambda: zoo.load_weights(model, plain)).startswith(expected)
    model.save_weights(tmp_path / "model.weights.h5")
    assert refusal(lambda: zoo.load_weights(model, tmp_path / "model.weights.h5")).startswith(expected)
    sentence = refusal(lambda: zoo.create(NAME, 7, SHAPE, weights=tmp_path / "model.weights.h5"))
    assert "classifier.0 is int8 and should be floating-point" in sentence
    assert [each.name for each in tmp_path.glob("*.safetensors")] == [plain.name]


def test_a_network_of_which_nothing_is_quantised_says_so():
    with pytest.warns(UserWarning, match="mode='int4' is not allowed for .* \\(GroupedConv2D\\): give 'int8'"):
        zoo.create(NAME, 0, SHAPE).quantize("int4")


def test_a_subclass_of_the_dense_layer_is_refused_as_one_of_keras_is():
    class Own(blocks.Dense):
        pass

    model = keras.Sequential([keras.Input((4,)), Own(3)])
    with pytest.warns(UserWarning, match="Own does not have a `quantize` method"):
        model.quantize("int8")
    assert model.layers[0].quantization_mode is None
