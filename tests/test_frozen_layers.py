"""Layers that are frozen before they have weights: none of them trains, and statistics stand still."""

import keras
import numpy as np
import pytest

from blocks import BatchNormalization, DepthwiseSeparableConv2D, GroupedConv2D
from helpers.arrays import draw

IMAGES = draw(4, 6, 6, 8)
LAYERS = {
    "separable": lambda **more: DepthwiseSeparableConv2D(8, 3, normalize=True, **more),
    "separable with biases": lambda **more: DepthwiseSeparableConv2D(8, 3, groups=2, **more),
    "uneven": lambda **more: GroupedConv2D(8, 3, groups=(3, 5), **more),
    "normalisation": lambda **more: BatchNormalization(**more),
}


def clone_by_config(layer):
    return type(layer).from_config(layer.get_config())


# How a frozen layer that has not been built comes to a model.
WAYS = {
    "argument": lambda make: make(trainable=False),
    "attribute": lambda make: frozen(make()),
    "thawed and frozen": lambda make: frozen(frozen(make(trainable=False), False)),
    "from_config": lambda make: clone_by_config(make(trainable=False)),
}


def frozen(layer, value: bool = True):
    layer.trainable = not value
    return layer


def check_frozen(model: keras.Model, layer: keras.Layer) -> None:
    """Fitting `model` changes no weight of `layer`, and the layer counts none as trainable."""
    assert layer.trainable_weights == [] and not layer.trainable
    assert len(layer.non_trainable_weights) == len(layer.weights) > 0
    assert not any(weight.trainable for weight in layer.weights)
    before = layer.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(IMAGES, np.ones((4, 1), "float32"), epochs=2, verbose=0)
    for old, weight in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, weight)


def in_model(layer: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(IMAGES.shape[1:]), layer, keras.layers.Flatten(), keras.layers.Dense(1)])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_frozen_before_it_is_built_stays_frozen(name, way):
    layer = WAYS[way](LAYERS[name])
    check_frozen(in_model(layer), layer)


@pytest.mark.parametrize("name", LAYERS)
def test_so_it_does_after_a_file_and_a_clone(name, tmp_path):
    model = in_model(LAYERS[name](trainable=False))
    model.save(tmp_path / "model.keras")
    for other in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        check_frozen(other, other.layers[0])


def test_so_it_does_in_a_model_that_is_frozen_before_it_is_built():
    inner = keras.Sequential([LAYERS["separable"](), LAYERS["uneven"]()])
    inner.trainable = False
    model = keras.Sequential([inner, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.build((None, *IMAGES.shape[1:]))
    check_frozen(model, inner)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_thawed_trains_with_all_of_its_weights(name):
    layer, always = LAYERS[name](trainable=False), LAYERS[name]()
    in_model(layer), in_model(always)
    layer.trainable = True
    assert [w.path.split("/")[-1] for w in layer.trainable_weights] == [
        w.path.split("/")[-1] for w in always.trainable_weights
    ]
    late = LAYERS[name](trainable=False)
    late.trainable = True
    in_model(late)
    assert len(late.trainable_weights) == len(always.trainable_weights) > 0


def test_a_part_that_is_frozen_alone_stays_so():
    layer = LAYERS["separable"]()
    layer.pointwise.trainable = False
    layer.build(IMAGES.shape)
    assert len(layer.trainable_weights) == 5  # the depthwise kernel, two scales and two offsets
    assert layer.pointwise.trainable_weights == []
