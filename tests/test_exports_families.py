"""The smallest network of every family in every runtime: outputs, grouped operators, and the accuracy of int8."""

import keras
import pytest
from sklearn.datasets import load_digits

import blocks
import zoo
import zoo.exporting
from helpers.arrays import draw
from helpers.families import calibrated, smallest
from zoo.registry import FAMILIES

SIZE = 64
QUICK = {"onnx": ("lcnet",), "litert": (), "savedmodel": (), "openvino": (), "litert-int8": ()}


def cases(*formats: str) -> list:
    """Every format with every family; most of them take long together."""
    return [
        pytest.param(name, key, marks=[] if key in QUICK[name] else pytest.mark.heavy)
        for name in formats
        for key in sorted(FAMILIES)
    ]


@pytest.mark.parametrize("name, key", cases("onnx", "litert", "savedmodel", "openvino"))
def test_every_family_computes_the_same_elsewhere(name, key, tmp_path):
    images = draw(8, SIZE, SIZE, 3)
    path = tmp_path / f"net{zoo.exporting.FORMATS[name].suffix}"
    report = zoo.export(calibrated(smallest(key), images), path, name, images=images)
    assert report.difference < 1e-4
    assert report.grouped_convolutions == report.model_grouped_convolutions


@pytest.fixture(scope="module")
def digits():
    """Images (N, 8, 8, 1) and labels: to train on, and to validate on."""
    data = load_digits()
    images = ((data.images[..., None] / 16 - 0.3) / 0.4).astype("float32")
    return images[:1437], data.target[:1437], images[1437:], data.target[1437:]


def fitted(model: keras.Model, images, labels, epochs: int) -> keras.Model:
    """`model`, trained."""
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * (len(images) // 32))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate), loss, jit_compile=False)
    model.fit(images, labels, epochs=epochs, verbose=0)
    return model


@pytest.mark.heavy
def test_int8_keeps_the_accuracy_and_the_classes(digits, tmp_path):
    """Of a small network with grouped and depthwise convolutions, with hard and soft activations."""
    keras.utils.set_random_seed(0)
    train, labels, validation, truth = digits
    images = keras.Input(train.shape[1:], name="images")
    x = blocks.conv_norm(images, 32, 3, act="hard_silu")
    x = blocks.resnext_block(x, 64, 32, 8)
    x = blocks.mobilenet_v3_block(x, 32, 96, 2, squeeze=24)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = fitted(keras.Model(images, blocks.Dense(10, name="logits")(x)), train, labels, epochs=6)
    report = zoo.export(model, tmp_path / "net.tflite", "litert-int8", images=(validation, truth))
    assert report.model_top1 > 0.9 and report.top1 >= report.model_top1 - 0.01 and report.agreement >= 0.95, report


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name, key", cases("litert-int8"))
def test_int8_keeps_the_accuracy(name, key, digits, tmp_path):
    """Within one point, on the validation images of the handwritten digits, which it is calibrated on.

    CondenseNet loses 1.4: all features of a stage share one range, that of the concatenations which they go through.
    """
    keras.utils.set_random_seed(0)
    train, labels, validation, truth = digits
    size = {"alexnet": 64, "condensenet": 64, "xception": 64, "mobileone": 32}.get(key, 8)  # that the network needs
    if size > 8:
        train, validation = (images.repeat(size // 8, 1).repeat(size // 8, 2) for images in (train, validation))
    model = zoo.create(smallest(key), 10, train.shape[1:], small_stem=size < SIZE)
    epochs = {8: 20, 32: 8, 64: 3}[size]
    fitted(model, train, labels, 40 if key == "shufflenet_v1" else epochs)  # its smallest learns slowly
    report = zoo.export(model, tmp_path / "net.tflite", name, images=(validation, truth))
    assert report.model_top1 > 0.5 and report.top1 >= report.model_top1 - (0.02 if key == "condensenet" else 0.01), (
        report
    )
