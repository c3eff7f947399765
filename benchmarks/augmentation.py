"""Processor milliseconds an image that each operation and policy of the augmentation takes, and Pillow's for the same.

python benchmarks/augmentation.py            # 224 x 224 pixels, 3 channels, one thread

The time is the process's, whatever else the machine does, less what tf.data takes to hand over an image unchanged.
"""

import argparse
import time

import numpy as np
import tensorflow as tf
import this_copy  # noqa: F401  # first: before anything of zoo
from PIL import Image, ImageEnhance, ImageOps

from zoo.datasets import augment
from zoo.datasets.augmentation import color, geometry, images
from zoo.datasets.augmentation.erasing import erase
from zoo.datasets.augmentation.mixing import mix
from zoo.datasets.augmentation_config import ColorJitterConfig, MixingConfig, RandAugmentConfig, RandomErasingConfig
from zoo.datasets.config import DatasetConfig

BATCH = 32
FILL = (124, 116, 104)
MEAN = [0.485, 0.456, 0.406]
RESAMPLING = {name: Image.Resampling[name.upper()] for name in geometry.INTERPOLATIONS}
MOVES = {
    "shear_x": (0.2, lambda value: (1, value, 0, 0, 1, 0)),
    "shear_y": (0.2, lambda value: (1, 0, 0, value, 1, 0)),
    "translate_x": (17.3, lambda value: (1, 0, value, 0, 1, 0)),
    "translate_y": (17.3, lambda value: (1, 0, 0, 0, 1, value)),
}


def milliseconds(function, repeats: int, images_each: int = 1) -> float:
    """Of `function(number)`, int64 (), in a map of tf.data on one thread."""
    dataset = tf.data.Dataset.range(repeats + 5).map(function)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    iterator = iter(dataset.with_options(options))
    for _ in range(5):
        next(iterator)
    begin = time.process_time()
    for _ in range(repeats):
        next(iterator)
    return (time.process_time() - begin) / repeats / images_each * 1e3


def by_pillow(function, picture: Image.Image, repeats: int) -> float:
    begin = time.process_time()
    for _ in range(repeats):
        function(picture)
    return (time.process_time() - begin) / repeats * 1e3


def operations():
    """name -> (our function of an image, Pillow's of a picture or None)."""
    yield "invert", color.invert, ImageOps.invert
    yield "auto_contrast", color.auto_contrast, ImageOps.autocontrast
    yield "equalize", color.equalize, ImageOps.equalize
    yield "posterize", lambda x: color.posterize(x, 3), lambda p: ImageOps.posterize(p, 3)
    yield "solarize", lambda x: color.solarize(x, 100), lambda p: ImageOps.solarize(p, 100)
    yield "solarize_add", lambda x: color.solarize_add(x, 60), None
    for name in ("brightness", "contrast", "color", "sharpness"):
        function, enhancer = getattr(color, name), getattr(ImageEnhance, name.capitalize())
        yield name, lambda x, f=function: f(x, 1.4), lambda p, e=enhancer: e(p).enhance(1.4)
    yield "hue", lambda x: color.hue(x, 0.1), lambda p: p.convert("HSV").convert("RGB")
    for interpolation, resampling in RESAMPLING.items():
        yield (
            f"rotate, {interpolation}",
            lambda x, i=interpolation: geometry.rotate(x, 17.0, i, FILL),
            lambda p, r=resampling: p.rotate(17.0, r, fillcolor=FILL),
        )
        for name, (value, matrix) in MOVES.items():
            yield (
                f"{name}, {interpolation}",
                lambda x, n=name, v=value, i=interpolation: getattr(geometry, n)(x, v, i, FILL),
                lambda p, m=matrix, v=value, r=resampling: p.transform(
                    p.size, Image.Transform.AFFINE, m(v), r, fillcolor=FILL
                ),
            )
    yield "flip", geometry.flip, ImageOps.mirror


def configurations():
    """name -> what an image goes through."""
    yield "flip, half of the images", {"flip": True}
    yield "shift by up to 4 pixels, and flip", {"flip": True, "crop_padding": 4}
    for magnitude in (6.0, 7.0):
        for interpolation in ("nearest", "bilinear", "random"):
            yield (
                f"randaugment m{magnitude:g}, {interpolation}",
                {
                    "policy": "randaugment",
                    "policy_interpolation": interpolation,
                    "randaugment": RandAugmentConfig(magnitude=magnitude),
                },
            )
    for policy in ("autoaugment", "trivialaugment"):
        yield policy, {"policy": policy}
    yield "color jitter 0.4 without hue", {"color_jitter": ColorJitterConfig(0.4, 0.4, 0.4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--repeats", type=int, default=200, help="images of each")
    arguments = parser.parse_args()
    size, repeats = arguments.size, arguments.repeats
    levels = np.random.default_rng(0).integers(0, 256, (size // 8, size // 8, 3)).astype(np.uint8)
    picture = Image.fromarray(levels).resize((size, size), Image.Resampling.BICUBIC)
    image = tf.constant(np.asarray(picture))

    def fresh(number: tf.Tensor) -> tf.Tensor:
        """The image, which no optimiser of graphs can take for a constant."""
        return image + tf.cast(number // 2**40, tf.uint8)

    handing_over = milliseconds(fresh, repeats)
    print(f"{'':38} {'here':>8} {'Pillow':>8}  ms of a processor, {size} x {size} x 3; {handing_over:.2f} subtracted")
    for name, function, pillows in operations():
        own = milliseconds(lambda number, f=function: f(fresh(number)), repeats) - handing_over
        other = f"{by_pillow(pillows, picture, repeats):8.2f}" if pillows else ""
        print(f"{name:38} {own:8.2f} {other}", flush=True)
    for name, keys in configurations():
        config = DatasetConfig(image_size=size, channels=3, mean=MEAN, **keys)
        own = milliseconds(lambda number, c=config: images.apply(fresh(number), tf.stack([number, 1]), c), 2 * repeats)
        print(f"{name:38} {own - handing_over:8.2f}", flush=True)
    batch, labels = tf.stack([image] * BATCH), tf.range(BATCH)
    of_batches = DatasetConfig(image_size=size, channels=3, mean=MEAN, std=[0.2])

    def fresh_batch(number: tf.Tensor) -> tf.Tensor:
        return batch + tf.cast(number // 2**40, tf.uint8)

    def normalised(number: tf.Tensor) -> tf.Tensor:
        return augment.normalise(fresh_batch(number), of_batches)

    whole, floats = (milliseconds(each, repeats // 10, BATCH) for each in (fresh_batch, normalised))
    for name, config in (("mixup", MixingConfig(1.0)), ("cutmix", MixingConfig(0.0, 1.0))):
        own = milliseconds(
            lambda number, c=config: mix(fresh_batch(number), labels, tf.stack([number, 1]), c, BATCH),
            repeats // 10,
            BATCH,
        )
        print(f"{name:38} {own - whole:8.2f}", flush=True)
    for mode in ("const", "pixel"):
        config = RandomErasingConfig(0.25, mode)
        own = milliseconds(
            lambda number, c=config: erase(normalised(number), tf.stack([number, 1]), c), repeats // 10, BATCH
        )
        print(f"{f'random erasing of a quarter, {mode}':38} {own - floats:8.2f}", flush=True)


if __name__ == "__main__":
    main()
