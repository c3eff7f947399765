"""Resizing, cropping and normalising pictures: the same in training, in zoo.preprocessing and in an exported model."""

import functools
import math
import types
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from zoo.data_config import CROP_MODES, INTERPOLATIONS, DataConfig
from zoo.typing import Tensor

PRECISION_BITS = 22  # of Pillow's weights
LOW_BITS = 7  # of these: the other 15 and a level's 8 bits make sums of at most 24 bits, which float32 holds exactly
Length: TypeAlias = Any  # pixels of an axis: a number or, where it is dynamic, a scalar of TensorFlow's

BLOCK = 8  # neighbouring outputs that are computed from one window of the picture


def resized_side(size: int, crop: float) -> int:
    """Pixels of the side that is resized before a square of `size` is cut out, rounded down as in timm.

    Example:
        >>> from zoo.transforms import resized_side
        >>> resized_side(224, 0.875), resized_side(224, 0.95)
        (256, 235)
    """
    return math.floor(size / crop + 1e-4)  # the margin is for shares that were themselves rounded


def resize_and_crop(
    images: Tensor,
    size: int | tuple[int, int],
    side: int | tuple[int, int],
    interpolation: str = "bilinear",
    crop_mode: str = "center",
    fill: float | Sequence[float] = 0,
) -> Any:
    """Pictures (B, H, W, C) of levels 0..255 -> (B, size, size, C) of whole levels: uint8, of floats float32.

    Equals Resize and CenterCrop of torchvision on a Pillow image: resized with antialiasing first over the width, then
    over the height, each time rounded to whole levels and clipped to 0..255, as in Pillow up to 12. (Pillow 13 starts
    with the height where a picture shrinks clearly more in that direction.) Whole levels give exactly Pillow's, for
    its weights of 22 bits are computed, and summed up, without rounding. Works eagerly, in tf.data and in exported
    graphs, and on arrays of NumPy, which give such, without Keras; where H and W are known, the weights are constants.
    "area" and "nearest" compute in float64, which LiteRT lacks.

    Args:
        size: pixels of the square that comes out, or its (height, width).
        side: pixels that the side named by `crop_mode` is resized to, for a rectangle those of both.
        interpolation: "bilinear", "bicubic" (Keys, a = -0.5), "area" (Pillow's BOX) or "nearest".
        crop_mode: "center" resizes the shorter side and cuts the square from the middle; "squash" resizes both sides,
            whatever the shape; "border" resizes the longer side and surrounds the picture with `fill`, C levels. Of a
            rectangle these sides are those that cover it, and that fit into it.

    Raises ValueError for another interpolation or crop mode.

    Example:
        >>> from zoo.transforms import resize_and_crop, resized_side
        >>> picture = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
        >>> square = resize_and_crop(picture, 4, resized_side(4, 1.0))
        >>> np.asarray(square)[0, :, :, 0]
        array([[ 32,  36,  40,  43],
               [ 90,  94,  98, 101],
               [154, 158, 162, 165],
               [212, 216, 220, 223]], dtype=uint8)
    """
    for name, allowed in ((interpolation, INTERPOLATIONS), (crop_mode, CROP_MODES)):
        if name not in allowed:
            raise ValueError(f"{name!r} is not known: use {', '.join(allowed)}.")
    x = images if _is_tensorflow(images) or isinstance(images, np.ndarray) else _keras().convert_to_tensor(images)
    xp, (height, width) = _operations(x), lengths(x)[1:3]
    (crop_height, crop_width), sides = (each if isinstance(each, tuple) else (each, each) for each in (size, side))
    rows, columns = resized_lengths(height, width, sides, crop_mode)
    kind = "float32" if "float" in str(x.dtype) else "uint8"
    x = _resample(xp.transpose(x, (2, 3, 0, 1)), width, columns, crop_width, interpolation)
    x = _resample(xp.transpose(x, (3, 2, 0, 1)), height, rows, crop_height, interpolation)
    x = xp.transpose(x, (1, 0, 2, 3))
    if crop_mode == "border":
        inside_rows, inside_columns = _inside(rows, crop_height), _inside(columns, crop_width)
        inside = xp.reshape(inside_rows, (crop_height, 1, 1)) & xp.reshape(inside_columns, (1, crop_width, 1))
        x = xp.where(inside, x, np.asarray(fill, "float32"))
    return _cast(x, kind)


