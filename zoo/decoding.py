"""From the bytes of a picture to its pixels, as Pillow's users see them."""

import io

import numpy as np
import tensorflow as tf

from zoo import pillow_decoding

ORIENTATION = 0x0112  # tag of EXIF
BY_PILLOW = 0  # in place of an orientation
METADATA = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # where a PNG may note its orientation
# How a PNG of 8 bits begins that is grey or RGB (colour type 0 or 2), and where other bits may stand.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(8) + b"\x08" + bytes(12) + b"IDAT"
PNG_BITS = b"\xff" * 16 + bytes(8) + b"\xff\xfd" + bytes(11) + b"\xff" * 4
ENCODED = [tf.TensorSpec((), tf.string)]


@tf.function(input_signature=ENCODED, autograph=False)
def decode(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 (H, W, 3) of the bytes of a picture, a string tensor (), in any format that the installed Pillow opens.

    The picture is turned as its EXIF orientation says (`ImageOps.exif_transpose`), what is transparent is laid over
    white, palettes and CMYK become RGB as `Image.convert("RGB")` makes them, of 16 bits a channel the upper 8 remain,
    and of several frames the first. TensorFlow decodes plain JPEG (with the accurate inverse transform) and PNG, which
    gives what Pillow gives; Pillow decodes the rest, in Python, so that a SavedModel cannot hold this.

    Raises tf.errors.InvalidArgumentError for bytes that are no picture, or a damaged one.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.decoding import decode
        >>> file = io.BytesIO()
        >>> Image.new("RGBA", (5, 3), (255, 0, 0, 0)).save(file, "PNG")
        >>> decode(file.getvalue())[0, 0].numpy()  # transparent, so the white below shows
        array([255, 255, 255], dtype=uint8)
    """
    turned = orientation(encoded)
    image = tf.cond(
        turned == BY_PILLOW,
        lambda: tf.numpy_function(pillow_decoding.decode, [encoded], tf.uint8, stateful=False),
        lambda: upright(_tensorflow(encoded), turned),
    )
    return tf.ensure_shape(image, (None, None, 3))


@tf.function(input_signature=ENCODED, autograph=False)
def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """int32 (): the EXIF orientation, 1 to 8, of a picture that TensorFlow decodes as Pillow does; else BY_PILLOW.

    Raises nothing for bytes that are no picture: Pillow meets them in `decode`.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.decoding import orientation
        >>> file, exif = io.BytesIO(), Image.Exif()
        >>> exif[0x0112] = 6  # to be turned clockwise
        >>> Image.new("RGB", (5, 3)).save(file, "JPEG", exif=exif)
        >>> int(orientation(file.getvalue()))
        6
    """
    turned = tf.cond(
        _is_small_png(encoded),
        lambda: tf.constant(1),
        lambda: tf.numpy_function(_orientation, [encoded], tf.int32, stateful=False),
    )
    return tf.ensure_shape(turned, ())


def _is_small_png(encoded: tf.Tensor) -> tf.Tensor:
    """Whether it is IHDR, one IDAT and IEND, so that nothing is left to ask Pillow: data sets of small pictures are."""
    start = tf.strings.join([tf.strings.substr(encoded, 0, len(PNG)), bytes(len(PNG))])
    start = tf.io.decode_raw(start, tf.uint8)[: len(PNG)]
    begins = tf.bitwise.bitwise_and(start, list(PNG_BITS)) == list(PNG)
    length = tf.tensordot(tf.cast(start[33:37], tf.int32), [1 << 24, 1 << 16, 1 << 8, 1], 1)
    return tf.reduce_all(begins) & (length + len(PNG) + 16 == tf.strings.length(encoded))


def upright(image: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """(H, W, C) as stored, or a part of it -> as it is to be seen, given its EXIF orientation (int32, 1 to 8).

    Example:
        >>> from zoo.decoding import upright
        >>> upright(np.array([[[1], [2], [3]]]), 6).numpy()[:, :, 0]  # a row becomes a column
        array([[1],
               [2],
               [3]])
    """
    swapped, rows, columns = _turns(turned)
    image = tf.cond(swapped, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(rows, lambda: tf.reverse(image, (0,)), lambda: image)
    return tf.cond(columns, lambda: tf.reverse(image, (1,)), lambda: image)


def upright_shape(stored: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """(H, W, C) of `upright` of an image whose stored shape is `stored`.

    Example:
        >>> from zoo.decoding import upright_shape
        >>> upright_shape((480, 640, 3), 6).numpy()
        array([640, 480,   3], dtype=int32)
    """
    return tf.where(_turns(turned)[0], tf.gather(stored, (1, 0, 2)), stored)


def stored_window(window: tf.Tensor, stored: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """Where a window (top, left, height, width) of the upright image lies in the stored one, of shape `stored`.

    Example:
        >>> from zoo.decoding import stored_window
        >>> stored_window((0, 10, 100, 200), (480, 640, 3), 3).numpy()  # of a picture that is upside down
        array([380, 430, 100, 200], dtype=int32)
    """
    swapped, rows, columns = _turns(turned)
    top, left, height, width = tf.unstack(window)
    whole = upright_shape(stored, turned)
    top = tf.where(rows, whole[0] - top - height, top)
    left = tf.where(columns, whole[1] - left - width, left)
    return tf.where(swapped, tf.stack([left, top, width, height]), tf.stack([top, left, height, width]))


def _turns(turned: tf.Tensor) -> tf.Tensor:
    """What makes an image upright: whether its axes are swapped, then its rows reversed, then its columns."""
    return turned >= 5, (turned % 4 == 3) | (turned % 4 == 0), (turned % 4 == 2) | (turned % 4 == 3)


def _tensorflow(encoded: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )


def _orientation(encoded: bytes) -> np.int32:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.mode not in ("L", "RGB", "P") or image.has_transparency_data:
                return np.int32(BY_PILLOW)
            if image.format == "PNG":
                return np.int32(BY_PILLOW if any(key in encoded for key in METADATA) else 1)
            if image.format in ("JPEG", "MPO") and encoded.endswith(b"\xff\xd9"):
                turned = image.getexif().get(ORIENTATION, 1)
                return np.int32(turned if turned in range(1, 9) else 1)
    except Exception:  # Pillow's readers raise many kinds; `pillow_decoding.decode` meets the same and reports it
        pass
    return np.int32(BY_PILLOW)
