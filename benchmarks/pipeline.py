"""What training images cost: each stage of the input pipeline, and the share of a training step that waits for them.

usage: python benchmarks/pipeline.py [--images 400] [--size 224] [--batch 32] [--network NAME] [--steps 40]
                                     [--folder PATH] [--json FILE] [OVERRIDE ...]

    python benchmarks/pipeline.py --network shufflenet_v2_x1_0 recipe=rsb_a3 dataset.flip=true

Overrides are those of train.py. Images are JPEGs of 500 x 375 pixels that the script draws, or those of `--folder`
(PATH/train/CLASS/*.jpg). Processor time is that of all threads of this process, so that what others do on the machine
changes it little; images/s suffer from it. Each stage holds those before it. `waiting` is the share of the time of a
step, on the cores that also prepare the images, in which the step waits for its batch.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from machine import busy_share, identity, warn_if_busy
from options import network, positive

from zoo import tensorflow_process

FEWEST = 10  # images that are drawn, one of each class
WARM_UP = 4  # batches, and steps, that are not timed
ROOT = Path(__file__).resolve().parents[1]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=400, help="that are drawn to train on")
    parser.add_argument("--size", type=positive, default=224, help="pixels of a training image")
    parser.add_argument("--batch", type=positive, default=32, help="images of a step")
    parser.add_argument("--network", type=network, default="shufflenet_v2_x1_0", help="a name from zoo.list_models()")
    parser.add_argument("--steps", type=positive, default=40, help="training steps that are timed")
    parser.add_argument(
        "--passes", type=positive, default=3, help="how often each stage reads the images; the best counts"
    )
    parser.add_argument("--folder", type=Path, help="an image folder in place of drawn images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of train.py, KEY=VALUE")
    arguments = parser.parse_args()
    least = max(FEWEST, arguments.batch)
    if arguments.images < least:
        parser.error(f"--images {arguments.images} is too few: draw at least {least}, a batch and one of each class")
    return arguments


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cost(batches: Iterable[Any], batch: int, images: int, passes: int) -> dict[str, float]:
    """Processor milliseconds an image and images/s of reading `images` in batches, the best of several passes."""
    reading, count = iter(batches), max(1, images // batch)
    for _ in range(WARM_UP):
        next(reading)
    measured = []
    for _ in range(passes):
        began, used = time.perf_counter(), processor_seconds()
        for _ in range(count):
            next(reading)
        measured.append((processor_seconds() - used, time.perf_counter() - began))
    spent, elapsed = (min(each) for each in zip(*measured, strict=True))
    return {"ms_per_image": 1e3 * spent / (count * batch), "images_per_second": count * batch / elapsed}


def settings_of(arguments: argparse.Namespace, folder: Path) -> Any:
    """What train.py would train with these arguments."""
    from hydra import compose, initialize_config_dir

    from zoo.training.settings import check

    own = ["dataset=image_folder", f"dataset.data_dir={folder}", f"dataset.image_size={arguments.size}"]
    own += ["dataset.cache=false", "model=named", f"model.variant={arguments.network}", "recipe=rsb_a3"]
    own += [f"recipe.batch_size={arguments.batch}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return check(compose("config", [*own, *arguments.overrides]))


def stages(settings: Any, folder: Any, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The cost of each stage of the pipeline of an image folder, and of all of it."""
    import tensorflow as tf

    from zoo.datasets import augment, pipeline
    from zoo.datasets.parallel import AHEAD, in_parallel, untuned

    config = settings.dataset
    files = [tf.constant(Path(path).read_bytes()) for path in folder.train.paths]
    encoded = tf.data.Dataset.from_tensor_slices(tf.stack(files)).enumerate().repeat()

    def key(index: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.constant(0, tf.int64), index])

    def cropped(index: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        if not config.random_resized_crop:
            return augment.decode(image, config.channels)
        return augment.random_crop(image, key(index), config)

    def resized(index: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        if not config.random_resized_crop:
            return augment.centre_square(cropped(index, image), config)
        return augment.squashed(cropped(index, image), config)

    def some_level(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        """One number of the image, which then costs nothing to hand over, and is not left uncomputed."""
        return tf.autograph.experimental.do_not_convert(lambda *image: tf.reshape(function(*image), [-1])[0])

    def bare(index: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(image, channels=config.channels, dct_method="INTEGER_ACCURATE")

    measured = {}
    for name, function in {"decoder alone": bare, "decode and crop": cropped, "and resize": resized}.items():
        counted = encoded.map(some_level(function), **in_parallel()).batch(arguments.batch)
        measured[name] = cost(untuned(counted.prefetch(AHEAD)), arguments.batch, arguments.images, arguments.passes)
    batched = encoded.map(resized, **in_parallel()).batch(arguments.batch)

    def flipped(images: tf.Tensor) -> tf.Tensor:
        return augment.shift_and_flip(images, key(tf.constant(0, tf.int64)), config)

    for name, function in {
        "and batch": lambda images: images,
        "and flip": flipped,
        "and normalise": lambda images: augment.normalise(flipped(images), config),
    }.items():
        images = batched.map(function, **in_parallel()).prefetch(AHEAD)
        measured[name] = cost(untuned(images), arguments.batch, arguments.images, arguments.passes)
    data = pipeline.load(config, arguments.batch, seed=0, folder=folder)
    measured["image folder, complete"] = cost(data.stream(), arguments.batch, arguments.images, arguments.passes)
    return measured


def main() -> None:
    arguments = parsed()
    tensorflow_process.prepare()
    import drawn_photographs

    figures = {**identity(), "busy": busy_share(), "size": arguments.size, "batch": arguments.batch}
    warn_if_busy(figures["busy"])
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary, "photographs")
        if not arguments.folder:
            figures["bytes_per_image"] = drawn_photographs.write_folder(root, arguments.images)
        settings = settings_of(arguments, root)
        from zoo.datasets.folders import list_folder

        folder = list_folder(settings.dataset)
        figures["stages"] = stages(settings, folder, arguments)
        if not arguments.folder:
            figures["stages"] |= records(settings, root, Path(temporary, "records"), arguments)
        for name, stage in figures["stages"].items():
            print(f"{name:28} {stage['ms_per_image']:7.3f} ms {stage['images_per_second']:8.0f} images/s", flush=True)
        figures["training"] = waiting(settings, folder, arguments)
    training = figures["training"]
    print(
        f"{arguments.network}: {training['step_seconds'] * 1e3:.0f} ms a step of {arguments.batch}, "
        f"{training['images_per_second']:.1f} images/s, waiting {training['waiting']:.1%}; processor "
        f"{training['ms_per_image']:.2f} ms an image, {training['ms_per_image_without_input']:.2f} for one batch again",
        flush=True,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def records(settings: Any, root: Path, data_dir: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The cost of the same images in records: read by TFDS, as its own benchmark does it, and by the pipeline."""
    from dataclasses import replace

    import tensorflow_datasets as tfds
    from drawn_photographs import DrawnPhotographs
    from tensorflow_datasets.core.utils.benchmark import (
        raw_benchmark,
    )  # tfds.benchmark, which needs pandas for its table

    from zoo.datasets import pipeline

    DrawnPhotographs.FOLDER = root
    builder = DrawnPhotographs(data_dir=data_dir)
    builder.download_and_prepare()
    read = tfds.ReadConfig(try_autocache=False)  # which would keep the decoded images in memory
    measured = []
    for _ in range(arguments.passes):
        used = processor_seconds()
        done = raw_benchmark(builder.as_dataset(split="train", read_config=read))
        rate = done.examples_per_second(include_first=False)
        measured.append((1e3 * (processor_seconds() - used) / done.num_examples, rate))
    times, rates = zip(*measured, strict=True)
    config = replace(settings.dataset, source="tfds", builder="drawn_photographs", data_dir=str(data_dir))
    ours = pipeline.load(config, arguments.batch, seed=0).stream()
    return {
        "TFDS, decoded alone": {"ms_per_image": min(times), "images_per_second": max(rates)},
        "records, complete": cost(ours, arguments.batch, arguments.images, arguments.passes),
    }


def waiting(settings: Any, folder: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """Trains the network for some steps, and says for how long they wait for their batches."""
    import numpy as np
    import tensorflow as tf

    from zoo.training import recipe
    from zoo.training.preparation import build_model, load_data

    data = load_data(settings, folder)
    model = build_model(settings, data)
    recipe.compile_model(model, settings.recipe, data.steps_per_epoch)
    step = tf.function(model.train_step)
    batches = iter(data.stream())
    for _ in range(WARM_UP):
        step(next(batches))
    blocked, used, began = 0.0, processor_seconds(), time.perf_counter()
    for _ in range(arguments.steps):
        asked = time.perf_counter()
        batch = next(batches)
        blocked += time.perf_counter() - asked
        logs = step(batch)
        np.asarray(logs["loss"])  # a GPU computes on, else
    elapsed, spent = time.perf_counter() - began, processor_seconds() - used
    del batches  # and with it what is prepared ahead
    used = processor_seconds()
    for _ in range(arguments.steps):
        np.asarray(step(batch)["loss"])
    images, alone = arguments.steps * arguments.batch, processor_seconds() - used
    return {
        "waiting": blocked / elapsed,
        "ms_per_image_without_input": 1e3 * alone / images,
        "step_seconds": elapsed / arguments.steps,
        "images_per_second": images / elapsed,
        "ms_per_image": 1e3 * spent / images,
    }


if __name__ == "__main__":
    main()
