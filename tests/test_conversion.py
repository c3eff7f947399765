"""`blocks.convert` and `blocks.restore`: the same model with other layers, against stock Keras."""

import keras
import numpy as np
import pytest
from keras import layers

import blocks
import zoo
from blocks.conversion.report import ConversionReport
from helpers.conversion import check_same_outputs, check_same_training, images_of, numpy, randomized

pytestmark = pytest.mark.usefixtures("forget_networks")


def everything() -> keras.Model:
    """Every kind of layer that is exchanged, in the arrangements of keras.applications."""
    images = keras.Input((32, 32, 6), name="images")
    x = layers.ZeroPadding2D(((0, 1), (1, 2)), name="pad")(images)
    x = layers.Conv2D(8, 3, 2, use_bias=False, groups=2, name="stem")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("hard_swish", name="act")(x)
    x = layers.ZeroPadding2D(1, name="pad_depthwise")(x)
    x = layers.DepthwiseConv2D(3, 1, depth_multiplier=2, depthwise_regularizer="l2", name="depthwise")(x)
    x = layers.BatchNormalization(scale=False, momentum=0.9, name="norm2")(x)
    x = layers.ReLU(6.0, name="relu6")(x)
    skip = layers.SeparableConv2D(16, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.Conv2D(16, 1, kernel_regularizer="l1", activation="gelu", name="pointwise")(x)
    x = layers.Add(name="add")([x, skip])
    x = layers.BatchNormalization(beta_regularizer="l2", name="norm3")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(images, layers.Dense(3, name="head")(x), name="everything")


def test_outputs_weights_and_training_are_the_same():
    model = randomized(everything())
    new, report = blocks.convert(model, report=True)
    assert isinstance(report, ConversionReport) and not report.left
    assert report.absorbed == {
        "pad": "stem", "act": "norm", "pad_depthwise": "depthwise",
        "relu6": "norm2", "relu": "norm3", "pool_pad": "pool",
    }  # fmt: skip
    exchanged = [name for name in report.exchanged if name not in report.absorbed]
    assert sorted(exchanged) == sorted(
        ["stem", "norm", "depthwise", "norm2", "separable", "pointwise", "norm3", "pool"]
    )
    assert str(report).count("\n") == len(report.exchanged) + len(report.absorbed) - 1
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    assert (new.name, new.input.name, new.output_shape) == (model.name, model.input.name, model.output_shape)
    assert [weight.path for weight in new.weights] == [weight.path for weight in model.weights]
    for mine, its in zip(new.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    images = images_of(model)
    check_same_outputs(new, model, images)
    check_same_outputs(new, model, images, training=True)
    assert float(sum(new.losses)) == pytest.approx(float(sum(model.losses)))
    check_same_training(new, model, images, np.ones((4, 3), "float32"))


def test_a_converted_model_is_fused_and_counted_as_the_stock_one():
    model = randomized(everything())
    new = blocks.convert(model)
    assert zoo.profile(new).macs == zoo.profile(model).macs
    fused = zoo.fuse(new)
    assert not [layer for layer in fused.layers if "Normalization" in type(layer).__name__ and layer.name != "norm3"]
    assert not {"AbsorbedLayer", "DepthwiseConv2D"} & {type(layer).__name__ for layer in fused.layers}
    check_same_outputs(fused, model, images_of(model))


def test_the_model_that_is_converted_stays_as_it_was():
    model = randomized(everything())
    config, weights = model.get_config(), model.get_weights()
    blocks.convert(model).set_weights([np.zeros_like(each) for each in weights])
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_way_back_gives_the_same_configuration():
    model = randomized(everything())
    back, report = blocks.restore(blocks.convert(model), report=True)
    assert back.get_config() == model.get_config() and not report.left and not report.absorbed
    check_same_outputs(back, model, images_of(model), tolerance=0)


def test_files_hold_the_converted_model_and_weights_go_both_ways(tmp_path):
    model = randomized(everything())
    new = blocks.convert(model)
    new.save(tmp_path / "new.keras")
    loaded = keras.models.load_model(tmp_path / "new.keras")
    check_same_outputs(loaded, new, images_of(model), tolerance=0)
    assert blocks.restore(loaded).get_config() == model.get_config()
    model.save_weights(tmp_path / "stock.weights.h5")
    fresh = blocks.convert(everything())
    fresh.load_weights(tmp_path / "stock.weights.h5")
    check_same_outputs(fresh, model, images_of(model))
    stock = everything()
    new.save_weights(tmp_path / "new.weights.h5")
    stock.load_weights(tmp_path / "new.weights.h5")
    check_same_outputs(stock, model, images_of(model), tolerance=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_dtype_policies_stay(policy):
    images = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, groups=2, dtype=policy)(images)
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    model = randomized(keras.Model(images, layers.Conv2D(2, 1, name="last")(x)))
    new, report = blocks.convert(model, report=True)
    assert [layer.dtype_policy.name for layer in new.layers] == [layer.dtype_policy.name for layer in model.layers]
    assert len(report.absorbed) == 1
    check_same_outputs(new, model, images_of(model), tolerance=1e-5 if policy == "float64" else 2e-2)


def test_an_activation_of_another_type_is_not_absorbed():
    images = keras.Input((8, 8, 4))
    x = layers.ReLU(dtype="float32")(layers.BatchNormalization(dtype="mixed_bfloat16")(images))
    assert not blocks.convert(keras.Model(images, x), report=True)[1].absorbed


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_axes(rank):
    conv = {1: layers.Conv1D, 3: layers.Conv3D}[rank]
    pad = {1: layers.ZeroPadding1D, 3: layers.ZeroPadding3D}[rank]
    images = keras.Input((*(9,) * rank, 4))
    x = pad(2, name="pad")(images)
    x = conv(8, 3, groups=2, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    if rank == 1:
        x = layers.DepthwiseConv1D(3, padding="same", name="depthwise")(x)
        x = layers.SeparableConv1D(4, 3, name="separable")(x)
        x = layers.Conv1D(4, 2, padding="causal", dilation_rate=2, name="causal")(x)
    model = randomized(keras.Model(images, x))
    new, report = blocks.convert(model, report=True)
    assert report.absorbed == {"pad": "conv", "relu": "norm"}
    check_same_outputs(new, model, images_of(model))
    assert blocks.restore(new).get_config() == model.get_config()


def test_channels_first():
    images = keras.Input((4, 8, 8))
    x = layers.ZeroPadding2D(1, data_format="channels_first", name="pad")(images)
    x = layers.Conv2D(8, 3, data_format="channels_first", name="conv")(x)
    model = keras.Model(images, layers.BatchNormalization(axis=1)(x))
    new, report = blocks.convert(model, report=True)
    assert report.absorbed == {"pad": "conv"} and new.output_shape == (None, 8, 8, 8)
    last = keras.Input((8, 8, 4))
    x = layers.BatchNormalization(axis=-1)(layers.Conv2D(8, 3, padding="same", name="conv")(last))
    reference = keras.Model(last, x)
    for mine, its in zip(reference.weights, randomized(new).weights, strict=True):
        mine.assign(its)
    images = images_of(new)
    expected = np.transpose(numpy(reference(np.transpose(images, (0, 2, 3, 1))))[0], (0, 3, 1, 2))
    np.testing.assert_allclose(numpy(new(images))[0], expected, atol=1e-5)
    assert blocks.restore(new).get_config() == model.get_config()


def test_sequential_models_stay_sequential():
    parts = [
        layers.ZeroPadding2D(1), layers.Conv2D(8, 3, 2), layers.BatchNormalization(), layers.ReLU(),
        layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2), layers.Flatten(), layers.Dense(2),
    ]  # fmt: skip
    model = randomized(keras.Sequential([keras.Input((16, 16, 3), name="pictures"), *parts], name="chain"))
    new, report = blocks.convert(model, report=True)
    assert type(new) is keras.Sequential and new.name == "chain" and new.inputs[0].name == "pictures"
    assert len(report.absorbed) == 3 and [each.name for each in new.layers] == [each.name for each in model.layers]
    check_same_outputs(new, model, images_of(model))
    assert blocks.restore(new).get_config() == model.get_config()


def test_a_sequential_model_that_is_not_built():
    model = keras.Sequential([layers.Conv2D(8, 3, groups=2), layers.BatchNormalization(), layers.ReLU()])
    new, report = blocks.convert(model, report=True)
    assert [type(each) for each in new.layers] == [blocks.Conv2D, blocks.BatchNormalization, layers.ReLU]
    assert not new.built and not report.left
    assert new(np.ones((1, 8, 8, 4))).shape == (1, 6, 6, 8)


def test_shared_layers_stay_shared_and_nested_models_nested():
    conv = layers.Conv2D(4, 3, padding="same", name="shared")
    inner_images = keras.Input((8, 8, 4))
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(conv(inner_images)))
    inner = keras.Model(inner_images, x, name="inner")
    inner.trainable = False
    images = keras.Input((8, 8, 4))
    x = inner(conv(inner(images)))
    model = randomized(keras.Model(images, [x, inner(x)]))
    new, report = blocks.convert(model, report=True)
    assert report.absorbed == {"inner/relu": "norm"}
    assert new.get_layer("shared") is new.get_layer("inner").get_layer("shared")
    assert len(new.weights) == len(model.weights)
    assert not new.get_layer("inner").trainable and not new.get_layer("shared").trainable
    assert [w.path for w in new.trainable_weights] == [w.path for w in model.trainable_weights]
    check_same_outputs(new, model, images_of(model))
    check_same_outputs(new, model, images_of(model), training=True)
    check_same_outputs(blocks.restore(new), model, images_of(model), tolerance=0)


def test_what_is_frozen_stays_frozen():
    model = everything()
    for name in ("stem", "norm2", "separable"):
        model.get_layer(name).trainable = False
    model.get_layer("pointwise").kernel.trainable = False
    new = blocks.convert(model)
    assert [w.path for w in new.trainable_weights] == [w.path for w in model.trainable_weights]
    assert len(new.trainable_weights) < len(blocks.convert(everything()).trainable_weights)
    model.trainable = False
    assert not blocks.convert(model).trainable_weights


def test_regularisers_constraints_and_initialisers_stay():
    settings = {
        "kernel_regularizer": keras.regularizers.L1L2(1e-3, 1e-2), "bias_regularizer": "l2",
        "kernel_constraint": keras.constraints.MaxNorm(2, axis=[0, 1, 2]), "bias_constraint": "non_neg",
        "kernel_initializer": "he_normal", "activity_regularizer": "l2",
    }  # fmt: skip
    depthwise = {"depthwise_constraint": keras.constraints.MaxNorm(0.1, axis=[0, 1]), "depthwise_regularizer": "l1"}
    images = keras.Input((8, 8, 4))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, **depthwise)(layers.Conv2D(8, 3, **settings)(images))
    model = randomized(keras.Model(images, layers.BatchNormalization(gamma_constraint="non_neg")(x)))
    new = blocks.convert(model)
    theirs, ours = model.layers[1].get_config(), new.layers[1].get_config()
    assert {key: ours[key] for key in settings} == {key: theirs[key] for key in settings}
    inputs = images_of(model)
    new(inputs), model(inputs)
    assert float(sum(new.losses)) == pytest.approx(float(sum(model.losses)))
    check_same_training(new, model, inputs, np.ones((4, 4, 4, 16), "float32"))


