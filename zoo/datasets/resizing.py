"""An image resized and cropped within a data set: by our kernel where there is one, else by TensorFlow's operations."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from blocks.kernels.build import library
from zoo import transforms

FILTERS = ("bilinear", "bicubic")  # of the kernel


def resize_and_crop(
    image: tf.Tensor, size: int, side: int, interpolation: str, crop_mode: str, fill: Sequence[float] = (0,)
) -> tf.Tensor:
    """uint8 (size, size, C) of one image uint8 (H, W, C): what `zoo.transforms.resize_and_crop` gives, to the level.

    The kernel computes Pillow's sums of integers in the calling thread: a data set prepares several images at a time.

    Args: those of `zoo.transforms.resize_and_crop`.

    Example:
        >>> from zoo.datasets.resizing import resize_and_crop
        >>> image = np.array([[[0], [100]], [[100], [200]]], "uint8")
        >>> resize_and_crop(image, 1, 1, "bilinear", "squash").numpy()
        array([[[100]]], dtype=uint8)
    """
    kernels = library() if interpolation in FILTERS and crop_mode != "border" else None
    if kernels is None:
        return transforms.resize_and_crop(image[None], size, side, interpolation, crop_mode, fill)[0]
    height, width, _ = transforms.lengths(image)
    lines = [
        tf.stack([after, transforms.crop_start(after, size), size])
        for after in transforms.resized_lengths(height, width, (side, side), crop_mode)
    ]
    return tf.ensure_shape(kernels.blocks_resize(image, *lines, filter=interpolation), (size, size, image.shape[-1]))
