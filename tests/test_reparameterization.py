"""RepVGG and MobileOne: branches against their definition, and against the plain form that they become."""

import re
from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
import zoo
from helpers.checks import check_close
from helpers.definition import grouped_convolution
from helpers.randomized import check_same, inputs_of, normalizations, numpy, randomized
from zoo import registry
from zoo.models.mobileone import MobileOne
from zoo.models.repvgg import RepVGG


def convolutions(model) -> list:
    return [layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D)]


def normalized(model, name: str, values: np.ndarray) -> np.ndarray:
    layer = model.get_layer(name)
    gamma, beta, mean, variance = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
    return gamma * (np.asarray(values) - mean) / np.sqrt(variance + layer.epsilon) + beta


def branch(model, name: str, images: np.ndarray, strides: int, padding: int) -> np.ndarray:
    kernel = keras.ops.convert_to_numpy(model.get_layer(f"{name}.conv").kernel)
    values = grouped_convolution(images, kernel, (strides, strides), 2 * ((padding, padding),), (1, 1))
    return normalized(model, f"{name}.bn", values)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_the_repvgg_block_is_the_sum_of_its_branches(strides, drop_path):
    images = keras.Input((8, 6, 8))
    outputs = blocks.repvgg_block(images, 8, strides, groups=2, drop_path=drop_path, name="block")
    model = randomized(keras.Model(images, outputs))
    x = inputs_of(model)
    total = branch(model, "block.conv_kxk", x, strides, 1) + branch(model, "block.conv_1x1", x, strides, 0)
    if strides == 1:
        total += normalized(model, "block.identity", x)
    np.testing.assert_allclose(model(x), np.maximum(total, 0), atol=1e-4)


@pytest.mark.parametrize(("kernel_size", "groups", "filters"), [(3, 8, 8), (1, 1, 8), (1, 1, 12)])
def test_the_mobileone_block_is_the_sum_of_its_branches(kernel_size, groups, filters):
    images = keras.Input((8, 6, 8))
    outputs = blocks.mobileone_block(images, filters, kernel_size, groups=groups, branches=3, name="block")
    model = randomized(keras.Model(images, outputs))
    x = inputs_of(model)
    total = sum(branch(model, f"block.conv_kxk.{index}", x, 1, kernel_size // 2) for index in range(3))
    if kernel_size == 3:
        total += branch(model, "block.conv_scale", x, 1, 0)
    if filters == 8:
        total += normalized(model, "block.identity", x)
    np.testing.assert_allclose(model(x), np.maximum(total, 0), atol=1e-4)


def plain_of(config, fused: keras.Model) -> keras.Model:
    """The plain form of a network, with the weights of its branches as `zoo.fuse` has summed them."""
    plain = zoo.create(replace(config, reparameterized=True), 7, (None, None, 3))
    of_branches = re.compile(r"\.conv_kxk(\.\d)?\.conv$")
    weights = {of_branches.sub(".reparam_conv", layer.name): layer.get_weights() for layer in fused.layers}
    holders = [layer for layer in plain.layers if layer.weights]
    assert {layer.name for layer in holders} == {name for name, values in weights.items() if values}
    for layer in holders:
        layer.set_weights(weights[layer.name])
    return plain


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (RepVGG("a0", 4, drop_path=0.2), 22),
        pytest.param(MobileOne("s1", 8), 43, marks=pytest.mark.heavy),
    ],
)
def test_fused_branches_are_the_plain_form(config, count):
    model = randomized(zoo.create(config, 7, (32, 32, 3)))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert not normalizations(fused) and len(convolutions(fused)) == count
    plain = plain_of(config, fused)
    assert not normalizations(plain) and len(convolutions(plain)) == count
    images = inputs_of(model)
    (expected,), (actual,) = numpy(model(images)), numpy(plain(images))
    check_close(actual, expected)


def test_blocks_with_squeeze_and_excitation_are_fused_too():
    images = keras.Input((8, 8, 16))
    x = blocks.repvgg_block(images, 16, squeeze=4, name="one")
    x = blocks.mobileone_block(x, 16, groups=16, branches=4, squeeze=8, drop_path=0.1, name="two")
    model = randomized(keras.Model(images, x))
    fused = zoo.fuse(model)
    check_same(model, fused)
    kernels = [layer.kernel_size for layer in convolutions(fused)]
    assert kernels == 2 * [(3, 3), (1, 1), (1, 1)] and not normalizations(fused)


def test_groups_are_those_of_every_second_block_of_repvgg():
    config = registry.variant("repvgg_b1").with_groups(4)
    assert config == registry.variant("repvgg_b1g4")
    plain = zoo.create(RepVGG("a0", groups=4, reparameterized=True), 2, (32, 32, 3))
    actual = {layer.name: layer.groups for layer in convolutions(plain)}
    grouped = {name for name, groups in actual.items() if groups == 4}
    assert grouped == {name for name in actual if re.match(r"stages\.\d\.\d*[13579]\.", name)}
    assert {groups for name, groups in actual.items() if name not in grouped} == {1}


def test_groups_of_mobileone_are_those_of_the_spatial_convolutions():
    plain = zoo.create(MobileOne("s1", reparameterized=True), 2, (32, 32, 3), groups=4)
    for layer in convolutions(plain):
        spatial = re.match(r"stages\.\d\.\d*[02468]\.", layer.name)
        assert layer.groups == (4 if spatial else 1), layer.name


@pytest.mark.parametrize("reparameterized", [False, True])
def test_both_forms_train_in_mixed_precision(reparameterized):
    images = keras.Input((8, 8, 16))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        x = blocks.repvgg_block(images, 16, groups=2, drop_path=0.5, reparameterized=reparameterized)
        x = blocks.mobileone_block(x, 16, groups=16, branches=2, reparameterized=reparameterized)
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.Model(images, x)
    outputs = model(inputs_of(model), training=True)
    assert outputs.dtype == "bfloat16" and np.all(np.isfinite(*numpy(outputs)))


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: RepVGG("a0", groups=5), "every grouped convolution of RepVGG a0: use 1, 2, 3, 4, 6, 8"),
    (lambda: zoo.create("repvgg_b1", groups=0), "groups=0 does not divide"),
    (lambda: RepVGG("b9"), "size='b9' is not allowed for RepVGG: did you mean b"),
    (lambda: MobileOne("s7"), "size='s7' is not allowed for MobileOne: did you mean s"),
    (lambda: MobileOne("s0", groups=5), "groups=5 does not divide the channels of every spatial convolution of Mobi"),
])  # fmt: skip
def test_refusals(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
