"""From bytes and uint8 pixels to network input: decode, resize, crop, flip, normalise.

Every random choice is a pure function of a seed (int64, shape (2,)) that the caller derives from its own
seed, the epoch and the position in it, so that an epoch can be replayed.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo import decoding, transforms
from zoo.datasets.config import DatasetConfig
from zoo.datasets.crop_box import random_box
from zoo.datasets.resizing import resize_and_crop


def decode(encoded: tf.Tensor, channels: int, size: tuple[int | None, int | None] = (None, None)) -> tf.Tensor:
    """Pixels uint8 (H, W, `channels`) of one image that Pillow reads; grey is repeated for 3 channels.

    `size` is (H, W) where it is known beforehand: images of the right size then cost no resizing.

    Raises tf.errors.InvalidArgumentError while reading, for what is no image or a damaged one, and for an image with
    colour where `channels` is 1.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.datasets.augment import decode
        >>> file = io.BytesIO()
        >>> Image.new("L", (5, 3), 7).save(file, "PNG")
        >>> decode(file.getvalue(), channels=1).shape == (3, 5, 1)
        True
    """
    image = decoding.decode(encoded)
    if channels == 1:
        is_grey = tf.reduce_all(image[..., :1] == image)
        tf.debugging.Assert(
            is_grey, ["An image has colour, but dataset.channels=1; set dataset.channels=3 (and mean and std)."]
        )
        image = image[..., :1]
    return tf.ensure_shape(image, (*size, channels))


def centre_square(image: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """Evaluation view: uint8 (S, S, C) of uint8 (H, W, C), S = `image_size`, as zoo.preprocessing computes it.

    The short side is scaled to S / `crop_fraction`, then the centre is cut out. An image that has the right size
    already is returned untouched.

    Example:
        >>> from zoo.datasets.augment import centre_square
        >>> from zoo.datasets.config import DatasetConfig
        >>> config = DatasetConfig(image_size=4, channels=1, crop_fraction=0.5)
        >>> centre_square(np.zeros((16, 20, 1), "uint8"), config).shape == (4, 4, 1)
        True
    """
    size = config.image_size
    if config.crop_fraction == 1 and image.shape[:2] == (size, size):
        return image
    side = transforms.resized_side(size, config.crop_fraction)

    def resized() -> tf.Tensor:
        fill = [round(255 * value) for value in config.mean]  # around the image, where crop_mode is "border"
        return resize_and_crop(image, size, side, config.resize_method, config.crop_mode, fill)

    if side == size and None in image.shape[:2]:
        image = tf.cond(tf.reduce_all(tf.shape(image)[:2] == size), lambda: image, resized)
        return tf.ensure_shape(image, (size, size, config.channels))
    return resized()


def random_crop(encoded: tf.Tensor, seed: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """uint8 (h, w, C): a random box of one encoded image. Only the box is decoded where the image is a plain JPEG.

    Szegedy et al. 2014, arXiv:1409.4842, section 6.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.datasets.augment import random_crop
        >>> from zoo.datasets.config import DatasetConfig
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (20, 16), "red").save(file, "PNG")
        >>> random_crop(file.getvalue(), (0, 1), DatasetConfig(channels=3))[0, 0].numpy()
        array([255,   0,   0], dtype=uint8)
    """

    def box(shape: tf.Tensor) -> tf.Tensor:
        return random_box(shape, seed, config.crop_area, config.crop_aspect)

    def from_jpeg() -> tf.Tensor:
        stored = tf.io.extract_jpeg_shape(encoded)
        window = decoding.stored_window(box(decoding.upright_shape(stored, turned)), stored, turned)
        image = tf.image.decode_and_crop_jpeg(encoded, window, channels=config.channels, dct_method="INTEGER_ACCURATE")
        return decoding.upright(image, turned)

    def from_any() -> tf.Tensor:
        image = decode(encoded, config.channels)
        top, left, height, width = tf.unstack(box(tf.shape(image)))
        return image[top : top + height, left : left + width]

    if config.channels == 1:  # refuses colour, which only the full decoder reports
        image = from_any()
    else:
        turned = decoding.orientation(encoded)
        is_plain = tf.io.is_jpeg(encoded) & (turned != decoding.BY_PILLOW)
        image = tf.cond(is_plain, from_jpeg, from_any)
    return tf.ensure_shape(image, (None, None, config.channels))


def squashed(image: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """uint8 (S, S, C) of uint8 (H, W, C), S = `image_size`: both sides are scaled to S, whatever the shape.

    Example:
        >>> from zoo.datasets.augment import squashed
        >>> from zoo.datasets.config import DatasetConfig
        >>> squashed(np.zeros((16, 20, 1), "uint8"), DatasetConfig(image_size=4, channels=1)).shape == (4, 4, 1)
        True
    """
    size = config.image_size
    return resize_and_crop(image, size, size, config.resize_method, "squash")


def random_resized_square(encoded: tf.Tensor, seed: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """uint8 (S, S, C): a random box of one encoded image, scaled to S = `image_size`.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.datasets.augment import random_resized_square
        >>> from zoo.datasets.config import DatasetConfig
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (20, 16), "red").save(file, "PNG")
        >>> square = random_resized_square(file.getvalue(), (0, 1), DatasetConfig(image_size=4, channels=3))
        >>> square[0, 0].numpy()
        array([255,   0,   0], dtype=uint8)
    """
    return squashed(random_crop(encoded, seed, config), config)


def shift_and_flip(
    images: tf.Tensor, seed: tf.Tensor, config: DatasetConfig, drawn: tuple[int, np.ndarray] | None = None
) -> tf.Tensor:
    """Random crops out of zero-padded images, and mirror images: uint8 (B, S, S, C) in and out.

    drawn: where the images are a part of a batch, its size and their places in it; they are moved as in the whole one.

    Each image draws its own shift of up to `crop_padding` pixels either way, and its own flip. One projective
    transform does both for the whole batch: output (x, y) reads input (a0 x + a2, y + b2), zero outside.

    Example:
        >>> from zoo.datasets.augment import shift_and_flip
        >>> from zoo.datasets.config import DatasetConfig
        >>> images, config = np.ones((2, 8, 8, 1), "uint8"), DatasetConfig(crop_padding=1, flip=True)
        >>> shift_and_flip(images, (0, 1), config).shape == images.shape
        True
    """
    if not config.crop_padding and not config.flip:
        return images
    batch, padding = tf.shape(images)[0], config.crop_padding
    whole, own = (batch, None) if drawn is None else drawn
    mirrored = None
    if config.flip:
        coin = tf.random.experimental.stateless_fold_in(seed, 1)
        mirrored = tf.random.stateless_uniform((whole,), coin) < 0.5
        mirrored = mirrored if own is None else tf.gather(mirrored, own)
    if not padding:
        return _mirror(images, mirrored)
    shift = tf.random.stateless_uniform((2, whole), seed, minval=-padding, maxval=padding + 1, dtype=tf.int32)
    shift = shift if own is None else tf.gather(shift, own, axis=1)
    right, down = tf.unstack(tf.cast(shift, tf.float32))
    step, start = tf.ones((batch,)), tf.zeros((batch,))
    if mirrored is not None:
        step = tf.where(mirrored, -1.0, 1.0)
        start = tf.where(mirrored, float(config.image_size - 1), 0.0)
    zero, one = tf.zeros((batch,)), tf.ones((batch,))
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([step, zero, start + right, zero, one, down, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved, images.shape)


def _mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """(B, H, W, C), of which those that `mirrored` (B,) says have left and right exchanged."""
    shape = tf.shape(images)
    lines = tf.reshape(images, (-1, *images.shape[2:]))  # TensorFlow has a fast kernel for (rows, columns, 3)
    reverse = tf.reshape(tf.reverse(lines, (1,)), shape)
    chosen = tf.raw_ops.Select(condition=mirrored, x=reverse, y=images)  # of whole images, which tf.where does not copy
    return tf.ensure_shape(chosen, images.shape)


def normalise(images: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """float32 (x / 255 - mean) / std of uint8 (B, H, W, C).

    Example:
        >>> from zoo.datasets.augment import normalise
        >>> from zoo.datasets.config import DatasetConfig
        >>> np.ravel(normalise(np.array([[0, 255]], "uint8"), DatasetConfig(mean=[0.5], std=[0.5])))
        array([-1.,  1.], dtype=float32)
    """
    across = images.shape[-2:]  # in lines, the constants lie side by side: several times as fast as in threes
    mean, std = (np.resize(values, across).ravel() for values in (config.mean, config.std))
    lines = tf.reshape(images, (-1, len(mean)))
    return tf.reshape(transforms.normalise(lines, mean, std), tf.shape(images))
