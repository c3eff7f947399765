"""From a picture to what a network expects: resized, cropped and normalised exactly as its reference does it."""

import os
from typing import Any

import keras

from zoo import transforms  # not names of it: where it is imported first, this runs in the midst of that
from zoo.typing import Shape, Tensor
from zoo.weights.published import Published, resolve

INTERPOLATIONS = ("bilinear", "bicubic")  # those of published weights, which LiteRT and ONNX can compute
NOT_LEVELS = ("bool", "int8", "uint16")  # number types whose pictures have other levels than 0 to 255


def preprocessing(weights: str | Published, size: int | None = None, *, test: bool = False) -> "Preprocessing":
    """The layer that turns pictures into the input of a network with published weights.

    Args:
        weights: a tag, as zoo.info(name) lists them, or what it resolves to.
        size: pixels of the square that comes out; by default those that the weights were trained on.
        test: the size and the crop that the publisher tested with where these are others, and larger; the published
            accuracy is then that of this pipeline.

    Raises ValueError for an unknown tag or a size below 1.

    Example:
        >>> prepare = zoo.preprocessing("timm/resnext50_32x4d.a1h_in1k", size=64)
        >>> prepare(np.zeros((2, 96, 80, 3), "uint8")).shape == (2, 64, 64, 3)
        True
        >>> prepare.interpolation, prepare.crop
        ('bicubic', 0.95)
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
    """Pictures (B, H, W, 3) or one (H, W, 3) -> float32 (B, size, size, 3) or (size, size, 3), normalised.

    Pictures hold levels from 0 to 255, as uint8 or another number type. Floats do so too and are not scaled: a picture
    from 0 to 1 is taken for a nearly black one. What lies outside of 0 to 255 is clipped once resized. Called with the
    path or the bytes of a file that Pillow reads (JPEG, PNG, GIF, BMP, WebP, TIFF, ...) it gives a batch of that one
    picture, decoded by `decode`: turned upright as its EXIF orientation says, laid over white where it is transparent.

    Resizing is `zoo.transforms.resize_and_crop`, as in training, and equals that of Pillow, with which the published
    networks were trained and tested. (Pillow 13 starts with the height where a picture shrinks clearly more in that
    direction, which matters to "squash" and to tall pictures.) In one model with a network it exports to a SavedModel,
    to ONNX and to LiteRT, whose file then takes uint8 pictures, of one size or of any.

    Args:
        size: pixels of the square that comes out.
        crop: its share of the resized picture's side, above 0 and at most 1.
        mean, std: of the three channels, on a scale from 0 to 1.
        interpolation: "bilinear" or "bicubic", with antialiasing.
        crop_mode: "center" resizes the shorter side to size / crop and cuts the square from the middle; "squash"
            resizes both sides so, whatever the shape; "border" resizes the longer side so, and fills up with the mean.

    Raises:
        ValueError: for a wrong argument; when called, for a list, another shape or number type, or a file that is no
            picture.
        OSError: for a file that cannot be read.

    Source: torchvision's Resize and CenterCrop; "squash" and "border" as timm's transforms_factory.py has them.

    Example:
        >>> from zoo.input_pipeline import Preprocessing
        >>> layer = Preprocessing(size=2, crop=1.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> np.round(layer(np.full((4, 6, 3), 255, "uint8")))[0, 0]  # the lightest level is 1
        array([1., 1., 1.], dtype=float32)
        >>> network = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> whole = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), Preprocessing(32), network])
        >>> whole.output_shape  # to be exported as one file
        (None, 10)
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
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"size={size!r} is not allowed: give a number of pixels, 224 for instance.")
        if not 0 < crop <= 1:
            raise ValueError(f"crop={crop!r} is not allowed: it is a share, above 0 and at most 1.")
        for key, value, allowed in (
            ("interpolation", interpolation, INTERPOLATIONS),
            ("crop_mode", crop_mode, transforms.CROP_MODES),
        ):
            if value not in allowed:
                raise ValueError(f"{key}={value!r} is not known: use {', '.join(allowed)}.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean={mean!r} and std={std!r} are not allowed: give three numbers each, std above 0.")
        self.size, self.crop, self.interpolation, self.crop_mode = size, crop, interpolation, crop_mode
        self.mean, self.std = tuple(mean), tuple(std)
        self.resized = transforms.resized_side(size, crop)

    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(images, (str, os.PathLike)):
            images = self._open(images)[None]
        elif isinstance(images, bytes):
            images = _checked(images, "What was given")[None]
        elif isinstance(images, (list, tuple)) or hasattr(images, "row_splits"):
            raise ValueError(
                "A list or a ragged tensor of pictures is not allowed, for their sizes may differ: give one array "
                "(B, H, W, 3), or one picture at a time, as dataset.map(pipeline) does."
            )
        return super().__call__(images, *args, **kwargs)

    def call(self, images: Tensor) -> Tensor:
        if len(images.shape) == 3:
            return self.call(images[None])[0]
        if len(images.shape) != 4 or images.shape[-1] != 3 or 0 in tuple(images.shape)[1:3]:
            raise ValueError(
                f"Pictures of shape {tuple(images.shape)} are not allowed: give (B, H, W, 3) or (H, W, 3)."
            )
        if keras.backend.standardize_dtype(images.dtype) in NOT_LEVELS:
            raise ValueError(
                f"Pictures of {keras.backend.standardize_dtype(images.dtype)} are not allowed: give uint8, or another "
                "number type, with levels from 0 to 255 (16 bits: images // 257)."
            )
        fill = [round(255 * value) for value in self.mean]
        levels = transforms.resize_and_crop(images, self.size, self.resized, self.interpolation, self.crop_mode, fill)
        return transforms.normalise(levels, self.mean, self.std)

    def read(self, path: str | os.PathLike[str]) -> Any:
        """(size, size, 3) of the picture in a file; the path may be a string tensor, so that tf.data can map this."""
        import tensorflow as tf

        return self.call(decode(tf.io.read_file(path))) if tf.is_tensor(path) else self(self._open(path))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-3], self.size, self.size, 3)

    def get_config(self) -> dict[str, Any]:
        keys = ("size", "crop", "mean", "std", "interpolation", "crop_mode")
        return {**super().get_config(), "dtype": "float32", **{key: getattr(self, key) for key in keys}}

    def _open(self, path: str | os.PathLike[str]) -> Any:
        try:
            with open(path, "rb") as file:
                encoded = file.read()
        except OSError as error:
            raise type(error)(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
        return _checked(encoded, os.fspath(path))


def decode(encoded: Tensor) -> Any:
    """`zoo.decoding.decode`, which imports TensorFlow.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.input_pipeline import decode
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (5, 3), "red").save(file, "PNG")
        >>> image = decode(file.getvalue())
        >>> image.shape == (3, 5, 3), image[0, 0].numpy()
        (True, array([255,   0,   0], dtype=uint8))
    """
    from zoo.decoding import decode

    return decode(encoded)


def _checked(encoded: bytes, what: str) -> Any:
    import tensorflow as tf

    try:
        return decode(tf.constant(encoded))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{what} is not a JPEG, PNG, GIF or BMP picture, nor another that Pillow reads, or a damaged one."
        ) from error
