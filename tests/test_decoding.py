"""Files of every format become what Pillow's users see, in zoo.preprocessing and in training alike."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from helpers.pictures import arrays, folder_config, write_folder
from helpers.processes import run_code
from zoo import decoding
from zoo.datasets import augment
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import load
from zoo.decoding import BY_PILLOW, orientation
from zoo.input_pipeline import Preprocessing, decode, preprocessing

NOISE = np.random.default_rng(0).integers(0, 256, (8, 11, 4), np.uint8)
LEVELS = np.kron(NOISE, np.ones((4, 4, 1), np.uint8))  # (32, 44, 4); JPEG would blur single pixels
RGBA = Image.fromarray(LEVELS)
RGB = RGBA.convert("RGB")
GREY = Image.fromarray(LEVELS[..., 0])
PICTURES = {
    "rgb": RGB, "grey": GREY, "palette": RGB.quantize(16), "bits": GREY.convert("1"), "cmyk": RGB.convert("CMYK"),
}  # fmt: skip
FORMATS = {
    "PNG": ("rgb", "grey", "palette", "bits"),
    "JPEG": ("rgb", "grey", "cmyk"),
    "BMP": ("rgb", "grey", "palette", "bits"),
    "GIF": ("rgb", "grey", "palette", "bits"),
    "TIFF": ("rgb", "grey", "palette", "bits", "cmyk"),
    "WEBP": ("rgb", "grey", "palette"),
    "PPM": ("rgb", "grey", "bits"),
}
GRAPH = tf.function(decode, input_signature=[tf.TensorSpec((), tf.string)])


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(kind: str, value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(RGB, kind, exif=exif)


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_pillows_rgb(kind):
    for name in FORMATS[kind]:
        data = encoded(PICTURES[name], kind)
        np.testing.assert_array_equal(decode(tf.constant(data)), by_pillow(data), name)
        np.testing.assert_array_equal(GRAPH(data), by_pillow(data), name)


def test_a_red_palette_bmp_is_red():
    red = encoded(Image.new("RGB", (8, 8), "red").quantize(2), "BMP")
    np.testing.assert_array_equal(decode(tf.constant(red)), np.broadcast_to([255, 0, 0], (8, 8, 3)))
    pixels = Preprocessing(4, 1.0, (0, 0, 0), (1, 1, 1))(red)
    np.testing.assert_allclose(pixels[0], np.broadcast_to([1, 0, 0], (4, 4, 3)), atol=1e-6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_upright(kind):
    shapes = set()
    for value in range(1, 9):
        data = oriented(kind, value)
        np.testing.assert_array_equal(GRAPH(data), by_pillow(data), str(value))
        shapes.add(GRAPH(data).shape)
    assert shapes == {(32, 44, 3), (44, 32, 3)}


@pytest.mark.parametrize("value", range(1, 9))
def test_training_turns_the_box_that_it_decodes(value):
    """A box of the whole picture, once of a JPEG, of which the box alone is decoded."""
    data = oriented("JPEG", value)
    upright = by_pillow(data)
    aspect = upright.shape[1] / upright.shape[0]
    config = DatasetConfig(image_size=24, channels=3, crop_area=[1.0, 1.0], crop_aspect=[aspect, aspect])
    square = augment.random_resized_square(tf.constant(data), tf.constant([1, 2], tf.int64), config).numpy()
    wide = Image.fromarray(upright).resize((24, upright.shape[0]), Image.Resampling.BILINEAR)
    expected = np.asarray(wide.resize((24, 24), Image.Resampling.BILINEAR))
    assert np.abs(square.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("value", [1, 3, 6, 7])
def test_a_box_is_drawn_in_the_upright_picture(value):
    """A JPEG and a lossless copy of its upright pixels give the same box for the same seed."""
    data = oriented("JPEG", value)
    config = DatasetConfig(image_size=24, channels=3, crop_area=[0.2, 0.3], crop_aspect=[0.6, 0.7])
    copy = encoded(Image.fromarray(by_pillow(data)), "PNG")
    for seed in range(3):
        squares = [
            augment.random_resized_square(tf.constant(each), tf.constant([seed, 2], tf.int64), config).numpy()
            for each in (data, copy)
        ]
        # Chroma at the edge of a box that is decoded alone lacks its neighbours.
        assert np.mean(np.abs(squares[0].astype(int) - squares[1])) < 4


def test_what_is_transparent_lies_over_white():
    """Pillow's `alpha_composite`; a colour that hides below full transparency must not be seen."""
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    hidden.putpixel((0, 0), (10, 20, 30, 255))
    expected = np.full((8, 8, 3), 255)
    expected[0, 0] = (10, 20, 30)
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        np.testing.assert_array_equal(GRAPH(encoded(hidden, kind, **options)), expected, kind)
    white = Image.new("RGBA", RGBA.size, "white")
    np.testing.assert_array_equal(
        GRAPH(encoded(RGBA, "PNG")), np.asarray(Image.alpha_composite(white, RGBA).convert("RGB"))
    )
    index = encoded(RGB.quantize(4), "PNG", transparency=2)
    over = Image.alpha_composite(white, Image.open(io.BytesIO(index)).convert("RGBA"))
    np.testing.assert_array_equal(GRAPH(index), np.asarray(over.convert("RGB")))


