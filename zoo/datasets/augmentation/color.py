"""Operations on the levels of one image, uint8 (H, W, C) of known shape, C = 1 or 3: each equals Pillow's to the level.

Arithmetic where that is cheapest, look-up tables of 256 entries a channel where Pillow has such.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

Number: TypeAlias = float | tf.Tensor
GREY = (19595.0, 38470.0, 7471.0)  # of red, green and blue, in units of 2**-16: ITU-R 601-2 as Pillow rounds it


def invert(image: tf.Tensor) -> tf.Tensor:
    """255 - level, as `PIL.ImageOps.invert`.

    Example:
        >>> from zoo.datasets.augmentation.color import invert
        >>> invert(np.full((1, 1, 1), 5, "uint8")).numpy().item()
        250
    """
    return tf.subtract(tf.constant(255, tf.uint8), image)


def posterize(image: tf.Tensor, bits: tf.Tensor | int) -> tf.Tensor:
    """The `bits` highest bits of each level, 0 to 8, as `PIL.ImageOps.posterize`: 0 gives black, as it did up to
    Pillow 12, which took it.

    Example:
        >>> from zoo.datasets.augmentation.color import posterize
        >>> posterize(np.full((1, 1, 1), 255, "uint8"), 3).numpy().item()
        224
    """
    low = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)) - 1
    return tf.bitwise.bitwise_and(image, tf.cast(255 - low, tf.uint8))


def solarize(image: tf.Tensor, threshold: Number) -> tf.Tensor:
    """Levels from `threshold` (0 to 256) on inverted, as `PIL.ImageOps.solarize`.

    Example:
        >>> from zoo.datasets.augmentation.color import solarize
        >>> solarize(np.array([[[100], [200]]], "uint8"), 128).numpy().ravel()
        array([100,  55], dtype=uint8)
    """
    first = tf.cast(tf.math.ceil(tf.cast(threshold, tf.float32)), tf.int32)  # that is inverted; 256: none is
    inverting = tf.cast(tf.where(first < 256, 255, 0), tf.uint8)
    above = tf.cast(image >= tf.cast(tf.minimum(first, 255), tf.uint8), tf.uint8)
    return tf.bitwise.bitwise_xor(image, above * inverting)


def solarize_add(image: tf.Tensor, addend: tf.Tensor | int, threshold: int = 128) -> tf.Tensor:
    """`addend` (0 to 255) added to levels below `threshold`, at most 255, as timm's `solarize_add`.

    Example:
        >>> from zoo.datasets.augmentation.color import solarize_add
        >>> solarize_add(np.array([[[100], [200]]], "uint8"), 30).numpy().ravel()
        array([130, 200], dtype=uint8)
    """
    added = tf.minimum(tf.cast(addend, tf.uint8), invert(image))
    return image + added * tf.cast(image < threshold, tf.uint8)


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Each channel stretched so that its least level is 0 and its greatest 255, as `PIL.ImageOps.autocontrast`.

    Example:
        >>> from zoo.datasets.augmentation.color import auto_contrast
        >>> auto_contrast(np.array([[[100], [150], [185]]], "uint8")).numpy().ravel()
        array([  0, 150, 255], dtype=uint8)
    """
    height, width, channels = image.shape
    rows = tf.reshape(image, (height, width * channels))
    low, high = (
        tf.cast(reduce(tf.reshape(reduce(rows, 0), (width, channels)), 0), tf.float64)
        for reduce in (tf.reduce_min, tf.reduce_max)
    )
    levels = tf.range(256, dtype=tf.float64)[:, None]
    scale = 255 / tf.maximum(high - low, 1)
    stretched = tf.clip_by_value(levels * scale - low * scale, 0, 255)
    return _look_up(image, tf.cast(tf.where(high > low, stretched, levels), tf.uint8))


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Each channel with a histogram as flat as a table of levels can make it, as `PIL.ImageOps.equalize`.

    Example:
        >>> from zoo.datasets.augmentation.color import equalize
        >>> levels = np.arange(100, 108, dtype="uint8").repeat(64).reshape(8, 64, 1)
        >>> np.unique(equalize(levels))
        array([  0,  64, 128, 192, 255], dtype=uint8)
    """
    channels = image.shape[-1]
    bins = tf.math.bincount(tf.reshape(_places(image), (-1,)), minlength=256 * channels, maxlength=256 * channels)
    counts = tf.transpose(tf.reshape(bins, (channels, 256)))
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256)[:, None], 0), 0)
    step = (tf.reduce_sum(counts, 0) - tf.gather(tf.transpose(counts), last, batch_dims=1)) // 255
    table = (step // 2 + tf.cumsum(counts, exclusive=True)) // tf.maximum(step, 1)
    levels = tf.range(256)[:, None]
    return _look_up(image, tf.cast(tf.where(step > 0, tf.minimum(table, 255), levels), tf.uint8))


def brightness(image: tf.Tensor, factor: Number) -> tf.Tensor:
    """Levels times `factor`, as `PIL.ImageEnhance.Brightness`: 0 gives black, 1 the image.

    Example:
        >>> from zoo.datasets.augmentation.color import brightness
        >>> brightness(np.full((1, 1, 1), 99, "uint8"), 0.5).numpy().item()
        49
    """
    return _levels(tf.cast(image, tf.float32) * tf.cast(factor, tf.float32))


def contrast(image: tf.Tensor, factor: Number) -> tf.Tensor:
    """Levels between the mean grey and the image, as `PIL.ImageEnhance.Contrast`: 0 gives grey, 1 the image.

    Example:
        >>> from zoo.datasets.augmentation.color import contrast
        >>> contrast(np.array([[[100], [200]]], "uint8"), 0.5).numpy().ravel()
        array([125, 175], dtype=uint8)
    """
    levels = tf.cast(image, tf.float32)
    grey = levels if image.shape[-1] == 1 else _grey(levels)[:, :1]
    mean = tf.floor(tf.reduce_mean(tf.cast(grey, tf.float64)) + 0.5)
    return _blend(tf.cast(mean, tf.float32), levels, factor)


def color(image: tf.Tensor, factor: Number) -> tf.Tensor:
    """Colours between grey and the image, as `PIL.ImageEnhance.Color` (saturation): 0 gives grey, 1 the image.

    Example:
        >>> from zoo.datasets.augmentation.color import color
        >>> color(np.array([[[200, 100, 0]]], "uint8"), 0.0).numpy().ravel()
        array([118, 118, 118], dtype=uint8)
    """
    if image.shape[-1] == 1:
        return tf.convert_to_tensor(image)
    levels = tf.cast(image, tf.float32)
    return _blend(tf.reshape(_grey(levels), image.shape), levels, factor)


def sharpness(image: tf.Tensor, factor: Number) -> tf.Tensor:
    """Levels between a 3x3 mean and the image, as `PIL.ImageEnhance.Sharpness`: 0 blurs, 1 is the image, 2 sharpens.

    The mean weighs the centre 5 times; pixels at the edge stay.

    Example:
        >>> from zoo.datasets.augmentation.color import sharpness
        >>> image = np.zeros((3, 3, 1), "uint8")
        >>> image[1, 1] = 26
        >>> sharpness(image, 0.0)[1, 1].numpy().item()
        10
    """
    height, width, channels = image.shape
    if min(height, width) < 3:
        return tf.convert_to_tensor(image)
    rows = tf.reshape(image, (height, width * channels))
    levels = tf.cast(rows, tf.float32)
    three_rows = levels[:-2] + levels[1:-1] + levels[2:]
    nine = three_rows[:, : -2 * channels] + three_rows[:, channels:-channels] + three_rows[:, 2 * channels :]
    centre = levels[1:-1, channels:-channels]
    inside = _blend(tf.floor((nine + 4 * centre) * (1 / 13) + 0.5), centre, factor)
    middle = tf.concat([rows[1:-1, :channels], inside, rows[1:-1, -channels:]], 1)
    return tf.reshape(tf.concat([rows[:1], middle, rows[-1:]], 0), image.shape)


def hue(image: tf.Tensor, shift: Number) -> tf.Tensor:
    """Hues moved by `shift` (-0.5 to 0.5) of a turn in Pillow's HSV, as torchvision's `adjust_hue` of a Pillow image.

    Example:
        >>> from zoo.datasets.augmentation.color import hue
        >>> hue(np.array([[[255, 0, 0]]], "uint8"), 0.5).numpy().ravel()
        array([  0, 255, 252], dtype=uint8)
    """
    if image.shape[-1] == 1:
        return tf.convert_to_tensor(image)
    red, green, blue = tf.unstack(tf.cast(image, tf.float32), axis=-1)
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    divisor = tf.maximum(spread, 1)
    from_red, from_green, from_blue = ((value - channel) / divisor for channel in (red, green, blue))
    # Pillow computes 2 and 4 with the first difference in double precision, and stores each hue in single precision.
    of_green = _single(2 + double(from_red) - double(from_blue))
    of_blue = _single(4 + double(from_green) - double(from_red))
    sector = tf.where(red == value, from_blue - from_green, tf.where(green == value, of_green, of_blue))
    turn = _single(tf.math.floormod(double(sector) / 6 + 1, 1))
    old = tf.cast(double(turn) * 255, tf.int32)
    saturation = tf.floor(double(spread / tf.maximum(value, 1)) * 255)
    moved = tf.cast(double(shift) * 255, tf.int32)  # towards 0
    new = double(tf.bitwise.bitwise_and(tf.where(spread > 0, old, 0) + moved, 255)) * 6 / 255
    index = tf.floor(new)
    part = double(_single(new - index))
    share = double(_single(saturation / 255))
    high = double(value)
    p, q, t = (tf.floor(high * (1 - each) + 0.5) for each in (share, _product(share, part), share * (1 - part)))
    columns = [(high, t, p), (q, high, p), (p, high, t), (p, q, high), (t, p, high), (high, p, q)]
    grey, index = saturation == 0, tf.cast(index, tf.int32) % 6
    channels = []
    for channel in range(3):
        level = columns[5][channel]
        for number in range(5):
            level = tf.where(index == number, columns[number][channel], level)
        channels.append(tf.where(grey, high, level))
    return tf.cast(tf.clip_by_value(tf.stack(channels, -1), 0, 255), tf.uint8)


def double(x: Number) -> tf.Tensor:
    """float64; `tf.cast` makes float32 of Python's numbers first.

    Example:
        >>> from zoo.datasets.augmentation.color import double
        >>> float(double(0.1))
        0.1
    """
    return tf.cast(x, tf.float64) if tf.is_tensor(x) else tf.constant(x, tf.float64)


def _single(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float32)


def _product(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """As Pillow multiplies two numbers of single precision, before 1 in double precision is reduced by it."""
    return double(_single(first) * _single(second))


def _grey(levels: tf.Tensor) -> tf.Tensor:
    """float32 (H * W, 3) of levels float32 (H, W, 3): whole grey levels, three times. All sums are below 2**24."""
    weights = tf.constant([[weight] * 3 for weight in GREY])
    return tf.floor((tf.matmul(tf.reshape(levels, (-1, 3)), weights) + 32768) * 2.0**-16)


def _blend(degenerate: tf.Tensor, levels: tf.Tensor, factor: Number) -> tf.Tensor:
    """As `PIL.Image.blend`, in single precision."""
    return _levels(degenerate + tf.cast(factor, tf.float32) * (levels - degenerate))


def _levels(x: tf.Tensor) -> tf.Tensor:
    """uint8, rounded towards 0."""
    return tf.cast(tf.clip_by_value(x, 0, 255), tf.uint8)


def _places(image: tf.Tensor) -> tf.Tensor:
    """int32 (H, W * C): level + 256 * channel. Whole rows are added, for short axes are slow to broadcast."""
    height, width, channels = image.shape
    rows = tf.reshape(tf.cast(image, tf.int32), (height, width * channels))
    return rows if channels == 1 else rows + tf.tile(256 * tf.range(channels), (width,))


def _look_up(image: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """The image with the levels that `tables` uint8 (256, C) have for its own."""
    return tf.reshape(tf.gather(tf.reshape(tf.transpose(tables), (-1,)), _places(image)), image.shape)
