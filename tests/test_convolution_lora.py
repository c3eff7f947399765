"""LoRA on the convolutions: what Keras's own have, in every precision, in files, and in what the zoo does with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from helpers.arrays import draw
from helpers.checks import check_all_close, check_close, refusal
from helpers.definition import LAYERS
from helpers.networks import IMAGES, NAME, SHAPE
from helpers.runtimes import litert, onnx, run_litert

KERAS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}


def with_factors(layer: keras.Layer, rank: int = 2, alpha: float | None = 3.0) -> np.ndarray:
    """Adapt `layer` with factors that are not 0; the merged kernel by its definition (Hu et al. 2021, section 4.1)."""
    kernel = np.array(tf.cast(layer.kernel, "float64"))
    layer.enable_lora(rank, alpha)
    for seed, factor in enumerate((layer.lora_kernel_a, layer.lora_kernel_b)):
        factor.assign(0.3 * draw(*factor.shape, seed=seed))
    first, second = (np.array(each, "float64") for each in (layer.lora_kernel_a, layer.lora_kernel_b))
    return kernel + (alpha or rank) / rank * np.einsum("...r,rf->...f", first, second)


def results(layer, images):
    """Outputs, the kernel, the gradients of all that is trained, and the penalties."""
    with tf.GradientTape() as tape:
        outputs = layer(images)
        total = tf.reduce_sum(tf.sin(tf.cast(outputs, "float32")))
    gradients = tape.gradient(total, [weight.value for weight in layer.trainable_weights])
    return [tf.cast(each, "float64") for each in (outputs, layer.kernel, *gradients, *layer.losses)]


@pytest.mark.parametrize("rank, groups, dtype, tolerance", [
    (1, 1, "float32", 1e-5), (1, 4, "float32", 1e-5), (2, 1, "float32", 1e-5), (2, 4, "float32", 1e-5),
    (2, 8, "float32", 1e-5), (3, 1, "float32", 1e-5), (3, 4, "float32", 1e-5), (1, 4, "mixed_bfloat16", 0.1),
    (2, 4, "mixed_bfloat16", 0.1), (2, 4, "float64", 1e-5), (2, 8, "mixed_float16", 0.02), (2, 4, "float16", 0.02),
])  # fmt: skip
def test_it_is_that_of_keras(rank, groups, dtype, tolerance):
    """Names, shapes and order of the weights, what is trained, outputs, gradients and penalties: Keras's in float32."""
    images = draw(2, *(5,) * rank, 8)
    arguments = {"padding": "same", "groups": groups, "activation": "silu", "kernel_regularizer": "l2"}
    arguments |= {"lora_rank": 3, "lora_alpha": 5}
    ours, theirs = LAYERS[rank](16, 3, dtype=dtype, **arguments), KERAS[rank](16, 3, **arguments)
    for layer in (ours, theirs):
        layer.build(images.shape)
    described = [[(each.name, tuple(each.shape), each.trainable) for each in layer.weights] for layer in (ours, theirs)]
    assert described[0] == described[1]
    assert (ours.lora_enabled, ours.lora_rank, ours.lora_alpha) == (True, 3, 5)
    assert ours.lora_kernel_a.dtype == ours.lora_kernel_b.dtype == "float32"
    assert ours.stored_kernels[0].dtype == ours.variable_dtype
    assert keras.backend.standardize_dtype(ours.kernel.dtype) == ours.compute_dtype
    values = [0.3 * draw(*weight.shape, seed=seed) for seed, weight in enumerate(theirs.weights)]
    for layer in (ours, theirs):
        layer.set_weights(values)
    check_all_close(results(ours, images), results(theirs, images), tolerance)


