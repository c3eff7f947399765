"""From a picture to what a network expects: resized, cropped and normalised exactly as its reference does it."""

import math
import os

import keras
from keras import ops

from zoo.weights.published import Published, resolve

CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("bilinear", "bicubic")


def preprocessing(weights: str | Published, size: int | None = None, *, test: bool = False) -> "Preprocessing":
    """The layer that turns pictures into the input of a network with published weights.

        pipeline = zoo.preprocessing("timm/resnext50_32x4d.a1h_in1k")
        logits = model(pipeline("cat.jpg"))
        dataset = files.map(pipeline.read).batch(32)
        shippable = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), pipeline, model])

    Args:
        weights: a tag, as zoo.info(name) lists them, or what it resolves to.
        size: pixels of the square that comes out; by default those that the weights were trained on.
        test: the size and the crop that the publisher tested with where these are others, and larger; the published
            accuracy is then that of this pipeline.

    Raises ValueError for an unknown tag or a size below 1.
    """
    published = resolve(weights) if isinstance(weights, str) else weights
    crop = (test and published.test_crop) or published.crop
    size = ((test and published.test_size) or published.input_size) if size is None else size
    return Preprocessing(
        size,
        crop,
        published.mean,
        published.std,
        published.interpolation,
        published.crop_mode,
        name="preprocessing",
    )


