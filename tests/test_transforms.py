"""One resizing for training's evaluation and for zoo.preprocessing, equal to Pillow's in every interpolation."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from helpers.pictures import PLAIN, picture
from zoo import transforms
from zoo.data_config import INTERPOLATIONS
from zoo.datasets import augment
from zoo.datasets.config import DatasetConfig
from zoo.input_pipeline import Preprocessing

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
SIZES = [  # height, width
    (427, 640), (640, 427), (375, 500), (500, 375), (333, 500), (151, 100),
    (48, 64), (97, 33), (96, 96), (224, 224), (3, 200), (9, 1),
]  # fmt: skip


def resize_by_pillow(image: np.ndarray, height: int, width: int, interpolation: str) -> Image.Image:
    """First over the width, as Pillow does by itself up to version 12; version 13 may start with the height."""
    image = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    method = FILTERS[interpolation]
    return image.resize((width, image.height), method).resize((width, height), method)


def torchvision_square(image: np.ndarray, size: int, side: int, interpolation: str) -> np.ndarray:
    """Resize(side) and CenterCrop(size) by torchvision's rules on a Pillow image."""
    height, width = image.shape[:2]
    long = int(side * max(height, width) / min(height, width))
    height, width = (side, long) if height <= width else (long, side)
    left, top = (round((side - size) / 2) for side in (width, height))
    square = resize_by_pillow(image, height, width, interpolation).crop((left, top, left + size, top + size))
    return np.asarray(square).reshape(size, size, -1).astype(int)


def config_of(size: int, crop: float, interpolation: str, channels: int = 3) -> DatasetConfig:
    return DatasetConfig(image_size=size, channels=channels, crop_fraction=crop, resize_method=interpolation)


def in_graph(config: DatasetConfig):
    """The training pipeline's evaluation view, of pictures whose size is not known beforehand."""
    spec = tf.TensorSpec((None, None, config.channels), tf.uint8)
    return tf.function(lambda image: augment.centre_square(image, config), input_signature=[spec])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "side"), [(96, 109), (224, 256)])
def test_training_and_preprocessing_equal_torchvision_on_pillow(size, side, interpolation):
    square = in_graph(config_of(size, 0.875, interpolation))
    layer = Preprocessing(size, 0.875, interpolation=interpolation, **PLAIN)
    for shape in SIZES:
        image = picture(*shape)
        expected = torchvision_square(image, size, side, interpolation)
        np.testing.assert_array_equal(square(image), expected, str(shape))
        np.testing.assert_array_equal(np.round(layer(image).numpy() * 255), square(image).numpy(), str(shape))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_interpolation_of_the_configuration_is_pillows(interpolation, channels):
    square = in_graph(config_of(24, 0.9, interpolation, channels))
    shapes = [(1, 1), (1, 40), (60, 1), (7, 5), (26, 26), (24, 31), (2, 700), (49, 98), (107, 53), (13, 12), (300, 211)]
    for height, width in shapes:
        image = picture(height, width, channels)
        expected = torchvision_square(image, 24, 26, interpolation)
        np.testing.assert_array_equal(square(image), expected, str((height, width)))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_sums_of_half_a_level_are_rounded_as_pillow_rounds_them(interpolation):
    """Sides whose ratio is simple, where many sums are halves but for the rounding of Pillow's weights to 22 bits."""
    shapes = [
        (32, 32, 70),
        (9, 12, 45),
        (16, 16, 64),
        (16, 24, 80),
        (60, 60, 25),
        (96, 64, 40),
        (5, 5, 640),
        (200, 300, 3),
    ]
    for height, width, size in shapes:
        image = picture(height, width)
        expected = torchvision_square(image, size, size, interpolation)
        levels = transforms.resize_and_crop(image[None], size, size, interpolation)[0]
        np.testing.assert_array_equal(levels, expected, str((height, width, size)))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_random_box_is_resized_as_pillow_does(interpolation):
    """A box of the whole picture, so that only the resizing is left of the augmentation."""
    image = picture(45, 30)
    config = DatasetConfig(
        image_size=32, channels=3, resize_method=interpolation, crop_area=[1.0, 1.0], crop_aspect=[30 / 45, 30 / 45]
    )
    encoded = tf.io.encode_png(image)
    square = augment.random_resized_square(encoded, tf.constant([1, 2], tf.int64), config)
    np.testing.assert_array_equal(square, np.asarray(resize_by_pillow(image, 32, 32, interpolation)))


def test_very_long_and_large_pictures():
    for height, width in [(1, 4096), (4096, 3), (3000, 4096)]:
        image = picture(height, width)
        square = in_graph(config_of(32, 0.875, "bicubic"))(image)
        np.testing.assert_array_equal(square, torchvision_square(image, 32, 36, "bicubic"))


def test_a_size_of_which_one_side_is_known():
    image = picture(40, 60)
    spec = tf.TensorSpec((None, 40, None, 3), tf.uint8)
    layer = Preprocessing(24, 0.875)
    np.testing.assert_array_equal(tf.function(layer, input_signature=[spec])(image[None]), layer(image[None]))


