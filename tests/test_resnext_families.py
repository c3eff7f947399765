"""Families made of ResNeXt's bottleneck: their blocks against plain definitions, groups, names, refusals."""

import keras
import numpy as np
import pytest
from keras import layers

import blocks
import zoo
from helpers.randomized import randomized
from zoo import registry
from zoo.models import res2net, resnest, resnext, sk_resnext
from zoo.models.res2net import Res2Net
from zoo.models.residual import block_weights
from zoo.models.resnest import ResNeSt
from zoo.models.resnext import ResNeXt
from zoo.models.resnext_cifar import ResNeXtCIFAR
from zoo.models.sk_resnext import SKResNeXt

DRAW = np.random.default_rng(0)


def softmax(x, axis):
    exponent = np.exp(x - x.max(axis, keepdims=True))
    return exponent / exponent.sum(axis, keepdims=True)


def run(model, name, x, act=None):
    """Layer `name` of `model` on `x`, then the normalisation and activation asked for."""
    x = model.get_layer(name)(x).numpy()
    return np.maximum(x, 0) if act == "relu" else x


@pytest.mark.parametrize(("radix", "groups"), [(1, 1), (1, 2), (2, 1), (2, 3), (4, 2)])
def test_split_attention_is_its_definition(radix, groups):
    """Section 3.1: the channels of group k, candidate r, are weighed by that group's softmax over the candidates."""
    images = keras.Input((5, 6, 24))
    model = randomized(keras.Model(images, blocks.split_attention(images, 24, 12, radix, groups, 2, name="block")))
    x = DRAW.standard_normal((2, 5, 6, 24)).astype("float32")
    actual = model(x).numpy()

    candidates = run(model, "block.bn0", run(model, "block.conv", x))
    candidates = candidates.reshape(2, 3, 3, radix, 24)  # the normalisation has applied the ReLU
    hidden = candidates.sum(axis=3).mean(axis=(1, 2), keepdims=True)
    weights = run(model, "block.fc2", run(model, "block.bn1", run(model, "block.fc1", hidden)))
    weights = weights.reshape(2, groups, radix, 24 // groups)
    expected = np.zeros((2, 3, 3, 24))
    for group in range(groups):
        own = slice(group * 24 // groups, (group + 1) * 24 // groups)
        gate = softmax(weights[:, group], 1) if radix > 1 else 1 / (1 + np.exp(-weights[:, group]))
        for candidate in range(radix):
            expected[..., own] += candidates[:, :, :, candidate, own] * gate[:, None, None, candidate]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("split_input", [False, True])
def test_a_selective_kernel_is_its_definition(split_input):
    images = keras.Input((7, 6, 16))
    outputs = blocks.selective_kernel(images, 12, 4, 2, 2, split_input=split_input, name="block")
    model = randomized(keras.Model(images, outputs))
    x = DRAW.standard_normal((2, 7, 6, 16)).astype("float32")
    inputs = (x[..., :8], x[..., 8:]) if split_input else (x, x)
    paths = []
    for number, part in enumerate(inputs):
        convolution = model.get_layer(f"block.paths.{number}.conv")
        assert convolution.dilation_rate == (number + 1, number + 1) and convolution.groups == 2
        paths.append(run(model, f"block.paths.{number}.bn", run(model, convolution.name, part)))
    hidden = sum(paths).mean(axis=(1, 2), keepdims=True)
    gates = run(model, "block.attn.bn", run(model, "block.attn.fc_reduce", hidden))
    gates = softmax(run(model, "block.attn.fc_select", gates).reshape(2, 1, 1, 2, 12), 3)
    expected = sum(path * gates[..., number, :] for number, path in enumerate(paths))
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "strides", "filters"), [(4, 1, 16), (4, 2, 16), (3, 1, 20), (2, 1, 16), (1, 2, 16)])
def test_a_res2net_block_is_its_definition(scale, strides, filters):
    """Section 3.1: y1 = K1(x1), yi = Ki(xi + y(i-1)), the last subset unchanged; nothing handed on where it strides."""
    images = keras.Input((6, 8, 16))
    block = blocks.res2net_block(images, filters, 4 * scale, scale, 2, strides, name="block")
    model = randomized(keras.Model(images, block))
    x = DRAW.standard_normal((2, 6, 8, 16)).astype("float32")
    subsets = np.split(run(model, "block.bn1", run(model, "block.conv1", x)), scale, axis=-1)
    changes = strides != 1 or filters != 16
    outputs = []
    for number in range(max(1, scale - 1)):
        y = subsets[number] + (outputs[-1] if number and not changes else 0)
        outputs.append(run(model, f"block.bns.{number}", run(model, f"block.convs.{number}", y)))
    if scale > 1 and changes:
        outputs.append(averaged(subsets[-1], strides))
    elif scale > 1:
        outputs.append(subsets[-1])
    convolved = run(model, "block.conv3", np.concatenate(outputs, axis=-1))
    shortcut = run(model, "block.downsample.1", run(model, "block.downsample.0", x)) if changes else x
    expected = model.get_layer("block.bn3")(convolved, residual=shortcut)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def averaged(x, strides):
    """Mean over 3x3 pixels, zeros around the image included."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    rows, columns = range(0, height, strides), range(0, width, strides)
    means = [[padded[:, i : i + 3, j : j + 3].mean(axis=(1, 2)) for j in columns] for i in rows]
    return np.transpose(np.array(means), (2, 0, 1, 3))


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (5, 7)])
def test_a_pooled_shortcut_averages_the_pixels_that_are_there(size):
    images = keras.Input((*size, 3))
    model = randomized(keras.Model(images, blocks.resnet_shortcut(images, 8, 2, pooled=True, name="block")))
    x = DRAW.standard_normal((2, *size, 3)).astype("float32")
    rows, columns = (range(0, length, 2) for length in size)
    means = np.array([[x[:, i : i + 2, j : j + 2].mean(axis=(1, 2)) for j in columns] for i in rows])
    projected = run(model, "block.downsample.1", means.transpose(2, 0, 1, 3).astype("float32"))
    np.testing.assert_allclose(model(x), run(model, "block.downsample.2", projected), rtol=1e-4, atol=1e-5)


def test_squeeze_and_excitation_comes_before_the_sum():
    images = keras.Input((4, 4, 16))
    model = randomized(keras.Model(images, blocks.resnext_block(images, 16, 8, 2, squeeze=4, name="block")))
    x = DRAW.standard_normal((2, 4, 4, 16)).astype("float32")
    y = x
    for number in (1, 2, 3):
        y = run(model, f"block.bn{number}", run(model, f"block.conv{number}", y))
    gate = run(model, "block.se.fc1", y.mean(axis=(1, 2), keepdims=True), act="relu")
    gate = 1 / (1 + np.exp(-run(model, "block.se.fc2", gate)))
    np.testing.assert_allclose(model(x), np.maximum(x + y * gate, 0), rtol=1e-4, atol=1e-5)


@pytest.fixture
def shallow(monkeypatch):
    """One or two blocks a stage in place of a depth of 50 and 101."""
    for module in (resnext, sk_resnext, res2net, resnest):
        monkeypatch.setitem(module.DEPTHS, 50, (1, 2, 1, 1))
        monkeypatch.setitem(module.DEPTHS, 101, (1, 1, 1, 1))


FAMILIES = [
    lambda **more: ResNeXt(50, 4, 4, **more),
    lambda **more: ResNeXt(50, 4, 4, squeeze_ratio=1 / 16, version="d", **more),
    lambda **more: SKResNeXt(50, 4, 8, **more),
    lambda **more: Res2Net(50, 8, 4, **more),
    lambda **more: ResNeSt(50, **more),
]


@pytest.mark.parametrize("make", FAMILIES)
def test_the_rates_of_stochastic_depth_grow_linearly_to_the_last_block(make, shallow):
    model = zoo.create(make(drop_path=0.3), 2, (32, 32, 3), small_stem=True)
    rates = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
    np.testing.assert_allclose(rates, np.linspace(0, 0.3, len(rates) + 1)[1:])
    firsts = ("conv1", "conv1.paths.0.conv", "conv1.conv")  # the first convolution of a block
    count = sum(layer.name.startswith("layer") and layer.name.endswith(firsts) for layer in model.layers)
    assert len(rates) == count - 1


@pytest.mark.parametrize("name", ["resnext50_32x4d", "seresnet50", "skresnext50_32x4d", "skresnet50", "res2next50"])
@pytest.mark.parametrize("groups", [1, 3, 16])
def test_other_groups_keep_the_size(name, groups):
    config = registry.variant(name)
    scale, spatial = getattr(config, "scale", 1), 1
    if "res2" in name:
        spatial = config.convolutions
    elif name.startswith("skresnext"):
        spatial = 2
    other = config.with_groups(groups)
    sizes = [block_weights(each.groups, each.width_per_group, scale, spatial) for each in (config, other)]
    assert other.groups == groups and type(other) is type(config)
    assert max(sizes) / min(sizes) < 1.2


@pytest.mark.parametrize(
    ("config", "groups"),
    [
        (ResNeXtCIFAR(11, 32, 4), 8),
        (ResNeSt(101), 3),
        (ResNeSt(101, radix=4), 2),
        (Res2Net(101, 1, 26), 2),
        (SKResNeXt(18, 1, split=True), 4),
        (SKResNeXt(101, 1, split=True), 3),
    ],
)
def test_groups_reach_every_convolution_in_the_middle(config, groups, shallow):
    model = zoo.create(config, 2, (32, 32, 3), groups=groups, small_stem=True)
    suffixes = ("conv2.conv", ".fc1", ".fc2", "body.conv2.conv", "paths.0.conv", "paths.1.conv")
    if isinstance(config, SKResNeXt):
        suffixes = suffixes[-2:]
    radix = getattr(config, "radix", 1)
    grouped = [layer for layer in model.layers if layer.name.endswith(suffixes) or ".convs." in layer.name]
    assert len(grouped) >= 3
    for layer in grouped:
        assert layer.groups == (groups * radix if layer.name.endswith("conv2.conv") else groups), layer.name


def test_names_say_what_differs_from_the_published_networks():
    assert ResNeXt(50, 1).with_groups(32).name == "resnext50_32x4d"
    assert ResNeXt(101, 16, 8, 1 / 16, version="d").name == "seresnext101d_16x8d"
    assert SKResNeXt(50, 1, split=True).with_groups(4).name == "skresnet50_4x24d"
    assert SKResNeXt(50, 16).name == "skresnext50_16x7d"
    assert SKResNeXt().name == "skresnext50_32x4d" and Res2Net().name == "res2net50_26w_4s"
    assert Res2Net(50, 8).name == "res2next50" and Res2Net(101, 8, 4, version="d").name == "res2next101d"
    assert ResNeSt().name == "resnest50d" and ResNeSt(50, 1, 4).name == "resnest50d_1s4x24d"
    assert ResNeXtCIFAR(29, 8, 64, "cifar100").name == "resnext29_8x64d_cifar100"
    assert registry.variant("resnext29_32x4d_cifar100").num_classes == 100


def test_small_images_have_three_resolutions():
    config = registry.variant("resnext20_16x4d_cifar10")
    for small_stem in (False, True):
        maps = registry.family_of(config).build(config, keras.Input((None, 32, 5)), small_stem)
        assert [feature.shape[2] for feature in maps] == [32, 16, 8]


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: ResNeXt(version="x"), "version='x' is not allowed for ResNeXt: known are b, d, t."),
    (lambda: ResNeXt(drop_path=1.0), "drop_path=1.0 is not allowed for ResNeXt: it is a share"),
    (lambda: ResNeXt(squeeze_ratio=2.0), "squeeze_ratio=2.0 is not allowed for ResNeXt: use 0 to 1"),
    (lambda: ResNeXtCIFAR(30), "depth=30 is not allowed for ResNeXt for CIFAR: use 11, 20, 29"),
    (lambda: ResNeXtCIFAR(dataset="cifar11"), "did you mean cifar10"),
    (lambda: SKResNeXt(18, 3, split=True), "every 3x3 convolution of SK-ResNet-18: use 1, 2, 4, 8, 16, 32; the"),
    (lambda: SKResNeXt(18, 2, 5), "width_per_group=5 is not allowed for SK-ResNet-18: it is 32 with groups=2."),
    (lambda: SKResNeXt(50, 2, 5, split=True), "width_per_group=5 is not allowed for SK-ResNet-50 with split=True"),
    (lambda: SKResNeXt(26), "depth=26 is not allowed for SK-ResNet-26: use 18, 34, 50, 101; the nearest is 18."),
    (lambda: Res2Net(scale=0), "scale=0 is not allowed for Res2Net"),
    (lambda: Res2Net(26), "depth=26 is not allowed for Res2Net: use 50, 101, 152; the nearest is 50."),
    (lambda: ResNeSt(radix=2, width_per_group=39), "radix=2, which must divide it: the nearest is 40."),
    (lambda: ResNeSt().with_groups(1000), "groups=1000 makes a bottleneck of 2 channels a group over twice as large"),
    (lambda: blocks.res2net_block(keras.Input((8, 8, 4)), 4, 9, 4), "scale=4 does not divide 9 channels, one subset"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