def norm_and(*behind):
    """The report on a normalisation with these functions of its output behind it."""
    images = keras.Input((8, 8, 4))
    x = layers.BatchNormalization(name="norm")(images)
    return keras.Model(images, [each(x) for each in behind])


@pytest.mark.parametrize("model", [
    norm_and(layers.ReLU(), layers.Flatten()),  # the normalised values themselves are used
    norm_and(layers.ReLU(), layers.Identity()),
    norm_and(lambda x: x, layers.ReLU()),  # or are an output
    norm_and(layers.ReLU(5.0)),
    norm_and(layers.ReLU(negative_slope=0.1)),
    norm_and(layers.PReLU()),
    norm_and(layers.Softmax()),
    norm_and(layers.Activation("relu", activity_regularizer="l2")),
    norm_and(lambda x: (relu := layers.ReLU())(relu(x))),  # the one layer is called twice
])  # fmt: skip
def test_activations_that_are_not_absorbed(model):
    randomized(model)
    new, report = blocks.convert(model, report=True)
    assert not report.absorbed
    check_same_outputs(new, model, images_of(model))


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_activations_without_a_name_stay():
    images = keras.Input((8, 8, 4))
    model = randomized(keras.Model(images, layers.Conv2D(4, 1, activation=lambda x: x + 1)(images)))
    new = blocks.convert(model)
    assert type(new.layers[1]) is blocks.Conv2D
    check_same_outputs(new, model, images_of(model))
    check_same_outputs(blocks.restore(new), model, images_of(model), tolerance=0)


