"""`zoo.preprocessing`: a picture becomes what timm's own transform makes of it."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from helpers.pictures import PLAIN
from zoo.input_pipeline import Preprocessing, decode, preprocessing
from zoo.weights.published import resolve, tags

PICTURES = Path(sklearn.datasets.__file__).parent / "images"
CHINA = str(PICTURES / "china.jpg")  # 427 x 640
GOLDENS = json.loads(Path(__file__).with_name("timm_pictures.json").read_text())["cases"]


def name_of(case: dict) -> str:
    return f"{case['picture']}-{case['size']}-{case['interpolation']}-{case['crop_mode']}"


@pytest.mark.parametrize("case", GOLDENS, ids=name_of)
def test_a_picture_is_what_timm_makes_of_it(case):
    image = decode(tf.io.read_file(str(PICTURES / case["picture"]))).numpy()
    if case["transposed"]:
        image = image.transpose(1, 0, 2)
    keys = ("size", "crop", "interpolation", "crop_mode")
    pipeline = Preprocessing(**{key: case[key] for key in keys}, mean=(0.485, 0.456, 0.406), std=(1, 1, 1))
    levels = (pipeline(image[None])[0].numpy() + np.array(pipeline.mean)) * 255
    assert levels.shape == (case["size"], case["size"], 3)
    assert abs(levels.mean() - case["mean"]) < 0.01
    at = np.linspace(0, case["size"] - 1, 9).astype(int)
    difference = np.abs(levels[np.ix_(at, at)].ravel() - case["grid"])
    assert difference.max() < 1.01 and np.mean(difference > 0.01) < 0.02


def weights(before: int, after: int, cubic: bool) -> np.ndarray:
    """PIL's definition, (after, before) in float64."""
    centres = (np.arange(after)[:, None] + 0.5) * before / after
    distance = np.abs((np.arange(before) + 0.5 - centres) / max(1.0, before / after))
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    shares = np.where(distance < 1, near, np.where(distance < 2, far, 0)) if cubic else np.clip(1 - distance, 0, 1)
    return shares / shares.sum(axis=1, keepdims=True)


def resized(image: np.ndarray, rows: int, columns: int, cubic: bool) -> np.ndarray:
    wide = np.clip(np.floor(np.einsum("hwc,ow->hoc", image, weights(image.shape[1], columns, cubic)) + 0.5), 0, 255)
    return np.clip(np.floor(np.einsum("hwc,oh->owc", wide, weights(image.shape[0], rows, cubic)) + 0.5), 0, 255)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(40, 61), (97, 33), (7, 5), (1, 1), (1, 9), (3, 900)])
