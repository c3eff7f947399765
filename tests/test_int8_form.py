"""What is written to int8 instead of average pooling: the same function, other layers."""

import keras
import numpy as np
import pytest

import blocks
import zoo
from helpers.arrays import draw
from helpers.families import calibrated, smallest
from zoo.exporting.int8_form import for_int8


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


@pytest.mark.parametrize(
    "pooling",
    [
        blocks.PaddedPooling2D("average", 3, strides=2, padding=1),
        blocks.PaddedPooling2D("average", (2, 3), strides=(2, 1), padding=((1, 0), (0, 2))),
        keras.layers.AveragePooling2D(2),
    ],
)
def test_an_average_is_a_depthwise_convolution(pooling):
    images = keras.Input((9, 8, 5))
    model = keras.Model(images, pooling(images))
    written = for_int8(model)
    assert kinds(written) == ["DepthwiseConv2D"] and written.layers[-1].name == pooling.name
    pictures = draw(2, 9, 8, 5)
    np.testing.assert_allclose(written(pictures), model(pictures), atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        blocks.PaddedPooling2D("max", 3, strides=2, padding=1),
        keras.layers.AveragePooling2D(3, padding="same"),  # a mean of fewer pixels at the edge
        keras.layers.AveragePooling2D(2, data_format="channels_first"),
        keras.layers.BatchNormalization(),
    ],
)
def test_others_stay(layer):
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, layer(images))
    assert for_int8(model) is model


def test_nested_models_and_their_normalisations_are_copied():
    def part() -> keras.Model:
        images = keras.Input((6, 6, 4))
        x = blocks.BatchNormalization(activation="relu", name="norm")(images)
        sums = blocks.BatchNormalization(name="sum")(x, residual=x)
        return keras.Model(images, keras.layers.AveragePooling2D(2, name="pool")(sums), name="part")

    images = keras.Input((6, 6, 4))
    model = keras.Model(images, {"out": part()(images)})
    pictures = draw(8, 6, 6, 4)
    for layer in model.get_layer("part").layers:
        if isinstance(layer, blocks.BatchNormalization):
            layer.set_weights([np.abs(draw(*weight.shape)) + 0.5 for weight in layer.weights])
    written = for_int8(model)
    assert type(written.get_layer("part").get_layer("pool")) is blocks.DepthwiseConv2D
    np.testing.assert_allclose(written(pictures)["out"], model(pictures)["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.heavy
def test_shufflenet_v1_keeps_its_classes(tmp_path):
    """The converter clips what is pooled to the range of the means: cosines of 0.98 and less."""
    images = draw(8, 64, 64, 3)
    report = zoo.export(
        calibrated(smallest("shufflenet_v1"), images), tmp_path / "net.tflite", "litert-int8", images=images
    )
    assert report.cosine > 0.995, report