@pytest.mark.parametrize("activation", ["relu", "silu", "relu6", "sigmoid", "hard_swish", "elu"])
def test_activations_without_a_layer_are_absorbed(activation):
    model = randomized(norm_and(getattr(keras.ops, activation)))
    new, report = blocks.convert(model, report=True)
    assert len(report.absorbed) == 1 and len(new.layers) == 2
    check_same_outputs(new, model, images_of(model))
    check_same_outputs(blocks.restore(new), model, images_of(model), tolerance=1e-6)


def padded(before, pool):
    images = keras.Input((8, 8, 4))
    x = layers.ZeroPadding2D(1, name="pad")(before(images))
    return keras.Model(images, pool(x))


@pytest.mark.parametrize(("model", "absorbed"), [
    (padded(layers.ReLU(), layers.MaxPooling2D(3, 2)), True),
    (padded(layers.Conv2D(4, 1, activation="relu"), layers.MaxPooling2D(3, 2)), True),
    (padded(layers.Identity(), layers.MaxPooling2D(3, 2)), False),  # of negative pixels the zeros are the greatest
    (padded(layers.ReLU(), layers.MaxPooling2D(1, 1)), False),  # some windows hold zeros alone
    (padded(layers.Identity(), layers.AveragePooling2D(3, 2)), True),
    (padded(layers.Identity(), layers.AveragePooling2D(3, 2, padding="same")), False),
    (padded(layers.Identity(), layers.Conv2D(4, 3, padding="same")), False),
])  # fmt: skip
def test_paddings(model, absorbed):
    randomized(model)
    new, report = blocks.convert(model, report=True)
    assert ("pad" in report.absorbed) == absorbed
    images = images_of(model) - 1
    check_same_outputs(new, model, images)
    check_same_outputs(blocks.restore(new), model, images)