@pytest.mark.parametrize("data_format, padding", [("channels_first", ((1, 0), (0, 2))), ("channels_last", 1)])
def test_what_keras_lacks_adapts_too(data_format, padding):
    """The kernel of the definition, with explicit padding, strides with dilation and a residual."""
    images = draw(2, 8, 8, 8)
    arguments = {"strides": 2, "padding": padding, "dilation_rate": 2, "groups": 4, "data_format": data_format}
    layer, plain = (blocks.GroupedConv2D(8, 3, activation="relu", **arguments) for _ in range(2))
    residual = 0.5 * plain(images)
    layer.build(images.shape)
    plain.set_weights(layer.get_weights())
    plain.kernel.assign(with_factors(layer))
    check_close(layer(images, residual=residual), plain(images, residual=residual), 1e-5)
    check_close(layer.kernels[0], plain.kernel, 1e-6)
    assert layer.macs_per_position == plain.macs_per_position


def test_in_mixed_precision_the_sum_is_not_rounded_before_it_is_stored(tmp_path):
    layer = blocks.GroupedConv2D(8, 3, groups=2, dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((8, 8, 4)), layer])
    merged = with_factors(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[0]
    np.testing.assert_allclose(loaded.kernel, tf.cast(merged, tf.bfloat16), atol=0.02)
    np.testing.assert_allclose(loaded.stored_kernels[0], merged, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loaded(np.ones((1, 8, 8, 4))), layer(np.ones((1, 8, 8, 4))))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_files_hold_the_sum_and_fit_layers_with_and_without(suffix, use_bias, tmp_path):
    images = draw(2, 6, 6, 8)

    def network(**more):
        layer = blocks.GroupedConv2D(8, 3, groups=2, use_bias=use_bias, name="conv", **more)
        return keras.Sequential([keras.Input((6, 6, 8)), layer])

    adapted = network(lora_rank=2)
    with_factors(plain := network().layers[0])
    adapted.layers[0].lora_kernel_b.assign(plain.lora_kernel_b)
    expected, path = adapted(images), tmp_path / f"model{suffix}"
    if suffix == ".keras":
        adapted.save(path)
        loaded = keras.models.load_model(path)
        assert (loaded.layers[0].lora_enabled, loaded.layers[0].lora_rank) == (True, 2)
        others = [loaded]
    else:
        adapted.save_weights(path)
        others = [network(), network(lora_rank=3), adapted]
    for other in others:
        if suffix != ".keras":
            other.load_weights(path)
        check_close(other(images), expected, 1e-6)
        if other.layers[0].lora_enabled:  # the kernel is the sum now, and learning begins anew
            assert not np.any(other.layers[0].lora_kernel_b) and np.any(other.layers[0].lora_kernel_a)
            check_close(other.layers[0].stored_kernels[0], other.layers[0].kernel, 1e-7)


def test_what_was_loaded_learns_and_its_kernel_stays(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 8)), blocks.GroupedConv2D(8, 3, groups=2, lora_rank=2)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    layer, images = loaded.layers[0], draw(4, 6, 6, 8)
    before = np.array(layer.stored_kernels[0])
    loaded.compile(keras.optimizers.SGD(0.1), "mse")
    loss = [loaded.fit(images, np.ones((4, 4, 4, 8)), verbose=0).history["loss"][0] for _ in range(3)]
    assert loss[2] < loss[1] < loss[0]
    np.testing.assert_array_equal(layer.stored_kernels[0], before)
    assert np.any(layer.lora_kernel_b)


def test_a_file_of_another_layer_is_refused():
    layer = blocks.GroupedConv2D(8, 3, lora_rank=2, name="conv")
    layer.build((None, 6, 6, 8))
    wrong = {"0": np.zeros((3, 3, 8, 8), "float32")}
    assert refusal(lambda: layer.load_own_variables(wrong)).startswith(
        "conv has 2 weights in a file, its kernel merged"
    )


def built(**arguments):
    layer = blocks.GroupedConv2D(8, 3, name="conv", **arguments)
    layer.build((None, 6, 6, 8))
    return layer