@keras.saving.register_keras_serializable(package="zoo")
class Preprocessing(keras.layers.Layer):
    """uint8 pictures (B, H, W, 3) or one (H, W, 3) -> float32 (B, size, size, 3) or (size, size, 3), normalised.

    Called with the path or the bytes of a JPEG, PNG, GIF or BMP file it gives a batch of that one picture. Values are
    rounded to whole levels after each pass of the interpolation, first over the width, then over the height, as in
    Pillow, with which the published networks were trained and tested. (Pillow 13 starts with the height where a picture
    shrinks more in that direction, which matters to "squash" alone.)

    Args:
        size: pixels of the square that comes out.
        crop: its share of the resized picture's side, above 0 and at most 1.
        mean, std: of the three channels, on a scale from 0 to 1.
        interpolation: "bilinear" or "bicubic", with antialiasing.
        crop_mode: "center" resizes the shorter side to size / crop and cuts the square from the middle; "squash"
            resizes both sides so, whatever the shape; "border" resizes the longer side so, and fills up with the mean.
    """

    def __init__(
        self,
        size: int = 224,
        crop: float = 0.875,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        interpolation: str = "bilinear",
        crop_mode: str = "center",
        name: str | None = None,
        dtype: str = "float32",
        trainable: bool = False,
    ):
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"size={size!r} is not allowed: give a number of pixels, 224 for instance.")
        if not 0 < crop <= 1:
            raise ValueError(f"crop={crop!r} is not allowed: it is a share, above 0 and at most 1.")
        for key, value, allowed in (
            ("interpolation", interpolation, INTERPOLATIONS),
            ("crop_mode", crop_mode, CROP_MODES),
        ):
            if value not in allowed:
                raise ValueError(f"{key}={value!r} is not known: use {', '.join(allowed)}.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean={mean!r} and std={std!r} are not allowed: give three numbers each, std above 0.")
        self.size, self.crop, self.interpolation, self.crop_mode = size, crop, interpolation, crop_mode
        self.mean, self.std = tuple(mean), tuple(std)
        self.resized = math.floor(size / crop + 1e-4)  # the side before the crop; the margin is for rounded shares

    def __call__(self, images):
        if isinstance(images, (str, os.PathLike)):
            return super().__call__(self._open(images)[None])
        if isinstance(images, bytes):
            return super().__call__(_checked(images, "What was given")[None])
        return super().__call__(images)

    def call(self, images):
        if len(images.shape) == 3:
            return self.call(images[None])[0]
        if len(images.shape) != 4 or images.shape[-1] != 3:
            raise ValueError(
                f"Pictures of shape {tuple(images.shape)} are not allowed: give (B, H, W, 3) or (H, W, 3)."
            )
        if "int" not in keras.backend.standardize_dtype(images.dtype):
            raise ValueError(f"Pictures of {images.dtype} are not allowed: give uint8, levels from 0 to 255.")
        height, width = ops.shape(images)[1:3]
        (rows, inside_rows), (columns, inside_columns) = self._weights(height, width)
        # (B, H, 3, W), so that either pass is one product of large matrices.
        x = ops.cast(ops.transpose(images, (0, 1, 3, 2)), "float32")
        x = _levels(ops.matmul(ops.reshape(x, (-1, width)), ops.transpose(columns)))
        x = _levels(ops.matmul(rows, ops.reshape(x, (-1, height, 3 * self.size))))
        x = ops.transpose(ops.reshape(x, (-1, self.size, 3, self.size)), (0, 1, 3, 2))
        if self.crop_mode == "border":
            fill = ops.convert_to_tensor([round(255 * value) for value in self.mean], "float32")
            x = ops.where((inside_rows[:, None] & inside_columns[None, :])[:, :, None], x, fill)
        mean, std = (ops.convert_to_tensor(values, "float32") for values in (self.mean, self.std))
        return (x / 255.0 - mean) / std

    def read(self, path):
        """(size, size, 3) of the picture in a file; the path may be a string tensor, so that tf.data can map this."""
        import tensorflow as tf

        return self.call(decode(tf.io.read_file(path))) if tf.is_tensor(path) else self.call(self._open(path))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-3], self.size, self.size, 3)

    def get_config(self):
        keys = ("size", "crop", "mean", "std", "interpolation", "crop_mode")
        return {**super().get_config(), "dtype": "float32", **{key: getattr(self, key) for key in keys}}

    def _open(self, path):
        try:
            with open(path, "rb") as file:
                encoded = file.read()
        except OSError as error:
            raise type(error)(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
        return _checked(encoded, os.fspath(path))

    def _weights(self, height, width):
        """Of rows and of columns: weights (size, pixels of the picture), and which are not border."""
        side = self.resized
        if self.crop_mode == "squash":
            sides = (side, side)
        elif self.crop_mode == "center":  # in whole numbers: the longer side is rounded down
            shorter = ops.minimum(height, width)
            sides = tuple(ops.maximum(length * side // shorter, 1) for length in (height, width))
        else:
            longer = ops.cast(ops.maximum(height, width), "float32")
            sides = tuple(
                ops.maximum(ops.cast(ops.round(ops.cast(length, "float32") * side / longer), "int32"), 1)
                for length in (height, width)
            )
        return tuple(
            _resampling(before, after, self.size, self.interpolation)
            for before, after in zip((height, width), sides, strict=True)
        )


def _resampling(before, after, kept: int, interpolation: str):
    """Weights (kept, before) that resize a line of `before` pixels to `after` and cut the middle out of it.

    Positions are compared as whole numbers, twice over twice the product of the lengths, so that nothing is lost in
    float32. Source: PIL's resampling, whose cubic is Keys' with a = -0.5 and whose kernels widen when they shrink.
    """
    before, after = ops.cast(before, "int64"), ops.cast(after, "int64")
    spare = after - kept
    # The crop begins at half of what is spare, rounded to even; the border, where pixels lack, at half rounded down.
    first = ops.where(spare >= 0, spare // 2 + (spare % 2) * (spare // 2 % 2), -(-spare // 2))
    wanted = first + ops.arange(kept, dtype="int64")
    positions = (2 * ops.arange(before, dtype="int64") + 1)[None, :] * after - (2 * wanted + 1)[:, None] * before
    longer = ops.cast(2 * ops.maximum(before, after), "float32")
    distance = ops.abs(ops.cast(positions, "float32")) / longer
    weights = ops.maximum(1 - distance, 0.0) if interpolation == "bilinear" else _cubic(distance)
    inside = (wanted >= 0) & (wanted < after)
    total = ops.sum(weights, axis=1, keepdims=True)
    return ops.where(inside[:, None], weights / ops.where(total == 0, 1.0, total), 0.0), inside


def _cubic(distance):
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return ops.where(distance < 1, near, ops.where(distance < 2, far, 0.0))


def _levels(x):
    return ops.clip(ops.floor(x + 0.5), 0, 255)


def decode(encoded):
    """uint8 (H, W, 3) of the bytes of a JPEG, PNG, GIF or BMP file, a string tensor (); the first picture of a GIF.

    JPEG is decoded with the accurate inverse transform, as PIL does; the orientation that a camera noted is left alone.
    """
    import tensorflow as tf

    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _checked(encoded: bytes, what: str):
    import tensorflow as tf

    try:
        return decode(tf.constant(encoded))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{what} is not a JPEG, PNG, GIF or BMP picture, or a damaged one.") from error
