"""`zoo.fuse` on the smallest network of every family: equal logits, and only the normalisations that have to stay."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from blocks.layers.initializers import without_random_numbers
from helpers.randomized import check_same, inputs_of, normalizations, numpy, randomized
from zoo import registry
from zoo.folding import report

SMALLEST = {
    "resnext": ("resnet26",),
    "resnext_cifar": ("resnext20_16x4d_cifar10",),
    "sk_resnext": ("skresnet18",),
    "res2net": ("res2next50",),
    "resnest": ("resnest14d",),
    "shufflenet_v1": ("shufflenet_g8_wd4",),
    "shufflenet_v2": ("shufflenet_v2_x0_5",),
    "mobilenet_v1": ("mobilenetv1_025",),
    "mobilenet_v2": ("mobilenetv2_035",),
    "mobilenet_v3": ("mobilenetv3_small_050",),
    "regnet": ("regnety_002",),
    "repvgg": ("repvgg_a0",),
    "mobileone": ("mobileone_s1",),
    "convnext": ("convnext_atto",),
    "ghostnet": ("ghostnet_050",),
    "dpn": ("dpn48b",),
    "xception": ("xception41", "xception41p"),  # normalisation behind each convolution, and before
    "mobilenet_v4": ("mobilenetv4_conv_small_035",),
    "efficientnet": ("efficientnet_b0",),
    "mnasnet": ("mnasnet_small",),
    "mixnet": ("mixnet_s",),
    "fbnet": ("spnasnet_100",),
    "lcnet": ("lcnet_035",),
    "alexnet": ("alexnet",),
    "igcv3": ("igcv3_wd4",),
    "condensenet": ("condensenet74_c8_g8",),
}
# What they are made of is in the others: inverted residuals with excitation and without, normalisations behind every
# convolution; test_reparameterization.py merges RepVGG's branches.
HEAVY = {
    "res2next50",
    "efficientnet_b0",
    "mnasnet_small",
    "spnasnet_100",
    "xception41",
    "repvgg_a0",
    "mobileone_s1",
    "igcv3_wd4",
    "mixnet_s",
    "resnext20_16x4d_cifar10",
    "mobilenetv1_025",
    "lcnet_035",
    "mobilenetv4_conv_small_035",
    "alexnet",
}
# Normalisations that precede a convolution and follow none: their names, how many, and the reason given.
STAY = {
    # What begins a block is a concatenation whose parts the next block adds to and appends to, or the pooled stem.
    "dpn48b": (r".*\.c1x1_(a|w_s\d)\.bn|features\.conv5_bn_ac\.bn", 16 + 4 + 1, "used elsewhere|no convolution"),
    # One unit's channels are selected from those of all units before it.
    "condensenet74_c8_g8": (r".*\.conv1\.bn|features\.post_activ\.bn", 36 + 1, "used elsewhere|no convolution"),
    # The first of each module sees a sum; the two inside follow a convolution.
    "xception41p": (r"blocks\.\d+\.norm", 12, "ends in an activation or a sum"),
}


def small(name: str, dtype: str = "float32") -> keras.Model:
    """A network for 10 classes on 64 pixels: random weights, and the statistics that noise has under them.

    Under other statistics gates and clipping saturate, and with offsets around 0 every layer spreads what lies close
    together, until in deep networks rounding alone shows.
    """
    keras.config.set_dtype_policy(dtype)
    try:
        with without_random_numbers():
            model = zoo.create(name, 10, (64, 64, 3), dropout=0.2)
    finally:
        keras.config.set_dtype_policy("float32")
    selections = {weight.path: weight.numpy() for weight in model.weights if "int" in weight.dtype}
    for weight in randomized(model).weights:
        if weight.path in selections:
            weight.assign(selections[weight.path])
        elif weight.name == "beta":
            weight.assign_add(keras.ops.ones_like(weight))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(np.random.default_rng(2).standard_normal((8, 64, 64, 3)).astype("float32"), training=True)
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    return model


def test_every_family_is_among_them():
    assert set(SMALLEST) == set(registry.FAMILIES)
    assert all(name in registry.family(family).VARIANTS for family, names in SMALLEST.items() for name in names)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.heavy) if name in HEAVY else name
        for names in SMALLEST.values()
        for name in names
    ],
)
def test_the_logits_are_equal(name):
    model = small(name)
    before = [weight.numpy() for weight in model.weights]
    fused = zoo.fuse(model)
    check_same(model, fused)
    pattern, count, reason = STAY.get(name, ("", 0, ""))
    left = report(model).left
    assert sorted(left) == sorted(normalizations(fused)) and len(left) == count
    assert all(re.fullmatch(pattern, norm) and re.search(reason, why) for norm, why in left.items())
    assert len(fused.layers) <= len(model.layers) - len(normalizations(model)) + count
    kinds = {type(layer).__name__ for layer in fused.layers}
    assert not kinds & {"Dropout", "LayerScale"}
    holders = {layer.name for layer in fused.layers if layer.weights}
    assert holders <= {layer.name for layer in model.layers if layer.weights}
    assert all(np.array_equal(old, new) for old, new in zip(before, model.weights, strict=True))


@pytest.mark.parametrize("name", ["resnet26", "mobilenetv3_small_050"])
def test_mixed_precision_loses_nothing(name):
    """Against float32, the fused network is no less exact than the one it is made of (both round in bfloat16)."""
    exact, model = small(name), small(name, "mixed_bfloat16")
    model.set_weights(exact.get_weights())
    fused = zoo.fuse(model)
    assert {weight.dtype for weight in fused.weights} == {"float32"}
    assert {layer.compute_dtype for layer in fused.layers if layer.weights} == {"bfloat16"}
    assert not normalizations(fused) and fused.output.dtype == "float32"
    images = inputs_of(model)
    (truth,), (before,), (after,) = (numpy(each(images)) for each in (exact, model, fused))
    assert np.abs(after - truth).max() < 2 * np.abs(before - truth).max() < 0.2 * np.abs(truth).max()


def test_the_layers_of_resnext_50():
    """53 convolutions, with their sums and activations, and what lies around them."""
    with without_random_numbers():
        fused = zoo.fuse(zoo.create("resnext50_32x4d", 10, (32, 32, 3)))
    kinds = [type(layer).__name__ for layer in fused.layers]
    assert len(kinds) == 58 and kinds.count("GroupedConv2D") == 53


def test_fusing_twice_changes_nothing_more():
    model = small("shufflenet_g8_wd4")
    once = zoo.fuse(model)
    twice = zoo.fuse(once)
    images = inputs_of(model)
    np.testing.assert_array_equal(once(images), twice(images))
    assert [layer.name for layer in once.layers] == [layer.name for layer in twice.layers]
    assert once is not twice and once.layers[1].kernel is not twice.layers[1].kernel
