"""Every network of the zoo: counts against the references, finite logits, gradients, files."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from benchmarks.networks import WITHOUT_REFERENCE
from blocks.layers.initializers import without_random_numbers
from helpers.reference import COUNTS
from zoo import registry

pytestmark = pytest.mark.usefixtures("forget_networks")
LIGHT, MIDDLE = 2e6, 8e6  # parameters: those above take long to build, and above the second to train
NAMES = zoo.list_models()


def marked(names, limit: float = LIGHT, among=None) -> list:
    """The names, with the marker those of `limit` parameters and more, and those that are not `among` some."""
    quick = {name for name in among or names if COUNTS[name]["parameters"] < limit}
    return [name if name in quick else pytest.param(name, marks=pytest.mark.heavy) for name in names]


def smallest_of_each_family() -> list[str]:
    """Of every family the network with the fewest parameters."""
    smallest = []
    for each in registry.FAMILIES:
        known = [name for name in registry.family(each).VARIANTS if name in COUNTS]
        smallest.append(min(known, key=lambda name: COUNTS[name]["parameters"]))
    return smallest


SMALLEST = smallest_of_each_family()
# Beside the smallest: ShuffleNet v1 with groups, which shuffles channels, and CIFAR's other cardinality.
COUNTED = {*SMALLEST, "shufflenet_g3_wd4", "resnext20_16x4d_cifar10"}
# Inverted residuals, as of MobileNet v2 and v3 and ShuffleNet; branches, as of RepVGG.
LIKE_OTHERS = {"efficientnet_b0", "mnasnet_small", "spnasnet_100", "mixnet_s", "igcv3_wd4", "mobileone_s1"}
# To train too: convolution, normalisation and shortcuts, which the others have with more besides.
PLAIN = {"mobilenetv1_100", "mobilenetv2_035", "mobilenetv4_conv_small_035", "ghostnet_050", "regnetx_002"}
OTHERS = [name for name in NAMES if name not in SMALLEST]


def test_every_network_has_the_counts_of_a_reference_or_a_reason():
    assert set(NAMES) == set(COUNTS) | set(WITHOUT_REFERENCE)
    assert not set(COUNTS) & set(WITHOUT_REFERENCE)


@pytest.mark.parametrize("name", marked(sorted(COUNTS), among=COUNTED))
def test_counts_are_those_of_the_reference(name):
    """Parameters and multiply-accumulates to the last digit, at the size of the paper's images."""
    expected = COUNTS[name]
    with without_random_numbers():
        model = zoo.create(name, input_shape=(expected["size"], expected["size"], 3))
    profile = zoo.profile(model)
    assert (profile.parameters, profile.macs) == (expected["parameters"], expected["macs"])
    classes = 1000 if expected["size"] == 224 else 100 if name.endswith("cifar100") else 10
    assert model.output_shape == (None, classes)


def trains_and_is_saved(name: str, folder: Path) -> None:
    """Finite logits of the right shape, a finite gradient for every weight, and the same logits from a saved file."""
    size = 64 if COUNTS.get(name, {"size": 224})["size"] == 224 else 32
    keras.utils.set_random_seed(0)
    model = zoo.create(name, num_classes=7, input_shape=(size, size, 3))
    images = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")
    logits = model(images, training=False)
    assert logits.shape == (2, 7) and np.all(np.isfinite(logits)) and np.ptp(logits) > 0
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, training=True) ** 2)
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    without = [weight.path for weight, each in zip(weights, gradients, strict=True) if each is None]
    assert not without
    infinite = [w.path for w, each in zip(weights, gradients, strict=True) if not np.all(np.isfinite(each))]
    assert not infinite
    path = folder / "model.keras"
    model.save(path)
    expected = model(images, training=False)
    np.testing.assert_array_equal(keras.models.load_model(path)(images, training=False), expected)
    path.unlink()


@pytest.mark.parametrize("name", marked(SMALLEST, MIDDLE, among={*SMALLEST} - LIKE_OTHERS - PLAIN))
def test_the_smallest_of_each_family_trains_and_is_saved(name, tmp_path):
    trains_and_is_saved(name, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_network_trains_and_is_saved(name, tmp_path):
    trains_and_is_saved(name, tmp_path)


@pytest.mark.parametrize("name", marked(SMALLEST))
def test_images_of_open_size_and_any_channels(name):
    """One graph for images of several sizes, here with two channels."""
    with without_random_numbers():
        model = zoo.create(name, num_classes=3, input_shape=(None, None, 2))
    for height, width in ((64, 64), (75, 96)):
        assert model(np.ones((1, height, width, 2), "float32")).shape == (1, 3)


@pytest.mark.parametrize("name", marked(SMALLEST, float("inf"), among={*SMALLEST} - LIKE_OTHERS))
def test_feature_maps_halve_from_stem_to_head(name):
    """The maps of a backbone, each half the size of the one before it, but where the paper's strides are others."""
    strides = [info.stride for info in zoo.feature_info(name)]
    special = {"alexnet": [4, 8, 16, 32], "resnext_cifar": [1, 2, 4], "convnext": [4, 8, 16, 32]}
    family = next(each for each in registry.FAMILIES if name in registry.family(each).VARIANTS)
    assert strides == special.get(family, [2, 4, 8, 16, 32])
