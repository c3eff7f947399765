"""From bytes and uint8 pixels to network input: decode, resize, crop, flip, normalise.

Every random choice is a pure function of a seed (int64, shape (2,)) that the caller derives from its own
seed, the epoch and the position in it, so that an epoch can be replayed.
"""

from __future__ import annotations

import tensorflow as tf

from zoo.training.data_config import DatasetConfig


def decode(encoded: tf.Tensor, channels: int, size: tuple[int | None, int | None] = (None, None)) -> tf.Tensor:
    """Pixels uint8 (H, W, `channels`) of one JPEG, PNG, GIF or BMP image; grey is repeated for 3 channels.

    `size` is (H, W) where it is known beforehand: images of the right size then cost no resizing.

    Raises tf.errors.InvalidArgumentError while reading, for a colour image where `channels` is 1.
    """
    if channels == 3:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    else:
        image = tf.io.decode_image(encoded, channels=0, expand_animations=False)
        tf.debugging.assert_equal(
            tf.shape(image)[-1],
            1,
            message="An image has colour, but dataset.channels=1; set dataset.channels=3 (and mean and std).",
        )
    image.set_shape((*size, channels))
    return image


def centre_square(image: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """Evaluation view: uint8 (S, S, C) of uint8 (H, W, C), S = `image_size`.

    The short side is scaled to S / `crop_fraction`, with antialiasing, then the centre is cut out. An image
    that has the right size already is returned untouched.
    """
    size = config.image_size
    if config.crop_fraction == 1 and image.shape[:2] == (size, size):
        return image
    short = max(size, round(size / config.crop_fraction))
    shape = tf.shape(image)
    height, width = shape[0], shape[1]
    scale = short / tf.minimum(height, width)
    scaled_height = tf.maximum(short, tf.cast(tf.round(tf.cast(height, tf.float64) * scale), tf.int32))
    scaled_width = tf.maximum(short, tf.cast(tf.round(tf.cast(width, tf.float64) * scale), tf.int32))
    image = tf.cond(
        tf.minimum(height, width) == short,
        lambda: image,
        lambda: resize(image, (scaled_height, scaled_width), config.resize_method),
    )
    top, left = (scaled_height - size) // 2, (scaled_width - size) // 2
    image = image[top : top + size, left : left + size]
    image.set_shape((size, size, config.channels))
    return image


def resize(image: tf.Tensor, size: tuple, method: str) -> tf.Tensor:
    """uint8 (h, w, C) of uint8 (H, W, C), antialiased, rounded as image libraries do."""
    scaled = tf.image.resize(image, size, method=method, antialias=True)
    return tf.saturate_cast(tf.round(scaled), tf.uint8)


def random_resized_square(encoded: tf.Tensor, seed: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """uint8 (S, S, C): a random box of one encoded image, scaled to S = `image_size`.

    Szegedy et al. 2014, arXiv:1409.4842, section 6. Only the box is decoded where the image is a JPEG.
    """

    def box(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            tf.zeros((1, 0, 4)),
            seed=seed,
            min_object_covered=0.0,
            area_range=tuple(config.crop_area),
            aspect_ratio_range=tuple(config.crop_aspect),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return begin, extent

    def from_jpeg() -> tf.Tensor:
        begin, extent = box(tf.io.extract_jpeg_shape(encoded))
        window = tf.stack([begin[0], begin[1], extent[0], extent[1]])
        return tf.image.decode_and_crop_jpeg(encoded, window, channels=config.channels)

    def from_any() -> tf.Tensor:
        image = decode(encoded, config.channels)
        begin, extent = box(tf.shape(image))
        return tf.slice(image, begin, extent)

    # A grey network refuses colour images, which only the full decoder reports.
    image = from_any() if config.channels == 1 else tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_any)
    image = resize(image, (config.image_size, config.image_size), config.resize_method)
    image.set_shape((config.image_size, config.image_size, config.channels))
    return image


def shift_and_flip(images: tf.Tensor, seed: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """Random crops out of zero-padded images, and mirror images: uint8 (B, S, S, C) in and out.

    Each image draws its own shift of up to `crop_padding` pixels either way, and its own flip. One projective
    transform does both for the whole batch: output (x, y) reads input (a0 x + a2, y + b2), zero outside.
    """
    if not config.crop_padding and not config.flip:
        return images
    batch, padding = tf.shape(images)[0], config.crop_padding
    shift = tf.random.stateless_uniform((2, batch), seed, minval=-padding, maxval=padding + 1, dtype=tf.int32)
    right, down = tf.unstack(tf.cast(shift, tf.float32))
    step, start = tf.ones((batch,)), tf.zeros((batch,))
    if config.flip:
        coin = tf.random.experimental.stateless_fold_in(seed, 1)
        mirrored = tf.random.stateless_uniform((batch,), coin) < 0.5
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


def normalise(images: tf.Tensor, config: DatasetConfig) -> tf.Tensor:
    """float32 (x / 255 - mean) / std of uint8 (B, H, W, C), as one multiplication and one addition."""
    mean, std = tf.constant(list(config.mean), tf.float32), tf.constant(list(config.std), tf.float32)
    return tf.cast(images, tf.float32) * (1.0 / (255.0 * std)) - mean / std
