"""Operations that move the pixels of one image, uint8 (H, W, C) of known shape: each equals Pillow's to the level.

A pixel of the result reads the image where an affine map says, by Pillow's `Image.transform`: for "nearest" in 16.16
fixed point, for "bilinear" and "bicubic" in double precision, rounded towards 0. (Where the compiler of Pillow fuses a
multiplication and an addition, as for ARM, single pixels differ by one level.) Pixels outside of the image are `fill`,
one level a channel. TensorFlow's `ImageProjectiveTransformV3` computes in single precision, and takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from zoo.datasets.augmentation.color import Number, double

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def rotate(image: tf.Tensor, degrees: Number, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """The image turned counter-clockwise around its centre, as `PIL.Image.rotate`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import rotate
        >>> rotate(np.array([[[1], [2]], [[3], [4]]], "uint8"), 90.0, "nearest", [0]).numpy().ravel()
        array([2, 4, 1, 3], dtype=uint8)
    """
    height, width = image.shape[:2]
    angle = -tf.math.floormod(double(degrees), 360.0) * (math.pi / 180)
    cosine, sine = (_to_15_places(value) for value in (tf.cos(angle), tf.sin(angle)))
    x, y = width / 2, height / 2
    right = cosine * -x + sine * -y + x
    down = -sine * -x + cosine * -y + y
    return _affine(image, (cosine, sine, right, -sine, cosine, down), interpolation, fill)


def shear_x(image: tf.Tensor, factor: Number, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """Each pixel read `factor` times its height further right, as timm's `shear_x`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import shear_x
        >>> shear_x(np.array([[[1], [2]], [[3], [4]]], "uint8"), 0.5, "nearest", [9]).numpy().ravel()
        array([1, 2, 4, 9], dtype=uint8)
    """
    return _affine(image, (1.0, double(factor), 0.0, 0.0, 1.0, 0.0), interpolation, fill)


def shear_y(image: tf.Tensor, factor: Number, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """Each pixel read `factor` times its column further down, as timm's `shear_y`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import shear_y
        >>> shear_y(np.array([[[1], [2]], [[3], [4]]], "uint8"), 0.5, "nearest", [9]).numpy().ravel()
        array([1, 4, 3, 9], dtype=uint8)
    """
    return _affine(image, (1.0, 0.0, 0.0, double(factor), 1.0, 0.0), interpolation, fill)


def translate_x(image: tf.Tensor, pixels: Number, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """Each pixel read `pixels` further right, so that the image moves left, as timm's `translate_x_abs`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import translate_x
        >>> translate_x(np.array([[[1], [2], [3]]], "uint8"), 1.0, "nearest", [9]).numpy().ravel()
        array([2, 3, 9], dtype=uint8)
    """
    return _affine(image, (1.0, 0.0, double(pixels), 0.0, 1.0, 0.0), interpolation, fill)


def translate_y(image: tf.Tensor, pixels: Number, interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """Each pixel read `pixels` further down, so that the image moves up, as timm's `translate_y_abs`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import translate_y
        >>> translate_y(np.array([[[1]], [[2]]], "uint8"), -1.0, "nearest", [9]).numpy().ravel()
        array([9, 1], dtype=uint8)
    """
    return _affine(image, (1.0, 0.0, 0.0, 0.0, 1.0, double(pixels)), interpolation, fill)


def flip(image: tf.Tensor) -> tf.Tensor:
    """Left and right exchanged, as `PIL.ImageOps.mirror`.

    Example:
        >>> from zoo.datasets.augmentation.geometry import flip
        >>> flip(np.array([[[1], [2]]], "uint8")).numpy().ravel()
        array([2, 1], dtype=uint8)
    """
    return tf.reverse(image, [1])


def shift(image: tf.Tensor, right: tf.Tensor | int, down: tf.Tensor | int, padding: int) -> tf.Tensor:
    """A crop of the image's size out of the image with `padding` zeros around, moved by `right` and `down` pixels.

    Example:
        >>> from zoo.datasets.augmentation.geometry import shift
        >>> shift(np.array([[[1], [2]]], "uint8"), 1, 0, padding=1).numpy().ravel()
        array([2, 0], dtype=uint8)
    """
    padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
    return tf.slice(padded, [padding + down, padding + right, 0], image.shape)


def _to_15_places(value: tf.Tensor) -> tf.Tensor:
    """As Python's `round(value, 15)` of values from -1 to 1: the first 18 bits times 1e15 are exact in float64."""
    high = tf.round(value * 2**18) / 2**18
    whole = tf.floor(high * 1e15)
    return (whole + tf.round(high * 1e15 - whole + (value - high) * 1e15)) / 1e15


def _affine(image: tf.Tensor, matrix: Sequence[Number], interpolation: str, fill: Sequence[int]) -> tf.Tensor:
    """Pixel (x, y) of the result is that at (a x + b y + c, d x + e y + f) of the image, counted from its corner.

    `matrix` has a to f: tensors float64, or numbers, of which 0 and 1 spare computation.
    """
    color = tf.broadcast_to(tf.constant(fill, tf.uint8), image.shape[-1:])
    if interpolation == "nearest":
        return _nearest(image, matrix, color)
    return _interpolated(image, matrix, color, taps={"bilinear": 2, "bicubic": 4}[interpolation])


