"""An image resized within a data set: the kernel and TensorFlow's operations give Pillow's levels."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from blocks.kernels.build import library
from helpers.kernels import needs_kernels
from zoo import transforms
from zoo.datasets import resizing

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, "uint8")


@needs_kernels
@pytest.mark.parametrize("interpolation", RESAMPLING)
@pytest.mark.parametrize("crop_mode, size, side", [("squash", 24, 24), ("center", 24, 27), ("center", 5, 9)])
@pytest.mark.parametrize("shape", [(40, 61, 3), (61, 40, 1), (9, 70, 3), (24, 24, 4), (1, 1, 3), (2, 3, 1)], ids=str)
def test_the_kernel_gives_what_tensorflows_operations_give(shape, crop_mode, size, side, interpolation):
    image = drawn(*shape)
    expected = transforms.resize_and_crop(image[None], size, side, interpolation, crop_mode)[0]
    np.testing.assert_array_equal(resizing.resize_and_crop(image, size, side, interpolation, crop_mode), expected)

    @tf.function(input_signature=[tf.TensorSpec((None, None, shape[-1]), tf.uint8)])
    def of_open_size(image):
        return resizing.resize_and_crop(image, size, side, interpolation, crop_mode)

    graph = of_open_size.get_concrete_function()
    assert graph.structured_outputs.shape == (size, size, shape[-1])
    assert "BlocksResize" in {each.type for each in graph.graph.get_operations()}
    np.testing.assert_array_equal(graph(image), expected)


@pytest.mark.parametrize("kernels", [pytest.param(True, marks=needs_kernels), False])
@pytest.mark.parametrize("interpolation", RESAMPLING)
def test_it_is_pillows(interpolation, kernels, monkeypatch):
    if not kernels:
        monkeypatch.setattr(resizing, "library", lambda: None)
    for height, width in ((50, 75), (75, 50), (7, 5), (40, 300)):
        image = drawn(height, width, 3)
        expected = Image.fromarray(image).resize((32, height), RESAMPLING[interpolation])  # Pillow 13 has another order
        expected = np.asarray(expected.resize((32, 32), RESAMPLING[interpolation]))
        squashed = resizing.resize_and_crop(tf.constant(image), 32, 32, interpolation, "squash")
        np.testing.assert_array_equal(squashed, expected)


@needs_kernels
def test_sums_of_weights_beyond_64_bits():
    """An image so long that Keys' function in whole numbers does not fit them."""
    image = drawn(1, 300_000, 1)
    expected = np.asarray(Image.fromarray(image[..., 0]).resize((3, 1), Image.Resampling.BICUBIC))
    rows, columns = [1, 0, 1], [3, 0, 3]
    resized = library().blocks_resize(image, rows, columns, filter="bicubic")
    np.testing.assert_array_equal(resized[..., 0], expected)


@pytest.mark.parametrize(
    "interpolation, crop_mode", [("area", "squash"), ("nearest", "center"), ("bilinear", "border")]
)
def test_what_the_kernel_does_not_compute_is_computed_too(interpolation, crop_mode):
    image = drawn(20, 33, 3)
    expected = transforms.resize_and_crop(image[None], 8, 8, interpolation, crop_mode, (1, 2, 3))[0]
    actual = resizing.resize_and_crop(tf.constant(image), 8, 8, interpolation, crop_mode, (1, 2, 3))
    np.testing.assert_array_equal(actual, expected)


@needs_kernels
@pytest.mark.parametrize("shape, line, message", [
    ((4, 4), (2, 0, 2), "H, W, C"),
    ((4, 4, 0), (2, 0, 2), "1 channels or more"),
    ((0, 4, 3), (2, 0, 2), "line of 0 pixels"),
    ((4, 4, 3), (2, 1, 2), "2 cannot be kept from 1 on"),
    ((4, 4, 3), (2, -1, 2), "cannot be kept"),
    ((4, 4, 3), (2, 0, 0), "cannot be kept"),
    ((4, 4, 3), (2, 2**31 - 1, 2**31 - 1), "cannot be kept"),
    ((4, 4, 3), (2, 0), "got 2 numbers"),
])  # fmt: skip
def test_what_cannot_be_resized_is_an_error(shape, line, message):
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        library().blocks_resize(tf.zeros(shape, tf.uint8), line, line, filter="bilinear")
