"""Each operation equals Pillow's to the level; where Pillow has none, timm's or torchvision's of a Pillow image."""

import platform

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from zoo.datasets.augmentation import color, geometry

RANDOM = np.random.default_rng(0)
FILL = {1: [128], 3: [128, 3, 250]}
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def images():
    for channels in (1, 3):
        yield RANDOM.integers(0, 256, (17, 23, channels)).astype(np.uint8)
        yield RANDOM.integers(90, 140, (32, 32, channels)).astype(np.uint8)
        yield np.full((9, 8, channels), 77, np.uint8)
        yield RANDOM.integers(0, 256, (13, 1, channels)).astype(np.uint8)
        yield RANDOM.integers(0, 256, (1, 1, channels)).astype(np.uint8)
        yield np.repeat(RANDOM.integers(0, 256, (20, 20, 1)).astype(np.uint8), channels, -1)  # grey
        yield RANDOM.integers(0, 2, (16, 16, channels)).astype(np.uint8) * 255  # two levels


IMAGES = list(images())


def picture(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def check(operation, by_pillow, tolerance=0):
    for image in IMAGES:
        expected = np.asarray(by_pillow(picture(image))).reshape(image.shape)
        actual = np.asarray(operation(image))
        assert actual.dtype == np.uint8 and actual.shape == image.shape
        if tolerance:
            assert np.abs(actual.astype(int) - expected).max() <= tolerance
        else:
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    "operation, by_pillow",
    [
        (color.invert, ImageOps.invert),
        (color.auto_contrast, ImageOps.autocontrast),
        (color.equalize, ImageOps.equalize),
        (geometry.flip, ImageOps.mirror),
    ],
)
def test_operations_without_an_argument(operation, by_pillow):
    check(operation, by_pillow)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize(bits):
    check(lambda image: color.posterize(image, bits), lambda image: ImageOps.posterize(image, bits))


def test_posterize_to_no_bits_is_black():
    """Pillow 13 refuses it; timm, which asks for it at its highest level, means what Pillow did before."""
    assert not color.posterize(IMAGES[0], 0).numpy().any()


@pytest.mark.parametrize("threshold", [0, 1, 127.5, 128, 246.33, 255, 256])
def test_solarize(threshold):
    check(lambda image: color.solarize(image, threshold), lambda image: ImageOps.solarize(image, threshold))


@pytest.mark.parametrize("addend", [0, 30, 110, 128])
def test_solarize_add(addend):
    def table(bands):
        return [min(255, level + addend) if level < 128 else level for level in range(256)] * bands

    check(lambda image: color.solarize_add(image, addend), lambda image: image.point(table(len(image.getbands()))))


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 1.0, 1.37, 1.9, 3.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "color", "sharpness"])
def test_enhancements(name, factor):
    enhancer = getattr(ImageEnhance, name.capitalize())
    check(lambda image: getattr(color, name)(image, factor), lambda image: enhancer(image).enhance(factor))


@pytest.mark.parametrize("shift", [-0.5, -0.23, 0.0, 0.1, 0.37, 0.5])
def test_hue(shift):
    def by_pillow(image):  # as torchvision's adjust_hue
        if image.mode == "L":
            return image
        hue, saturation, value = image.convert("HSV").split()
        moved = np.asarray(hue) + np.int32(shift * 255).astype(np.uint8)
        return Image.merge("HSV", (Image.fromarray(moved, "L"), saturation, value)).convert("RGB")

    check(lambda image: color.hue(image, shift), by_pillow)


def color_of(image):
    fill = FILL[len(image.getbands())]
    return fill[0] if len(fill) == 1 else tuple(fill)


def check_moved(operation, by_pillow, interpolation):
    # Compilers for ARM fuse Pillow's multiplications and additions, which may end on the other side of a whole level.
    tolerance = 0 if interpolation == "nearest" or platform.machine() in ("x86_64", "AMD64") else 1
    check(lambda image: operation(image, interpolation, FILL[image.shape[-1]]), by_pillow, tolerance)


@pytest.mark.parametrize("degrees", [0.0, 30.0, -17.3, 45.0, 90.0, 180.0, -135.0, 4.5, 270.0])
@pytest.mark.parametrize("interpolation", RESAMPLING)
def test_rotate(interpolation, degrees):
    check_moved(
        lambda image, *arguments: geometry.rotate(image, degrees, *arguments),
        lambda image: image.rotate(degrees, RESAMPLING[interpolation], fillcolor=color_of(image)),
        interpolation,
    )


MOVES = {
    geometry.shear_x: (lambda value: (1, value, 0, 0, 1, 0), (0.0, 0.3, -0.3, 0.99, -0.99, 0.123456, 1.0)),
    geometry.shear_y: (lambda value: (1, 0, 0, value, 1, 0), (0.0, 0.3, -0.3, 0.99, -0.99, 0.123456, 1.0)),
    geometry.translate_x: (lambda value: (1, 0, value, 0, 1, 0), (0.0, 3.0, -5.0, 2.5, -0.3, 7.777, 1000.0, -1.5)),
    geometry.translate_y: (lambda value: (1, 0, 0, 0, 1, value), (0.0, 3.0, -5.0, 2.5, -0.3, 7.777, 1000.0, -1.5)),
}


@pytest.mark.parametrize("interpolation", RESAMPLING)
@pytest.mark.parametrize("operation", MOVES, ids=lambda each: each.__name__)
def test_shear_and_translate(operation, interpolation):
    matrix, values = MOVES[operation]
    for value in values:
        check_moved(
            lambda image, *arguments, value=value: operation(image, value, *arguments),
            lambda image, value=value: image.transform(
                image.size,
                Image.Transform.AFFINE,
                matrix(value),
                RESAMPLING[interpolation],
                fillcolor=color_of(image),
            ),
            interpolation,
        )


@pytest.mark.parametrize("right, down", [(0, 0), (2, -1), (-2, 2)])
def test_shift_is_a_crop_out_of_the_padded_image(right, down):
    for image in IMAGES:
        height, width = image.shape[:2]
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        expected = padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]
        np.testing.assert_array_equal(geometry.shift(image, right, down, 2), expected)