def test_of_16_bits_the_upper_8_remain():
    deep = LEVELS.astype(np.uint16) * 256 + 200
    for channels in (1, 3):
        png = tf.io.encode_png(deep[..., :channels]).numpy()
        expected = np.broadcast_to(LEVELS[..., :channels], (*LEVELS.shape[:2], 3))
        np.testing.assert_array_equal(GRAPH(png), expected)
    for kind in ("TIFF", "PPM"):  # Pillow opens the latter as 32 bits
        np.testing.assert_array_equal(GRAPH(encoded(Image.fromarray(deep[..., 0]), kind))[..., 0], LEVELS[..., 0], kind)


def test_of_several_frames_the_first():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(GRAPH(data), np.broadcast_to([255, 0, 0], (8, 8, 3)), kind)


def test_plain_files_are_left_to_tensorflow():
    """Pillow, in Python, is not asked about small PNG files, of which data sets consist, and of JPEG for the header."""
    for name in ("rgb", "grey"):
        assert decoding._is_small_png(tf.constant(encoded(PICTURES[name], "PNG")))
        assert orientation(tf.constant(encoded(PICTURES[name], "JPEG"))) == 1
    assert orientation(tf.constant(oriented("JPEG", 6))) == 6
    others = (
        encoded(RGBA, "PNG"), encoded(GREY, "PNG", transparency=7), encoded(PICTURES["palette"], "PNG"),
        oriented("PNG", 6), tf.io.encode_png(LEVELS[..., :3].astype(np.uint16)).numpy(), b"", b"\x89PNG",
    )  # fmt: skip
    assert not any(decoding._is_small_png(tf.constant(data)) for data in others)
    assert orientation(tf.constant(encoded(RGBA, "PNG"))) == BY_PILLOW


@pytest.mark.parametrize("data", [
    b"", b"x", b"<html></html>", encoded(RGB, "JPEG")[:400], encoded(RGB, "PNG")[:300], encoded(RGB, "GIF")[:200],
    encoded(RGB, "WEBP")[:100], encoded(RGB, "BMP")[:300], encoded(RGB, "JPEG")[:-2], b"\xff\xd8\xff\xe0" + bytes(99),
], ids=range(10))  # fmt: skip
def test_what_is_no_picture_is_an_invalid_argument(data):
    for function in (decode, GRAPH):
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(tf.constant(data))
    with pytest.raises(ValueError, match="nor another that Pillow reads, or a damaged one"):
        Preprocessing()(data)


@pytest.mark.heavy
def test_no_program_is_started_with_a_picture(tmp_path):
    """PostScript is one to run, and its file may be called a JPEG."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    ghostscript.chmod(0o755)
    code = "import os; os.environ['PATH'] = os.environ['GS']\nfrom zoo import decoding, pillow_decoding\n"
    code += "for decode in (decoding.decode, pillow_decoding.decode):\n try: decode(EPS)\n except Exception as error: "
    code += "print('the format EPS is not read' in str(error))"
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    assert run_code(f"EPS = {eps!r}\n{code}", GS=str(tmp_path)).split() == ["True", "True"]
    assert not (tmp_path / "started").exists()


def test_training_evaluates_the_tensor_that_preprocessing_gives(tmp_path):
    """At 96 pixels, where the rounding of the resized side shows: from the file to the network's input."""
    write_folder(tmp_path, {"train": {"a": 2, "b": 2}, "validation": {"a": 1, "b": 1}})
    folder = tmp_path / "validation" / "a"
    (folder / "0.png").unlink()
    image = np.random.default_rng(1).integers(0, 256, (61, 90, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(folder / "0.jpg", exif=exif)
    layer = preprocessing("torchvision/resnet50.IMAGENET1K_V1", size=96)
    settings = {"image_size": 96, "crop_fraction": 0.875, "mean": list(layer.mean), "std": list(layer.std)}
    for cache in (True, False):
        images, _ = arrays(load(folder_config(tmp_path, cache=cache, **settings), 2, seed=0).validation)
        np.testing.assert_array_equal(images[0], layer(folder / "0.jpg")[0])
        np.testing.assert_array_equal(images[1], layer(tmp_path / "validation" / "b" / "0.png")[0])


def test_grey_networks_take_every_file_without_colour(tmp_path):
    config = DatasetConfig(image_size=8, channels=1)
    for kind in ("PNG", "BMP", "JPEG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(GREY.convert("RGB") if kind == "PNG" else GREY, kind, **options)
        np.testing.assert_array_equal(augment.decode(tf.constant(data), 1), by_pillow(data)[..., :1], kind)
        assert augment.random_resized_square(tf.constant(data), tf.constant([1, 2]), config).shape == (8, 8, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="set dataset.channels=3"):
        augment.decode(tf.constant(encoded(RGB, "PNG")), 1)
