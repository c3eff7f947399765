"""From a file to what a network takes: decoded, resized, cropped and normalised as in training, without TensorFlow."""

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from zoo import pillow_decoding, transforms
from zoo.data_config import DataConfig
from zoo.pictures import NOT_DECODED

COLOUR = "it has colour, and the network takes grey pictures (channels=1)"


class PictureError(ValueError):
    """A picture cannot be read; the text says why, as the end of a sentence.

    Example:
        >>> from zoo.prediction.pictures import PictureError
        >>> print(PictureError("it is empty"))
        it is empty
    """


@contextmanager
def pixel_limit(largest: int) -> Iterator[None]:
    """In the block Pillow raises for pictures, and pictures inside of files, of more than `largest` pixels.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> from zoo.prediction.pictures import pixel_limit, read
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "red.png"
        >>> Image.new("RGB", (40, 25), "red").save(path)
        >>> with pixel_limit(999):
        ...     read(str(path), channels=3)
        Traceback (most recent call last):
            ...
        zoo.prediction.pictures.PictureError: it has 1,000 pixels, and at most 999 are read (--max-pixels)
    """
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = largest
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is damaged, which no picture needs
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read(path: str, channels: int) -> np.ndarray:
    """uint8 (H, W, channels) of a file, as the evaluation in training decodes it; within `pixel_limit`.

    Raises PictureError for what is no picture or a damaged one, of too many pixels, or with colour for 1 channel.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> from zoo.prediction.pictures import read
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (5, 3), 7).save(path)
        >>> read(str(path), channels=1).shape
        (3, 5, 1)
    """
    try:
        levels = pillow_decoding.decode(_bytes(path))
    except PictureError:
        raise
    except ValueError as error:
        raise _fault(error.__cause__) from error
    if channels == 1:
        if (levels != levels[..., :1]).any():
            raise PictureError(COLOUR)
        levels = levels[..., :1]
    return levels


def prepare(levels: np.ndarray, config: DataConfig) -> np.ndarray:
    """Levels (H, W, C) -> what the network takes: float32 (height, width, C), or they themselves where it does that.

    Example:
        >>> from zoo.data_config import DataConfig
        >>> from zoo.prediction.pictures import prepare
        >>> image = prepare(np.full((40, 25, 3), 255, "uint8"), DataConfig((16, 16), mean=(0.5,), std=(0.5,)))
        >>> image.shape, image.min()
        ((16, 16, 3), np.float32(1.0))
    """
    return levels if config.include_preprocessing else transforms.prepare(levels[None], config)[0]


def _bytes(path: str) -> bytes:
    """What is in a file, of which the header is that of a picture: others may be of any size."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("it is no regular file")
        if not status.st_size:
            raise PictureError("it is empty")
        with open(path, "rb") as file:
            _check_header(file)
            file.seek(0)
            return file.read()
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from error


def _check_header(file: BinaryIO) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            kind = image.format
    except UnidentifiedImageError as error:
        raise PictureError("it is no picture of a format that Pillow reads") from error
    except Exception as error:  # Pillow's readers raise whatever a wrong header leads them to
        raise _fault(error) from error
    if kind in NOT_DECODED:
        raise PictureError(f"its format is {kind}, which is not read")


def _fault(error: BaseException | None) -> PictureError:
    """What an error of Pillow's says of a picture."""
    from PIL import Image

    if not isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return PictureError("it is damaged or cut off")
    number = re.search(r"\((\d+) pixels\)", str(error))
    size = f"{int(number[1]):,}" if number else "more"
    return PictureError(f"it has {size} pixels, and at most {Image.MAX_IMAGE_PIXELS:,} are read (--max-pixels)")
