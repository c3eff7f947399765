"""The layers as Keras layers: arguments, shapes, precision, models, files, and what they say when they refuse."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import (
    BatchNormalization,
    ChannelShuffle,
    DepthwiseSeparableConv2D,
    GroupedConv2D,
    PaddedPooling2D,
    shufflenet_v2_unit,
)
from helpers.arrays import draw
from helpers.paths import ROOT
from helpers.processes import run_code

IMAGES = draw(2, 9, 10, 8)
WEIGHTS = draw(*IMAGES.shape, seed=1)
LAYERS = {
    "grouped": lambda **more: GroupedConv2D(16, (3, 2), (2, 1), ((1, 0), (2, 1)), groups=4, activation="relu", **more),
    "separable": lambda **more: DepthwiseSeparableConv2D(
        12, 3, 2, 1, depth_multiplier=2, normalize=True, activation="relu6", **more
    ),
    "separable plain": lambda **more: DepthwiseSeparableConv2D(12, 5, padding="same", groups=4, **more),
    "shuffle": lambda **more: ChannelShuffle(4, **more),
    "max pooling": lambda **more: PaddedPooling2D("max", 3, 2, 1, **more),
    "average pooling": lambda **more: PaddedPooling2D("average", 3, 2, 1, **more),
}


@pytest.mark.parametrize("name", LAYERS)
def test_shape_config_and_both_data_formats(name):
    last = LAYERS[name](data_format="channels_last")
    outputs = last(IMAGES)
    assert tuple(last.compute_output_shape(IMAGES.shape)) == tuple(outputs.shape)
    assert tuple(last(keras.KerasTensor((None, 9, 10, 8))).shape) == (None, *outputs.shape[1:])

    again = type(last).from_config(last.get_config())
    assert again.get_config() == last.get_config()

    first = LAYERS[name](data_format="channels_first")
    flipped = IMAGES.transpose(0, 3, 1, 2)
    first.build(flipped.shape)
    first.set_weights(last.get_weights())
    assert tuple(first.compute_output_shape(flipped.shape)) == tuple(first(flipped).shape)
    np.testing.assert_allclose(first(flipped), np.transpose(outputs, (0, 3, 1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", LAYERS)
def test_mixed_precision_computes_low_and_keeps_float32_weights(name, policy):
    full, mixed = LAYERS[name](), LAYERS[name](dtype=policy)
    exact = full(IMAGES)
    mixed.build(IMAGES.shape)
    mixed.set_weights(full.get_weights())
    with tf.GradientTape() as tape:
        outputs = mixed(IMAGES)
        total = tf.reduce_sum(tf.cast(outputs, "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    gradients = tape.gradient(total, [w.value for w in mixed.trainable_weights])
    assert all(gradient.dtype == "float32" for gradient in gradients)
    np.testing.assert_allclose(tf.cast(outputs, "float32"), exact, rtol=0.05, atol=0.05)


class Subclassed(keras.Model):
    def __init__(self, **more):
        super().__init__(**more)
        self.convolution = GroupedConv2D(16, 3, padding="same", groups=4)
        self.normalization = BatchNormalization()
        self.shuffle = ChannelShuffle(4)

    def call(self, inputs, training=None):
        return self.shuffle(self.normalization(self.convolution(inputs), training=training))


def sequential():
    return keras.Sequential([
        keras.Input((9, 10, 8)), *[make() for make in LAYERS.values()][:4], BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
    ])  # fmt: skip


def functional():
    images = keras.Input((None, None, 8))
    x = GroupedConv2D(16, 3, padding=1, groups=2, dilation_rate=2)(images)
    return keras.Model(images, ChannelShuffle(2)(x) + PaddedPooling2D("max", 3, 1, 1)(x))


@pytest.mark.parametrize("make", [sequential, functional, Subclassed])
def test_models_train_save_and_load(make, tmp_path):
    model = make()
    target = tf.zeros_like(model(IMAGES))
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("sgd", "mse")
    model.fit(IMAGES, target, epochs=2, verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(before, model.trainable_weights, strict=True))
    model.save(tmp_path / "model.keras")
    objects = {"Subclassed": Subclassed} if make is Subclassed else None
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects=objects)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_a_saved_model_loads_in_a_new_process_that_imports_blocks(tmp_path):
    model = sequential()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import keras, blocks, numpy as np\n"
        "print(float(np.sum(keras.models.load_model('model.keras')(np.load('images.npy')))))"
    )
    assert float(run_code(code, cwd=tmp_path)) == pytest.approx(float(np.sum(model(IMAGES))), rel=1e-5)


@pytest.mark.heavy
def test_without_onednn_the_fall_back_trains():
    """There TensorFlow refuses the gradient of a grouped convolution, and of a dilated one."""
    code = (
        "import tensorflow as tf\n"
        "from helpers import definition\n"
        "from blocks import grouped_convolution\n"
        "from blocks.ops.tensorflow.runtime import native_gradients\n"
        "assert not native_gradients('float32')\n"
        "x, results = tf.random.stateless_normal((2, 8, 8, 6), (1, 2)), []\n"
        "w = tf.random.stateless_normal((3, 3, 2, 6), (3, 4))\n"
        "for f in (grouped_convolution, definition.grouped_convolution):\n"
        "    with tf.GradientTape() as tape:\n"
        "        tape.watch((x, w))\n"
        "        y = tf.reduce_sum(f(x, w, (2, 2), ((1, 1), (1, 1)), (2, 2)) ** 2)\n"
        "    results.append(tape.gradient(y, (x, w)))\n"
        "for ours, plain in zip(*results):\n"
        "    tf.debugging.assert_near(ours, plain, rtol=1e-4, atol=1e-3)\n"
        "print('the same')"
    )
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    assert run_code(code, PYTHONPATH=path, TF_ENABLE_ONEDNN_OPTS="0") == "the same\n"


def test_shuffle_is_the_papers_permutation():
    images = np.arange(12, dtype="float32").reshape(1, 1, 1, 12)
    expected = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]  # three groups of four channels
    np.testing.assert_array_equal(np.ravel(ChannelShuffle(3)(images)), expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_outputs_of_a_shuffle_are_parts_of_the_whole(data_format):
    images = IMAGES if data_format == "channels_last" else IMAGES.transpose(0, 3, 1, 2)
    layer = ChannelShuffle(4, data_format, num_outputs=2)
    outputs = layer(images)
    axis = -1 if data_format == "channels_last" else 1
    for output, expected in zip(outputs, np.split(ChannelShuffle(4, data_format)(images), 2, axis), strict=True):
        np.testing.assert_array_equal(output, expected)
    assert [tuple(output.shape) for output in outputs] == layer.compute_output_shape(images.shape)
    assert ChannelShuffle.from_config(layer.get_config()).num_outputs == 2


def test_a_shufflenet_v2_unit_takes_and_gives_halves():
    whole = keras.Input((9, 10, 8))
    joined = keras.Model(whole, shufflenet_v2_unit(shufflenet_v2_unit(whole, 8), 8))
    apart = keras.Model(whole, shufflenet_v2_unit(shufflenet_v2_unit(whole, 8, return_halves=True), 8))
    apart.set_weights(joined.get_weights())
    np.testing.assert_allclose(apart(IMAGES), joined(IMAGES), rtol=1e-5, atol=1e-6)
    splits = [sum(type(each).__name__ == "Split" for each in model.operations) for model in (joined, apart)]
    assert splits == [2, 1]


def test_padded_pooling_is_symmetric_and_averages_its_zeros():
    images = -np.ones((1, 4, 4, 1), "float32")
    np.testing.assert_array_equal(np.squeeze(PaddedPooling2D("max", 3, 2, 1)(images)), -np.ones((2, 2)))
    averages = np.squeeze(PaddedPooling2D("average", 3, 2, 1)(images))
    np.testing.assert_allclose(averages, [[-4 / 9, -6 / 9], [-6 / 9, -1]], rtol=1e-6)


def test_separable_equals_keras():
    theirs = keras.layers.SeparableConv2D(12, 3, 2, "same", depth_multiplier=2)
    ours = DepthwiseSeparableConv2D(12, 3, 2, "same", depth_multiplier=2)
    expected = theirs(IMAGES)
    ours.build(IMAGES.shape)
    depthwise, pointwise, bias = theirs.get_weights()
    ours.depthwise.kernel.assign(depthwise.reshape(3, 3, 1, 16))
    ours.pointwise.kernel.assign(pointwise)
    ours.pointwise.bias.assign(bias)
    np.testing.assert_allclose(ours(IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [None, "relu", "hard_silu", "gelu", "softmax", lambda x: x**2])
@pytest.mark.parametrize("arguments", [{"groups": 4}, {"groups": (3, 5)}, {"data_format": "channels_first"}])
def test_a_residual_is_added_before_the_activation(arguments, activation):
    axis = 1 if "data_format" in arguments else -1
    images = np.moveaxis(IMAGES, -1, axis)
    plain = GroupedConv2D(8, 3, padding=1, **arguments)
    layer = GroupedConv2D(8, 3, padding=1, activation=activation, **arguments)
    plain.build(images.shape)
    layer.build(images.shape)
    plain.bias.assign(np.linspace(-1, 1, 8))
    layer.set_weights(plain.get_weights())
    results = []
    for used, function in (
        (layer, lambda x, r: layer(x, residual=r)),
        (plain, lambda x, r: keras.activations.get(activation)(plain(x) + r)),
    ):
        variables = [tf.constant(images), *(weight.value for weight in used.weights)]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            outputs = function(variables[0], variables[0] * 0.5)
            total = tf.reduce_sum(outputs * np.moveaxis(WEIGHTS, -1, axis))
        results.append([outputs, *tape.gradient(total, variables)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_model_with_a_residual_saves_and_loads(tmp_path):
    images = keras.Input((9, 10, 8))
    x = GroupedConv2D(8, 3, padding=1, groups=2, activation="relu")(images, residual=images)
    model = keras.Model(images, GroupedConv2D(8, 1)(x, images))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(IMAGES), model(IMAGES))


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: GroupedConv2D(64, 3, groups=5), "groups=5 does not divide 64 filters; the divisors nearest to 5 are 4"),
    (lambda: GroupedConv2D(15, 3, groups=5)(IMAGES), "groups=5 does not divide 8 input channels"),
    (lambda: GroupedConv2D(64, 3, groups=100), "the divisor nearest to 100 is 64"),
    (lambda: GroupedConv2D(0, 3), "filters=0 is not allowed: it must be an integer of at least 1"),
    (lambda: GroupedConv2D(8, 3, groups=2.5), "groups=2.5 is not allowed"),
    (lambda: GroupedConv2D(8, 3, groups=True), "groups=True is not allowed"),
    (lambda: GroupedConv2D(8, (3, 3, 3)), "kernel_size=(3, 3, 3) has 3 entries"),
    (lambda: GroupedConv2D(8, 3, padding="smae"), "padding='smae' is not allowed"),
    (lambda: GroupedConv2D(8, 3, padding=-1), "padding=-1 is not allowed"),
    (lambda: GroupedConv2D(8, 3, padding=((1, 2), 3, 4)), "is not allowed"),
    (lambda: GroupedConv2D(8, 3, padding="smae"), 'Did you mean "same"?'),
    (lambda: GroupedConv2D(8, 3, padding="causal"), "padding='causal' is not allowed"),
    (lambda: GroupedConv2D(8, 3, implementation="splti"), "implementation='splti' is not known. Did you mean 'split'?"),
    (lambda: GroupedConv2D(8, 3, implementation="kernels"), "is not known. Did you mean 'custom_op'?"),
    (lambda: GroupedConv2D(8, 3)(IMAGES, IMAGES), "of shape (2, 9, 10, 8) cannot be added to outputs of (2, 7, 8, 8)"),
    (lambda: GroupedConv2D(8, 1)(IMAGES, IMAGES[..., :1]), "residual of shape (2, 9, 10, 1) cannot be added"),
    (lambda: GroupedConv2D(8, 3)(*[keras.KerasTensor((None, 9, None, 8))] * 2), "outputs of (None, 7, None, 8)"),
    (lambda: GroupedConv2D(8, 3, data_format="NHWC"), "data_format='NHWC' is not allowed"),
    (lambda: GroupedConv2D(8, 11)(IMAGES), "9 x 10 pixels is too small for a kernel of 11 x 11"),
    (lambda: GroupedConv2D(8, 3)(keras.KerasTensor((None, 5, 5, None))), "number of input channels must be known"),
    (lambda: ChannelShuffle(3)(IMAGES), "groups=3 does not divide 8 channels; the divisors nearest to 3 are 2 and 4"),
    (lambda: ChannelShuffle(4, num_outputs=3)(IMAGES), "num_outputs=3 does not divide 8 channels; the divisors"),
    (lambda: shufflenet_v2_unit([IMAGES, IMAGES], 16, 2), "into a unit of stride 1; got [8, 8] for strides=2"),
    (lambda: shufflenet_v2_unit([IMAGES, IMAGES[..., :2]], 10), "Two halves of equal size can go into a unit"),
    (lambda: PaddedPooling2D("mean"), "mode='mean' is not allowed"),
    (lambda: DepthwiseSeparableConv2D(8, groups=3)(IMAGES), "groups=3 does not divide 8"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
