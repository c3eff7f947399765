"""AlexNet: the published network of two groups against a plain definition, its operations, sizes, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from helpers.arrays import draw
from zoo.models import alexnet
from zoo.models.alexnet import AlexNet


def backbone(config: AlexNet, shape, small_stem: bool = False) -> keras.Model:
    images = keras.Input(shape)
    return keras.Model(images, alexnet.build(config, images, small_stem))


def definition(model: keras.Model, images):
    """The maps of the paper's network of two halves: figure 2, with slices and dense convolutions."""

    def halves(x, name):
        kernel, bias = model.get_layer(f"features.{name}.conv").get_weights()
        pad = kernel.shape[0] // 2
        x = tf.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        each, outputs = x.shape[-1] // 2, kernel.shape[-1] // 2
        upper = tf.nn.conv2d(x[..., :each], kernel[..., :outputs], 1, "VALID")
        lower = tf.nn.conv2d(x[..., each:], kernel[..., outputs:], 1, "VALID")
        return tf.nn.relu(tf.concat([upper, lower], -1) + bias)

    def normalised(x):
        return tf.nn.local_response_normalization(x, 2, bias=2.0, alpha=1e-4 / 5, beta=0.75)

    def pooled(x):
        odd = tf.pad(x, ((0, 0), (0, 1 - x.shape[1] % 2), (0, 1 - x.shape[2] % 2), (0, 0)))  # ReLU: zeros never win
        return tf.nn.max_pool2d(odd, 3, 2, "VALID")

    kernel, bias = model.get_layer("features.stage1.unit1.conv").get_weights()
    first = normalised(tf.nn.relu(tf.nn.conv2d(images, kernel, 4, "VALID") + bias))
    second = normalised(halves(pooled(first), "stage2.unit1"))
    kernel, bias = model.get_layer("features.stage3.unit1.conv").get_weights()
    x = tf.nn.relu(tf.nn.conv2d(pooled(second), kernel, 1, "SAME") + bias)
    x = halves(halves(x, "stage3.unit2"), "stage3.unit3")
    return [first, second, x, pooled(x)]


@pytest.mark.parametrize("size", [67, 72])
def test_the_published_network_equals_its_definition(size):
    model = backbone(AlexNet(), (size, size, 3))
    values = np.random.default_rng(1)
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(0.1 * values.standard_normal(layer.bias.shape))
    images = 20 * draw(2, size, size, 3)  # so large that the normalisation matters
    for actual, expected in zip(model(images), definition(model, images), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.max(expected))


def test_the_classifier_reads_the_maps_channel_by_channel():
    features = keras.Input((6, 6, 256))
    model = keras.Model(features, alexnet.head(AlexNet(), features))
    values = draw(2, 6, 6, 256)
    x = values.transpose(0, 3, 1, 2).reshape(2, -1)
    for name in ("output.fc1.fc", "output.fc2.fc"):
        kernel, bias = model.get_layer(name).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    np.testing.assert_allclose(model(values), x, atol=1e-4 * np.max(x))


def test_parameters_and_maps_are_the_published_ones():
    """The sizes of figure 2, of images of 227 pixels; 224 differ at the first map alone."""
    for name, parameters in (("alexnet", 60_965_224), ("alexnet_g1", 62_378_344)):
        assert zoo.profile(zoo.create(name)).parameters == parameters
        keras.backend.clear_session()
    for size, first in ((227, 55), (224, 54)):
        shapes = [feature.shape[1:] for feature in backbone(AlexNet(), (size, size, 3)).outputs]
        assert shapes == [(first, first, 96), (27, 27, 256), (13, 13, 256), (6, 6, 256)]


def test_groups_are_those_of_the_second_fourth_and_fifth_convolution():
    model = backbone(AlexNet().with_groups(8), (64, 64, 1))
    convolutions = [layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D)]
    assert [layer.groups for layer in convolutions] == [1, 8, 1, 8, 8]
    assert AlexNet(8).name == "alexnet_g8" and AlexNet(8).with_groups(2) == AlexNet()


@pytest.mark.parametrize(("size", "small_stem"), [(39, False), (100, False), (4, True), (32, True)])
def test_other_sizes_are_averaged_to_the_map_that_the_dense_layers_see(size, small_stem):
    shapes = [output.shape[1] for output in backbone(AlexNet(), (size, size, 3), small_stem).outputs]
    assert shapes[-1] >= 1 and (not small_stem or shapes == [size, size, size // 2, size // 4])
    open_ended = backbone(AlexNet(), (None, None, 3), small_stem)
    assert [output.shape[1] for output in open_ended(draw(1, size, size, 3))] == shapes


@pytest.mark.parametrize("shape", [(13, 7), (6, 6), (2, 5)])
def test_adaptive_pooling_averages_what_pytorch_does(shape):
    values = draw(2, *shape, 3)
    rows, columns = ([(i * n // 6, -(-(i + 1) * n // 6)) for i in range(6)] for n in shape)
    expected = np.stack([np.stack([values[:, a:b, c:d].mean((1, 2)) for c, d in columns], 1) for a, b in rows], 1)
    images = keras.Input((None, None, 3))
    model = keras.Model(images, blocks.AdaptiveAveragePooling2D(6)(images))
    assert model.output_shape == (None, 6, 6, 3)
    np.testing.assert_allclose(model(values), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_response_normalisation_equals_its_definition(size):
    values = 50 * draw(2, 3, 3, 7)
    edges = np.pad(values**2, [(0, 0)] * 3 + [(size // 2, (size - 1) // 2)])
    total = sum(edges[..., i : i + 7] for i in range(size))
    expected = values / (2 + 0.01 / size * total) ** 0.75
    layer = blocks.LocalResponseNormalization(size, alpha=0.01)
    np.testing.assert_allclose(layer(values), expected, rtol=1e-5)
    again = blocks.LocalResponseNormalization.from_config(layer.get_config())
    np.testing.assert_array_equal(again(values), layer(values))
    narrow = blocks.LocalResponseNormalization(size, alpha=0.01, dtype="mixed_bfloat16")(values)
    assert narrow.dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(narrow, "float32"), expected, rtol=2e-2)


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: AlexNet(groups=3), "use 1, 2, 4, 8, 16, 32; the nearest is 2"),
    (lambda: backbone(AlexNet(), (38, 64, 3)), "Images of 38 pixels are too small for AlexNet: give at least 39"),
    (lambda: backbone(AlexNet(), (8, 3, 3), True), "too small for AlexNet with the small stem: give at least 4."),
    (lambda: blocks.LocalResponseNormalization(0), "size=0 is not allowed"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