@pytest.mark.parametrize("make, sentence", [
    (lambda: built(kernel_constraint="non_neg").enable_lora(2), "conv has a kernel constraint, which would hold for"),
    (lambda: built(kernel_constraint="non_neg", lora_rank=2), "conv has a kernel constraint"),
    (lambda: blocks.GroupedConv2D(8, 3, name="conv").enable_lora(2), "conv has no kernel to adapt yet: build it"),
    (lambda: built(lora_rank=4).enable_lora(2), "conv is adapted already, with rank 4"),
    (lambda: built(groups=(3, 5)).enable_lora(2), "conv has uneven groups and 2 kernels: LoRA adapts layers of one"),
    (lambda: built(groups=(3, 5), lora_rank=2), "conv has uneven groups and 2 kernels"),
    (lambda: built().enable_lora(0), "rank=0 is not allowed: it must be an integer of at least 1"),
    (lambda: built(lora_rank=2.5), "lora_rank=2.5 is not allowed: it must be an integer of at least 1"),
    (lambda: built(lora_rank=2, lora_alpha="1"), "lora_alpha='1' is not allowed: give a number"),
    (lambda: built().enable_lora(2, float("nan")), "lora_alpha=nan is not allowed: give a number"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    assert refusal(make).startswith(sentence)


def test_a_refusal_leaves_the_layer_as_it_was():
    layer = built()
    refusal(lambda: layer.enable_lora(2, "many"))
    assert not layer.lora_enabled and layer.lora_rank is None and len(layer.weights) == 2
    layer.enable_lora(2)
    assert len(layer.weights) == 4


def test_one_kernel_is_asked_for_where_there_are_several_or_none():
    for layer, sentence in (
        (built(groups=(3, 5)), "has several kernels"),
        (blocks.GroupedConv1D(4, 2), "no kernel yet"),
    ):
        assert not hasattr(layer, "kernel")
        with pytest.raises(AttributeError, match=sentence):
            _ = layer.kernel


@pytest.fixture(scope="module")
def network():
    """A network of the zoo with every convolution adapted, and what it computes."""
    model = zoo.create(NAME, 7, SHAPE)
    for layer in model.layers:
        if isinstance(layer, (blocks.GroupedConv2D, blocks.Dense)):
            with_factors(layer, alpha=None)
    return model, np.asarray(model(IMAGES))


def test_the_zoo_takes_adapted_convolutions_as_it_takes_dense_layers(network, tmp_path):
    """Fused, written for PyTorch, read from files of Keras, counted and thawed."""
    model, expected = network
    plain = zoo.create(NAME, 7, SHAPE)
    fused = zoo.fuse(model)
    check_close(fused(IMAGES), expected, 1e-4)
    assert not [weight.path for weight in fused.weights if "lora" in weight.path]
    zoo.save_torch(model, tmp_path / "weights.safetensors")
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    for name in ("weights.safetensors", "model.weights.h5", "model.keras"):
        check_close(zoo.create(NAME, 7, SHAPE, weights=tmp_path / name)(IMAGES), expected, 1e-5)
    assert zoo.profile(model).macs == zoo.profile(plain).macs
    trained = [weight.path for weight in model.trainable_weights]
    assert not [path for path in trained if path.endswith("/kernel")]
    zoo.freeze(model)
    zoo.unfreeze(model)
    assert [weight.path for weight in model.trainable_weights] == trained


@pytest.mark.heavy
def test_adapted_convolutions_are_exported_as_convolutions(network, tmp_path):
    model, expected = network
    convolutions = sum(isinstance(layer, blocks.GroupedConv2D) for layer in model.layers)
    zoo.export(model, tmp_path / "network.onnx")
    session, operators = onnx(tmp_path / "network.onnx")
    check_close(session.run(None, {"images": IMAGES})[0], expected, 1e-4)
    assert operators["Conv"] == convolutions
    zoo.export(model, tmp_path / "network.tflite")
    interpreter, operators = litert(tmp_path / "network.tflite")
    check_close(run_litert(interpreter, IMAGES), expected, 1e-4)
    assert operators["CONV_2D"] + operators["DEPTHWISE_CONV_2D"] == convolutions