def test_arguments_of_calls_stay():
    images, words = keras.Input((8, 8, 4)), keras.Input((None,), dtype="int32")
    x = layers.BatchNormalization(name="norm")(images, training=True)
    embedded = layers.Embedding(9, 4, mask_zero=True)(words)
    y = layers.BatchNormalization(name="masked")(embedded)
    model = randomized(keras.Model({"images": images, "words": words}, {"x": x, "y": y}))
    inputs = {
        "images": np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32"),
        "words": np.array([[1, 2, 0], [3, 0, 0]]),
    }
    new = blocks.convert(model)
    assert set(new.output) == {"x", "y"}
    check_same_outputs(new, model, inputs, training=True)
    for mine, its in zip(new.weights, model.weights, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


def test_a_compiled_model_goes_on_where_it_was():
    model = randomized(everything())
    model.compile(keras.optimizers.Adam(1e-3), "mse", metrics=["mae"])
    images, targets = images_of(model), np.ones((4, 3), "float32")
    model.train_on_batch(images, targets)
    new, report = blocks.convert(model, report=True)
    assert not report.left and int(new.optimizer.iterations) == 1
    for each in (new, model):
        each.train_on_batch(images, targets)
    for mine, its in zip(new.trainable_weights, model.trainable_weights, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-3 * np.abs(its).max() + 1e-5)


def test_dropouts_drop_the_same():
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, layers.Dropout(0.5)(layers.Conv2D(4, 1)(images)))
    check_same_outputs(blocks.convert(model), model, images_of(model), training=True)


def test_a_loss_that_cannot_be_made_again_is_said():
    model = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(2, 3)])
    model.compile("sgd", lambda true, predicted: keras.ops.mean(predicted))
    new, report = blocks.convert(model, report=True)
    assert not new.compiled and "compile the new model" in report.left["compile()"]


def test_adapted_convolutions_stay_adapted():
    model = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(6, 3, groups=2, name="conv")])
    model.layers[0].enable_lora(2, lora_alpha=3)
    randomized(model)
    new = blocks.convert(model)
    assert new.layers[0].lora_enabled and new.layers[0].lora_alpha == 3
    assert [w.path for w in new.trainable_weights] == [w.path for w in model.trainable_weights]
    check_same_outputs(new, model, images_of(model))


def test_what_keras_itself_exports_of_a_converted_model_is_one_operator_a_convolution(tmp_path):
    """Of its own grouped convolutions it writes a call of a function, which ONNX Runtime refuses."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    images = keras.Input((8, 8, 8), name="images")
    x = layers.Conv2D(8, 3, groups=4)(images)
    model = randomized(keras.Model(images, layers.ReLU()(layers.BatchNormalization()(x))))
    new = blocks.convert(model)
    new(images_of(model))  # it has to be called once
    new.export(tmp_path / "new.onnx", format="onnx", verbose=False)
    nodes = onnx.load(tmp_path / "new.onnx").graph.node
    groups = [each.i for node in nodes for each in node.attribute if each.name == "group"]
    assert groups == [4]
    session = runtime.InferenceSession(tmp_path / "new.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"images": images_of(model)})
    np.testing.assert_allclose(outputs, numpy(model(images_of(model)))[0], atol=1e-5)
