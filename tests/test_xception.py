"""Aligned Xception: its modules against their definition, groups, stochastic depth, refusals."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from zoo.models.xception import VARIANTS

FILTERS = (8, 12, 16)


def module(preactivated: bool = False, skip: bool = True, strides: int = 1) -> keras.Model:
    function = blocks.preactivated_xception_module if preactivated else blocks.xception_module
    images = keras.Input((6, 6, 4))
    return keras.Model(images, function(images, FILTERS, strides, skip=skip, name="m"))


def randomised(model: keras.Model) -> keras.Model:
    draw = np.random.default_rng(0)
    model.set_weights([0.5 + 0.5 * draw.random(weight.shape) for weight in model.get_weights()])
    return model


def definition(model, images, preactivated: bool, skip: bool, strides: int):
    """The module written out, from the weights of `model`; normalisations run on their moving statistics."""

    def norm(x, name):
        gamma, beta, mean, variance = model.get_layer(name).get_weights()
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def depthwise(x, name, stride):
        kernel = model.get_layer(name).get_weights()[0]
        x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return tf.nn.depthwise_conv2d(x, kernel.transpose(0, 1, 3, 2), (1, stride, stride, 1), "VALID")

    def dense(x, name, stride=1):
        return tf.nn.conv2d(x, model.get_layer(name).get_weights()[0], stride, "VALID")

    relu = tf.nn.relu
    x = relu(norm(images, "m.norm")) if preactivated else images
    if skip and preactivated:
        shortcut = dense(x, "m.shortcut", strides)
    elif skip:
        shortcut = norm(dense(x, "m.shortcut.conv", strides), "m.shortcut.bn")
    for index in (1, 2, 3):
        name, stride = f"m.stack.conv{index}", strides if index == 3 else 1
        if preactivated:
            x = relu(norm(x, f"{name}.norm")) if index > 1 else x
            x = dense(depthwise(x, f"{name}.conv_dw", stride), f"{name}.conv_pw")
        else:
            x = relu(x) if skip else x
            x = norm(depthwise(x, f"{name}.conv_dw", stride), f"{name}.bn_dw")
            x = norm(dense(x if skip else relu(x), f"{name}.conv_pw"), f"{name}.bn_pw")
            x = x if skip else relu(x)
    return x + shortcut if skip else x


@pytest.mark.parametrize("preactivated", [False, True])
@pytest.mark.parametrize(("skip", "strides"), [(True, 1), (True, 2), (False, 1)])
def test_a_module_equals_its_definition(preactivated, skip, strides):
    model = randomised(module(preactivated, skip, strides))
    images = np.random.default_rng(1).standard_normal((2, 6, 6, 4)).astype("float32")
    outputs, tap = model(images, training=False)
    expected = definition(model, images, preactivated, skip, strides)
    np.testing.assert_allclose(outputs, expected, atol=1e-5 * np.abs(expected).max())
    assert tap.shape == (2, 6, 6, FILTERS[1])
    assert preactivated or np.min(tap) >= 0


def test_groups_reach_every_spatial_convolution():
    config = VARIANTS["xception41"].with_groups(4)
    assert config.name == "xception41_g4"
    model = zoo.create(replace(config, middle=1), 2, (32, 32, 3))
    spatial = [x for x in model.layers if isinstance(x, blocks.GroupedConv2D) and x.kernel_size == (3, 3)]
    assert [layer.groups for layer in spatial] == [1, 1] + [4] * 18


@pytest.mark.parametrize("name", ["xception41", "xception41p"])
def test_the_last_modules_are_dropped_most(name):
    model = zoo.create(replace(VARIANTS[name], middle=2, drop_path=0.3), 2, (32, 32, 3))
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    np.testing.assert_allclose(rates, [0.05, 0.1, 0.15, 0.2, 0.25])  # the very last module adds nothing to drop


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"groups": 3}, "use 1, 2, 4, 8, or null for depthwise; the nearest is 2"),
    ({"entry": "wide"}, "entry='wide' is not allowed for Xception"),
    ({"middle": 0}, "middle=0 is not allowed for Xception"),
    ({"drop_path": 1.0}, "drop_path=1.0 is not allowed for Xception"),
])  # fmt: skip
def test_refusals(changes, sentence):
    with pytest.raises(ValueError) as caught:
        replace(VARIANTS["xception41"], **changes)
    assert sentence in str(caught.value)
