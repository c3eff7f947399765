"""`blocks.restore`: models of this package as models that need Keras alone."""

import re

import keras
import numpy as np
import pytest

import blocks
import zoo
from helpers.arrays import draw
from helpers.conversion import check_same_outputs, check_same_training, images_of, randomized
from helpers.families import calibrated, smallest
from helpers.paths import ROOT
from helpers.processes import run_code
from zoo.registry import FAMILIES

pytestmark = pytest.mark.usefixtures("forget_networks")
QUICK = ("lcnet",)
ALONE = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model(np.load(sys.argv[2])))
assert not {"blocks", "zoo"} & {*sys.modules}
"""


def of_keras(model: keras.Model) -> bool:
    return all(type(layer).__module__.startswith("keras.") for layer in model.layers)


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[] if key in QUICK else pytest.mark.heavy) for key in sorted(FAMILIES)]
)
def test_networks_need_keras_alone(key, tmp_path):
    """Within what rounding becomes in the deepest of them; each layer alone is compared more closely below."""
    images = draw(2, 64, 64, 3)
    model = calibrated(smallest(key), images)
    new, report = blocks.restore(model, report=True)
    assert not report.left and of_keras(new)
    check_same_outputs(new, model, images, tolerance=1e-3)
    new.save(tmp_path / "new.keras")
    np.save(tmp_path / "images.npy", images)
    run_code(ALONE, *(tmp_path / name for name in ("new.keras", "images.npy", "outputs.npy")), PYTHONPATH="")
    check_same_outputs(lambda _: np.load(tmp_path / "outputs.npy"), new, images)


def test_a_fused_network_needs_keras_alone():
    model = zoo.fuse(randomized(zoo.create("shufflenet_g3_w1", 10, (64, 64, 3))))
    new, report = blocks.restore(model, report=True)
    assert not report.left and of_keras(new)
    check_same_outputs(new, model, draw(2, 64, 64, 3))


def test_layers_become_operations_that_learn_the_same():
    images = keras.Input((8, 8, 8), name="images")
    halves = blocks.ChannelShuffle(2, num_outputs=2, name="halves")(images)
    x = blocks.ChannelShuffle(4, name="joined")([halves[1], images])
    x = blocks.ChannelSelection(6, groups=2, name="selection")(x)
    mean, x = blocks.ImageMean(name="mean")(x)
    x = blocks.ChannelGate(name="gate")(x, mean)
    x = blocks.SoftmaxSum(2, name="sum")([x, x], keras.layers.Concatenate()([mean, mean]))
    x = blocks.DualPathMerge(4, name="merge")(x, x)
    x = blocks.LocalResponseNormalization(3, alpha=0.5, name="response")(blocks.LayerScale(0.5, name="scale")(x))
    small = blocks.PaddedPooling2D("average", 3, 2, padding="same", name="pool")(x)
    x = blocks.ResizeLike(name="resize")(blocks.AdaptiveAveragePooling2D((3, 2), name="adaptive")(x), small)
    x = blocks.GroupedConv2D(6, 3, 2, padding=2, dilation_rate=2, activation="tanh", name="sparse")(x)
    model = randomized(keras.Model(images, x))
    model.get_layer("selection").index.assign([9, 0, 0, 3, 5, 8])
    new, report = blocks.restore(model, report=True)
    assert not report.left and of_keras(new)
    assert report.exchanged["joined"] == "ChannelShuffle -> operations of Keras"
    assert report.exchanged["gate"] == "ChannelGate -> operations of Keras"
    assert report.exchanged["scale"] == "LayerScale -> EinsumDense"
    check_same_outputs(new, model, images_of(model))
    for each in (new, model):
        each.compile("sgd", "mse")
        each.train_on_batch(images_of(model), np.ones((4, *model.output_shape[1:]), "float32"))
    for name in ("scale", "sparse"):
        for mine, its in zip(new.get_layer(name).weights, model.get_layer(name).weights, strict=True):
            np.testing.assert_allclose(mine, its, atol=1e-5)


def test_it_says_what_keras_cannot_express():
    images = keras.Input((None, None, 8))
    x = blocks.GroupedConv2D(6, 3, groups=(2, 6), name="uneven")(images)
    x = blocks.GroupedConv2D(6, 3, strides=2, dilation_rate=2, padding="same", name="sparse")(x)
    x = blocks.ResizeLike(name="resize")(x, images)
    x = blocks.AdaptiveAveragePooling2D(2, name="adaptive")(x)
    x = blocks.DepthwiseSeparableConv2D(4, 1, name="separable")(x)
    model = randomized(keras.Model(images, x))
    with pytest.warns(UserWarning, match="uneven"):
        blocks.restore(model)
    new, report = blocks.restore(model, report=True)
    assert report.left == {
        "uneven": "its groups differ in size",
        "sparse": "Keras does not stride ((2, 2)) and dilate ((2, 2)) at once",
        "resize": "Keras resizes so to sizes that are known alone",
        "adaptive": "Keras's layer of that name needs height and width of its inputs",
        "separable": "Keras has no layer that is a DepthwiseSeparableConv2D",
    }
    check_same_outputs(new, model, draw(2, 9, 9, 8), tolerance=1e-6)


def test_restored_residuals_activations_and_paddings_are_layers():
    images = keras.Input((8, 8, 4), name="images")
    x = blocks.GroupedConv2D(4, 3, padding=1, groups=2, name="first")(images)
    x = blocks.BatchNormalization(activation="silu", name="norm")(x, residual=images)
    x = blocks.GroupedConv2D(4, 3, padding="same", activation="relu", name="second")(x, residual=images)
    x = blocks.PaddedPooling2D("max", 3, 2, padding=1, name="pool")(x - 1)
    model = randomized(keras.Model(images, x))
    new, report = blocks.restore(model, report=True)
    assert not report.left and all(type(layer).__module__.startswith("keras.") for layer in new.layers)
    check_same_outputs(new, model, images_of(model))


@pytest.mark.heavy
def test_without_blocks_keras_says_of_a_converted_file_what_the_page_says(tmp_path):
    images = keras.Input((8, 8, 3))
    blocks.convert(keras.Model(images, keras.layers.Conv2D(4, 3)(images))).save(tmp_path / "fast.keras")
    code = "import sys, keras\ntry:\n keras.models.load_model(sys.argv[1])\nexcept TypeError as error:\n print(error)"
    page = " ".join((ROOT / "docs" / "speed-up.md").read_text().split())
    (sentence,) = re.findall(r"`(Could not locate class .*?) \.\.\.`", page)
    assert sentence in run_code(code, tmp_path / "fast.keras", cwd=tmp_path, PYTHONPATH="")


def test_layer_normalisations_and_activations_come_and_go(tmp_path):
    images = keras.Input((8, 8, 32), name="images")
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(images)
    for name in ("gelu", "tanh", "silu"):
        x = keras.layers.Activation(name, name=name)(x)
    x = keras.layers.LayerNormalization(axis=[1, 2, 3], center=False, name="of_all")(x)
    model = randomized(keras.Model(images, keras.layers.Flatten(name="flat")(x)))
    fast, report = blocks.convert(model, report=True)
    kinds = {"norm": "LayerNormalization", "gelu": "Activation", "silu": "Activation", "of_all": "LayerNormalization"}
    assert report.exchanged == {name: f"{kind} -> {kind} of blocks" for name, kind in kinds.items()}
    assert type(fast.get_layer("tanh")) is keras.layers.Activation
    check_same_outputs(fast, model, images_of(model))
    fast.save(tmp_path / "fast.keras")
    check_same_outputs(keras.models.load_model(tmp_path / "fast.keras"), fast, images_of(model), tolerance=0)
    stock = blocks.restore(fast)
    assert of_keras(stock)
    check_same_outputs(stock, model, images_of(model))
    check_same_training(fast, stock, images_of(model), draw(4, 2048))