def test_resizing_equals_its_definition(height, width, interpolation):
    """Up to sums of exactly half a level, which float32 may round the other way."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    cubic = interpolation == "bicubic"
    squashed = Preprocessing(24, 1.0, interpolation=interpolation, crop_mode="squash", **PLAIN)(image).numpy() * 255
    difference = np.abs(squashed - resized(image, 24, 24, cubic))
    assert difference.max() < 1.01 and np.mean(difference > 0.01) < 0.05

    centred = Preprocessing(24, 0.9, interpolation=interpolation, **PLAIN)(image).numpy() * 255
    rows, columns = (26 * side // min(height, width) for side in (height, width))
    top, left = (round((side - 24) / 2) for side in (rows, columns))
    expected = resized(image, rows, columns, cubic)[top : top + 24, left : left + 24]
    difference = np.abs(centred - expected)
    assert difference.max() < 1.01 and np.mean(difference > 0.01) < 0.05


def test_the_sizes_and_numbers_are_those_of_the_weights():
    tag = "timm/resnext50_32x4d.a1h_in1k"
    pipeline = preprocessing(tag)
    assert (pipeline.size, pipeline.resized, pipeline.interpolation) == (224, 235, "bicubic")
    assert pipeline.mean == (0.485, 0.456, 0.406)
    tested = preprocessing(resolve(tag), test=True)
    assert (tested.size, tested.resized) == (288, 288)
    assert preprocessing(tag, size=160).size == 160 and preprocessing(tag, size=160).resized == 168
    assert preprocessing("torchvision/resnet50.IMAGENET1K_V2").resized == 232
    assert preprocessing("pytorchcv/shufflenet_g1_w1").resized == 256
    for each in tags():
        assert preprocessing(each, test=True).resized >= preprocessing(each, test=True).size


def test_pictures_come_as_batches_files_bytes_and_through_tf_data():
    pipeline = preprocessing("torchvision/resnet50.IMAGENET1K_V1", size=64)
    encoded = Path(CHINA).read_bytes()
    image = decode(tf.constant(encoded)).numpy()
    expected = pipeline(image[None]).numpy()
    assert expected.shape == (1, 64, 64, 3) and expected.dtype == "float32" and -3 < expected.min() < 0 < expected.max()
    for picture in (CHINA, Path(CHINA), encoded):
        np.testing.assert_array_equal(pipeline(picture), expected)
    np.testing.assert_array_equal(pipeline(image), expected[0])
    np.testing.assert_array_equal(pipeline.read(CHINA), expected[0])
    np.testing.assert_array_equal(pipeline(np.stack([image, image[::-1]]))[0], expected[0])
    files = tf.data.Dataset.from_tensor_slices([CHINA, str(PICTURES / "flower.jpg")])
    batch = next(iter(files.map(pipeline.read).batch(2)))
    assert batch.shape == (2, 64, 64, 3)
    np.testing.assert_allclose(batch[0], expected[0], atol=0.02)
    images = tf.data.Dataset.from_tensors(image).map(pipeline)
    np.testing.assert_allclose(next(iter(images)), expected[0], atol=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_any_kind(channels):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, channels), np.uint8)
    np.testing.assert_array_equal(decode(tf.io.encode_png(image)), np.broadcast_to(image, (20, 30, 3)))


def test_it_is_saved_exported_and_part_of_a_model(tmp_path):
    pipeline = preprocessing("timm/mobilenetv3_small_050.lamb_in1k", size=32)
    images = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(pipeline(images)))
    assert pipeline(images).shape == (None, 32, 32, 3)
    pictures = decode(tf.io.read_file(CHINA)).numpy()[None]
    expected = model(pictures).numpy()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(pictures), expected)
    assert loaded.get_layer("preprocessing").get_config() == pipeline.get_config()
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported")).serve(tf.constant(pictures))
    np.testing.assert_allclose(served, expected, atol=1e-3)


def test_it_computes_in_float32_whatever_the_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        pipeline = preprocessing("torchvision/resnet50.IMAGENET1K_V1", size=32)
    finally:
        keras.config.set_dtype_policy("float32")
    assert pipeline(CHINA).dtype == "float32"
    np.testing.assert_array_equal(pipeline(CHINA), preprocessing("torchvision/resnet50.IMAGENET1K_V1", size=32)(CHINA))


def test_the_border_is_the_mean():
    pipeline = Preprocessing(30, 1.0, (0.5, 0.25, 0.75), (1, 1, 1), crop_mode="border")
    wide = pipeline(np.zeros((10, 30, 3), np.uint8)).numpy()
    np.testing.assert_allclose(wide[:10], np.broadcast_to(wide[0, 0], (10, 30, 3)))
    assert np.abs(wide[[0, -1]]).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_allclose(wide[10:20], np.broadcast_to([-0.5, -0.25, -0.75], (10, 30, 3)))


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: preprocessing("timm/resnext50_32x4d.a1h"), "did you mean timm/resnext50_32x4d.a1h_in1k"),
    (lambda: preprocessing("resnext50_32x4d"), "is a network; its published weights are timm/"),
    (lambda: preprocessing("timm/resnext50_32x4d.a1h_in1k", size=0), "size=0 is not allowed"),
    (lambda: Preprocessing(crop=1.5), "crop=1.5 is not allowed: it is a share"),
    (lambda: Preprocessing(interpolation="nearest"), "interpolation='nearest' is not known: use bilinear, bicubic."),
    (lambda: Preprocessing(crop_mode="middle"), "crop_mode='middle' is not known: use center, squash, border."),
    (lambda: Preprocessing(std=(1, 0, 1)), "are not allowed: give three numbers each, std above 0"),
    (lambda: Preprocessing()(np.zeros((2, 8, 8, 1), np.uint8)), "Pictures of shape (2, 8, 8, 1) are not allowed"),
    (lambda: Preprocessing()(np.zeros((2, 0, 8, 3), np.uint8)), "Pictures of shape (2, 0, 8, 3) are not allowed"),
    (lambda: Preprocessing()(np.zeros((2, 8, 8, 3), "uint16")), "Pictures of uint16 are not allowed: give uint8"),
    (lambda: Preprocessing()(np.zeros((2, 8, 8, 3), "int8")), "Pictures of int8 are not allowed: give uint8"),
    (lambda: Preprocessing()(np.zeros((2, 8, 8, 3), "bool")), "Pictures of bool are not allowed: give uint8"),
    (lambda: Preprocessing()([np.zeros((8, 8, 3), np.uint8)] * 2), "A list or a ragged tensor of pictures"),
    (lambda: Preprocessing()(tf.ragged.constant([[[[1, 2, 3]]], [[[4, 5, 6]] * 2]])), "or a ragged tensor"),
    (lambda: Preprocessing()(b"GIF of nothing"), "What was given is not a JPEG, PNG, GIF or BMP picture"),
    (lambda: Preprocessing()(Path(CHINA).read_bytes()[:9000]), "or a damaged one"),
    (lambda: Preprocessing()(__file__), "test_preprocessing.py is not a JPEG, PNG, GIF or BMP picture"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="no_such.jpg cannot be read: No such file or directory"):
        Preprocessing()("no_such.jpg")
