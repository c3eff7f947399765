"""Pictures that Pillow decodes, without TensorFlow: `zoo.decoding` leaves to it what TensorFlow reads otherwise."""

import io

import numpy as np

from zoo.pictures import NOT_DECODED


def decode(encoded: bytes) -> np.ndarray:
    """uint8 (H, W, 3) of the bytes of a picture, as `zoo.decoding.decode` gives it.

    Raises ValueError for bytes that are no picture, or a damaged one, or EPS: Pillow would start Ghostscript with it.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> from zoo.pillow_decoding import decode
        >>> file = io.BytesIO()
        >>> Image.new("RGBA", (5, 3), (255, 0, 0, 0)).save(file, "PNG")
        >>> decode(file.getvalue())[0, 0]  # transparent, so the white below shows
        array([255, 255, 255], dtype=uint8)
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(encoded)) as stored:
            if stored.format in NOT_DECODED:
                raise ValueError(f"the format {stored.format} is not read")
            image = ImageOps.exif_transpose(stored)
            if image.mode.startswith("I;16") or (image.mode == "I" and stored.format in ("PNG", "PPM")):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.array(image.convert("RGB"))
    except Exception as error:  # Pillow's readers raise many kinds, which TensorFlow would not tell apart
        raise ValueError(f"Pillow cannot read the picture: {error}") from error