def _nearest(image: tf.Tensor, matrix: Sequence[Number], color: tf.Tensor) -> tf.Tensor:
    height, width, channels = image.shape
    a, b, c, d, e, f = matrix
    if _are((a, b, d, e), (1.0, 0.0, 0.0, 1.0)):  # Pillow adds up in double precision where nothing is turned
        columns = tf.cumsum(tf.concat([[c + 0.5], tf.ones((width - 1,), tf.float64)], 0))[None]
        rows = tf.cumsum(tf.concat([[f + 0.5], tf.ones((height - 1,), tf.float64)], 0))[:, None]
        columns, rows = (tf.cast(tf.floor(each), tf.int32) for each in (columns, rows))
    else:
        x, y = tf.range(width)[None], tf.range(height)[:, None]
        columns = tf.bitwise.right_shift(_fixed(c + a * 0.5 + b * 0.5) + _fixed(a) * x + _fixed(b) * y, 16)
        rows = tf.bitwise.right_shift(_fixed(f + d * 0.5 + e * 0.5) + _fixed(d) * x + _fixed(e) * y, 16)
    # One pixel of the colour around the image, to which all outside is clipped: cheaper than a choice for each pixel.
    framed = tf.concat([tf.broadcast_to(color, (height, 1, channels)), image], 1)
    framed = tf.concat([framed, tf.broadcast_to(color, (height, 1, channels))], 1)
    edge = tf.broadcast_to(color, (1, width + 2, channels))
    framed = tf.concat([edge, framed, edge], 0)
    places = tf.clip_by_value(rows + 1, 0, height + 1) * (width + 2) + tf.clip_by_value(columns + 1, 0, width + 1)
    return tf.gather(tf.reshape(framed, (-1, channels)), places)


def _are(values: Sequence[Number], numbers: Sequence[float]) -> bool:
    """Whether these values are numbers of Python, and equal."""
    return all(not tf.is_tensor(value) and value == number for value, number in zip(values, numbers, strict=True))


def _fixed(value: Number) -> tf.Tensor:
    return tf.cast(tf.floor(double(value) * 65536 + 0.5), tf.int32)


def _interpolated(image: tf.Tensor, matrix: Sequence[Number], color: tf.Tensor, taps: int) -> tf.Tensor:
    height, width, channels = image.shape
    a, b, c, d, e, f = matrix
    x = tf.range(width, dtype=tf.float64)[None] + 0.5
    y = tf.range(height, dtype=tf.float64)[:, None] + 0.5
    right, down = a * x + b * y + c, d * x + e * y + f
    inside = (right >= 0) & (right < width) & (down >= 0) & (down < height)
    columns, x_part = _taps(right, width, taps)
    rows, y_part = _taps(down, height, taps)
    if _are((a, b, c), (1.0, 0.0, 0.0)):  # whole pixels, between which there is nothing to interpolate
        columns, x_part = [tf.range(width)[None]], None
    if _are((d, e, f), (0.0, 1.0, 0.0)):
        rows, y_part = [tf.range(height)[:, None]], None
    pixels = tf.reshape(tf.cast(image, tf.float64), (-1, channels))
    lines = [_weighed([tf.gather(pixels, row * width + column) for column in columns], x_part) for row in rows]
    levels = _weighed(lines, y_part)
    if taps == 4:
        levels = tf.clip_by_value(levels, 0, 255)
    flat = tf.reshape(tf.cast(levels, tf.uint8), (-1, channels))
    inside = tf.reshape(tf.broadcast_to(inside, (height, width)), (-1,))
    # A vector chooses whole pixels: tf.where, which broadcasts it, takes three times as long.
    chosen = tf.raw_ops.Select(condition=inside, x=flat, y=tf.broadcast_to(color, flat.shape))
    return tf.reshape(chosen, image.shape)


def _taps(position: tf.Tensor, length: int, taps: int) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Indices int32 of the pixels around each position, and the fraction (..., 1) from the middle one to the next."""
    centre = position - 0.5
    first = tf.floor(centre)
    index = tf.cast(first, tf.int32)
    indices = [tf.clip_by_value(index + offset, 0, length - 1) for offset in range(1 - taps // 2, 1 + taps // 2)]
    return indices, (centre - first)[..., None]


def _weighed(values: list[tf.Tensor], part: tf.Tensor | None) -> tf.Tensor:
    """Between two values, or by Pillow's cubic (a = -1) through the middle two of four."""
    if part is None:
        return values[0]
    if len(values) == 2:
        first, second = values
        return first + (second - first) * part
    v1, v2, v3, v4 = values
    second = -v1 + v3
    third = 2 * (v1 - v2) + v3 - v4
    fourth = -v1 + v2 - v3 + v4
    return v2 + part * (second + part * (third + part * fourth))