def normalise(levels: Any, mean: Sequence[float] | np.ndarray, std: Sequence[float] | np.ndarray) -> Any:
    """float32 (level / 255 - mean) / std, as one multiplication and one addition; `mean` and `std` per channel.

    Example:
        >>> from zoo.transforms import normalise
        >>> np.round(normalise(np.array([[0, 255, 51]]), mean=(0.5, 0.5, 0.2), std=(0.5, 0.25, 1.0)), 3) + 0.0
        array([[-1.,  2.,  0.]], dtype=float32)
    """
    deviations = np.asarray(std, "float64")
    scale = (1 / (255 * deviations)).astype("float32")
    shift = (-np.asarray(mean, "float64") / deviations).astype("float32")
    return _cast(levels, "float32") * scale + shift


def prepare(pictures: Tensor, config: DataConfig) -> Any:
    """uint8 pictures (B, H, W, C) -> normalised float32 images (B, height, width, C), as `config` says.

    Example:
        >>> from zoo.data_config import DataConfig
        >>> from zoo.transforms import prepare
        >>> prepare(np.zeros((1, 9, 7, 3), "uint8"), DataConfig(size=(2, 4), mean=(0.5,), std=(0.5,))).shape
        (1, 2, 4, 3)
    """
    height, width = (resized_side(length, config.crop_pct) for length in config.size)
    fill = [round(255 * value) for value in config.mean]
    levels = resize_and_crop(pictures, config.size, (height, width), config.interpolation, config.crop_mode, fill)
    return normalise(levels, config.mean, config.std)


def _is_tensorflow(x: Tensor) -> bool:
    return type(x).__module__.startswith("tensorflow.")


@functools.cache
def _keras() -> Any:
    """Keras's operations: not imported for what is NumPy's alone."""
    from keras import ops

    return ops


@functools.cache
def _tensorflow() -> Any:
    """What is used here of TensorFlow, under numpy's names: in tf.data it computes whatever Keras's backend is."""
    import tensorflow as tf

    return types.SimpleNamespace(
        arange=tf.range, cast=tf.cast, clip=tf.clip_by_value, concatenate=lambda parts: tf.concat(parts, 0),
        cumsum=tf.cumsum, floor=tf.floor, matmul=tf.matmul, maximum=tf.maximum, minimum=tf.minimum, repeat=tf.repeat,
        reshape=tf.reshape, round=tf.round, sum=tf.reduce_sum, take=tf.gather, transpose=tf.transpose, where=tf.where,
    )  # fmt: skip


def _operations(*arrays: Any) -> Any:
    """numpy where all are numbers or numpy's arrays, so that what follows from them is constant in a graph."""
    if all(isinstance(x, (int, np.generic, np.ndarray)) for x in arrays):
        return np
    return _tensorflow() if any(_is_tensorflow(x) for x in arrays) else _keras()


def _cast(x: Tensor, dtype: str) -> Any:
    return np.asarray(x).astype(dtype) if _operations(x) is np else _operations(x).cast(x, dtype)


def lengths(x: Tensor) -> tuple[Any, ...]:
    """Lengths of the axes: numbers where they are known, else TensorFlow's scalars.

    Example:
        >>> from zoo.transforms import lengths
        >>> lengths(np.zeros((3, 4)))
        (3, 4)
    """
    if all(length is not None for length in x.shape):
        return tuple(x.shape)
    import tensorflow as tf

    lengths = tf.unstack(tf.shape(x))
    return tuple(length if known is None else known for length, known in zip(lengths, x.shape, strict=True))