@pytest.mark.parametrize("kind", ["int32", "int64", "float16", "bfloat16", "float32", "float64"])
def test_other_number_types_give_what_uint8_gives(kind):
    images, layer = picture(40, 60)[None], Preprocessing(24, 0.875)
    expected = layer(images)
    np.testing.assert_array_equal(layer(tf.cast(images, kind)), expected)
    mapped = tf.data.Dataset.from_tensors(tf.cast(images, kind)).map(layer)
    np.testing.assert_array_equal(next(iter(mapped)), expected)
    if kind == "float32":
        model = keras.Sequential([keras.Input((None, None, 3)), layer])
        np.testing.assert_array_equal(model.predict(images.astype(kind), verbose=0), expected)


def test_floats_between_levels_are_not_rounded_before_they_are_resized():
    flat = np.full((1, 40, 60, 3), 100.4, "float32")
    np.testing.assert_allclose(Preprocessing(24, 1.0, **PLAIN)(flat) * 255, 100, atol=1e-4)
    ramp = np.full((1, 2, 2, 3), 100, "float32") + np.array([0.4, 0.8], "float32")[:, None, None]
    averaged = Preprocessing(1, 1.0, **PLAIN)(ramp) * 255  # whole levels after either pass: (100 + 101) / 2, rounded up
    np.testing.assert_allclose(averaged, 101, atol=1e-4)


def test_nan_stays_in_its_picture_and_is_not_hidden():
    images = np.stack([picture(40, 60)] * 2).astype("float32")
    images[0, 20, 30] = np.nan
    is_nan = np.isnan(Preprocessing(24, 0.875)(images).numpy())
    assert is_nan[0].any() and not is_nan[1].any()


def test_what_is_not_known_is_refused():
    assert tuple(FILTERS) == INTERPOLATIONS
    for wrong in ({"interpolation": "lanczos"}, {"crop_mode": "middle"}):
        with pytest.raises(ValueError, match="is not known: use"):
            transforms.resize_and_crop(picture(8, 8)[None], 4, 4, **wrong)


def test_an_empty_batch():
    layer = Preprocessing(24, 0.875)
    assert layer(np.zeros((0, 40, 60, 3), np.uint8)).shape == (0, 24, 24, 3)
    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    assert tf.function(layer, input_signature=[spec])(np.zeros((0, 40, 60, 3), np.uint8)).shape == (0, 24, 24, 3)


@pytest.mark.parametrize("convert", (np.asarray, tf.constant), ids=("numpy", "TensorFlow"))
def test_levels_of_any_kind_are_normalised(convert):
    levels = np.array([[0, 51, 255]], "uint8")
    mean, std = (0.5, 0.2, 0.5), (0.5, 1.0, 0.25)
    normalised = np.asarray(transforms.normalise(convert(levels), mean, std))
    assert normalised.dtype == "float32"
    np.testing.assert_allclose(normalised, (levels / 255 - mean) / std, atol=1e-6)


def rectangle_by_pillow(image: np.ndarray, size: tuple, sides: tuple, crop_mode: str) -> np.ndarray:
    """Resized so that it covers `sides`, fits into them, or has them; then a rectangle from the middle."""
    height, width = image.shape[:2]
    scales = Fraction(sides[0], height), Fraction(sides[1], width)
    if crop_mode == "squash":
        rows, columns = sides
    elif crop_mode == "center":
        rows, columns = (int(length * max(scales)) for length in (height, width))
    else:
        rows, columns = (max(1, round(length * min(scales))) for length in (height, width))
    resized = resize_by_pillow(image, rows, columns, "bilinear")
    left, top = (-((own - after) // 2) if after < own else round((after - own) / 2)
                 for after, own in ((columns, size[1]), (rows, size[0])))  # fmt: skip
    return np.asarray(resized.crop((left, top, left + size[1], top + size[0])))


@pytest.mark.parametrize("crop_mode", transforms.CROP_MODES)
@pytest.mark.parametrize(("size", "sides"), [((40, 24), (45, 27)), ((16, 20), (20, 20))])
def test_rectangles_are_pillows_on_every_side_of_tensorflow(size, sides, crop_mode):
    """On NumPy's arrays, of which there are arrays again, on tensors, and where no size is known before."""

    def resized(images):
        return transforms.resize_and_crop(images, size, sides, "bilinear", crop_mode)

    dynamic = tf.function(resized, input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)])
    for shape in SIZES[5::2]:
        image = picture(*shape)
        expected = rectangle_by_pillow(image, size, sides, crop_mode)
        ours = resized(image[None])
        assert type(ours) is np.ndarray and ours.dtype == np.uint8
        for actual in (ours, resized(tf.constant(image[None])), dynamic(image[None])):
            np.testing.assert_array_equal(np.asarray(actual)[0], expected, f"{shape}")