def resized_lengths(height: Length, width: Length, sides: tuple[int, int], crop_mode: str) -> Any:
    """(height, width) of the whole picture once it is resized, at least 1.

    Example:
        >>> from zoo.transforms import resized_lengths
        >>> resized_lengths(300, 400, (256, 256), "center")
        (256, 341)
    """
    if crop_mode == "squash":
        return sides
    by_height, by_width = sides[0] * width, sides[1] * height  # of the two scales, on a common denominator
    if crop_mode == "center":  # in whole numbers: the longer side is rounded down
        takes_height = by_height >= by_width
        rows, columns = height * sides[1] // width, width * sides[0] // height
    else:
        takes_height = by_height <= by_width
        rows, columns = _rounded(height, sides[1], width), _rounded(width, sides[0], height)
    xp = _operations(height, width)
    if xp is np:
        return (sides[0], columns) if takes_height else (rows, sides[1])
    return xp.where(takes_height, sides[0], rows), xp.where(takes_height, columns, sides[1])


def _rounded(length: Length, side: int, other: Length) -> Any:
    """length * side / other, at least 1."""
    xp = _operations(length, other)
    return xp.maximum(_cast(xp.round(_cast(length, "float32") * side / _cast(other, "float32")), "int32"), 1)


def crop_start(after: Length, crop_size: int) -> Any:
    """Where the middle `crop_size` of `after` pixels begin: below 0 where there are fewer.

    At half of what is spare, rounded to even; the border, where pixels lack, at half rounded down.

    Example:
        >>> from zoo.transforms import crop_start
        >>> int(crop_start(341, 224)), int(crop_start(5, 8))
        (58, -1)
    """
    xp, spare = _operations(after), after - crop_size
    return _cast(xp.where(spare >= 0, spare // 2 + (spare % 2) * (spare // 2 % 2), -(-spare // 2)), "int32")


def _crop_positions(after: Length, crop_size: int, count: int) -> Any:
    """(count,) positions in a line of `after` pixels, from the first of its middle `crop_size` on."""
    return crop_start(after, crop_size) + np.arange(count, dtype="int32")


def _inside(after: Length, crop_size: int) -> Any:
    wanted = _crop_positions(after, crop_size, crop_size)
    return (wanted >= 0) & (wanted < after)


def _resample(x: Tensor, before: Length, after: Length, crop_size: int, interpolation: str) -> Any:
    """(before, ...) -> (crop_size, ...): axis 0 is resized to `after` pixels, of which the middle is kept.

    Computes Pillow's sums of integers in float32: one sum for the high bits of the weights, one for the low bits.
    """
    xp = _operations(x)
    pixels, weights = _windows(before, after, crop_size, interpolation)
    blocks = weights.shape[0]
    x = np.ascontiguousarray(x) if xp is np else x  # or np.take copies it each time
    xw = _operations(weights)
    high = xw.floor(weights * 2.0**-LOW_BITS + 0.5)
    low = weights * 2.0**-LOW_BITS - high

    def levels(pixels: Tensor, high: Tensor, low: Tensor) -> Any:
        windows = _cast(xp.take(x, pixels, axis=0), "float32")
        windows = xp.reshape(windows, (*lengths(high)[:-2], lengths(pixels)[-1], -1))
        sums = xp.matmul(high, windows) + xp.floor(xp.matmul(low, windows))
        return xp.clip(xp.floor(sums * 2.0 ** (LOW_BITS - PRECISION_BITS) + 0.5), 0, 255)

    if xp is np:  # one block at a time: all windows of a large picture have several times its size
        every = np.concatenate([levels(*block) for block in zip(pixels, high, low, strict=True)])
    else:
        every = levels(pixels, high, low)
    return xp.reshape(every, (blocks * BLOCK, *lengths(x)[1:]))[:crop_size]


def _windows(before: Length, after: Length, crop_size: int, interpolation: str) -> Any:
    """Pixels (blocks, window) in a line of `before`, and Pillow's coefficients (blocks, BLOCK, window) in float32."""
    xp = _operations(before, after)
    blocks = -(-crop_size // BLOCK)
    wanted = xp.reshape(_crop_positions(after, crop_size, blocks * BLOCK), (blocks, BLOCK, 1))
    # Counted from the line's middle in half pixels, an output's centre lies at offset * before / after.
    offset = 2 * wanted + 1 - after
    whole = _cast(xp.floor(_cast(offset * before, "float32") / _cast(after, "float32")), "int32")
    longer = xp.maximum(before, after)
    reach = (2 if interpolation == "bicubic" else 1) * longer // after + 1
    first = (before + whole[:, :1]) // 2 - reach - 1
    pixels = first + xp.arange((BLOCK - 1) * before // after + 2 * reach + 4, dtype="int32")
    if interpolation == "area":
        weights = _box(xp, before, after, wanted, pixels)
    elif interpolation == "nearest":
        weights = _nearest(xp, before, after, wanted, pixels)
    else:
        reach = _cast(2 * longer, "int64")
        distance = (2 * pixels + 1 - before) * after - offset * before
        distance = _cast(xp.maximum(distance, -distance), "int64")
        weights = _cubic(xp, distance, reach) if interpolation == "bicubic" else xp.maximum(reach - distance, 0)
    weights = xp.where((pixels >= 0) & (pixels < before), weights, 0)
    return xp.clip(pixels[:, 0], 0, before - 1), _normalised(xp, weights)


def _normalised(xp: Any, weights: Tensor) -> Any:
    """Weights that are whole numbers -> float32 of their shares in units of 2**-22, rounded as Pillow does."""
    total = xp.sum(weights, axis=-1, keepdims=True)
    total = xp.where(total != 0, total, 1)
    # float32 is one unit off at most, which the remainder shows: that is exact, even where int64 wraps around.
    share = xp.round(_cast(weights, "float32") / (_cast(total, "float32") * 2.0**-PRECISION_BITS))
    rest = weights * 2**PRECISION_BITS - _cast(share, "int64") * total
    return share + xp.floor(_cast(rest, "float32") / _cast(total, "float32") + 0.5)


def _cubic(xp: Any, distance: Any, one: Any) -> Any:
    """2 * one**3 times Keys' function of distance / one, in whole numbers and factors."""
    beyond = xp.maximum(2 * one - distance, 0)
    near = (2 * one - 3 * distance) * distance + 2 * one * one
    return (one - distance) * xp.where(distance < one, near, beyond * beyond)


def _box(xp: Any, before: Length, after: Length, wanted: Any, pixels: Tensor) -> Any:
    """Which pixels an output of Pillow's BOX averages: in float64 and its order, which decides at a box's edges."""
    scale = _cast(before, "float64") / _cast(after, "float64")
    wide = xp.maximum(scale, 1)
    centre = (_cast(wanted, "float64") + 0.5) * scale
    position = _cast(pixels, "float64")
    distance = (position - centre + 0.5) * (1 / wide)
    first, end = xp.floor(centre - 0.5 * wide + 0.5), xp.floor(centre + 0.5 * wide + 0.5)
    return _cast((distance > -0.5) & (distance <= 0.5) & (position >= first) & (position < end), "int64")


def _nearest(xp: Any, before: Length, after: Length, wanted: Any, pixels: Tensor) -> Any:
    """Which pixel an output of Pillow's NEAREST takes: it adds up steps in float64, which decides between pixels."""
    scale = _cast(before, "float64") / _cast(after, "float64")
    steps = xp.concatenate([xp.reshape(scale * 0.5, (1,)), xp.repeat(xp.reshape(scale, (1,)), after - 1)])
    chosen = xp.take(xp.cumsum(steps), xp.clip(wanted, 0, after - 1))
    return _cast(_cast(xp.floor(chosen), "int32") == pixels, "int64")
