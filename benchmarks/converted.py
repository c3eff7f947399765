"""Models of other libraries as they come and after `blocks.convert`: outputs, a training step, and the time of both.

usage: python benchmarks/converted.py [--models NAME ...] [--batch 4] [--size 128] [--rounds 7] [--csv FILE]

Both models are in one process and have the same weights; they are timed in alternating rounds, so that a noisy machine
slows both alike, and the ratio is that of their least times. The columns "outputs" and "weights" are the largest
difference of the outputs over the largest output, with random weights and statistics, and of any weight after one step
of SGD (1e-4; the gradients of networks without training are large) from Keras's initial ones, both in float32. The
libraries are installed by hand: kimm, keras-hub, zeromodels.
"""

import argparse
import functools
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import options
import tensorflow as tf
from machine import busy_share, identity
from report import write_csv

import blocks
from zoo.timing import call_seconds

CLASSES = 10
COLUMNS = ("model", "precision", "mode", "stock_ms", "converted_ms", "ratio", "outputs", "weights", "left")


def application(name: str) -> Callable[[int], keras.Model]:
    return lambda size: getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )


def of_kimm(name: str) -> Callable[[int], keras.Model]:
    def build(size: int) -> keras.Model:
        import kimm

        shape = (size, size, 3)
        return getattr(kimm.models, name)(
            input_shape=shape,
            include_preprocessing=False,
            weights=None,
            classes=CLASSES,
            classifier_activation="linear",
        )

    return build


def hub_resnet(size: int) -> keras.Model:
    """ResNet-50."""
    import keras_hub

    sizes = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7], "stackwise_num_filters": [64, 128, 256, 512]}
    blocks_of = {"stackwise_num_blocks": [3, 4, 6, 3], "stackwise_num_strides": [1, 2, 2, 2]}
    return keras_hub.models.ResNetBackbone(
        **sizes, **blocks_of, block_type="bottleneck_block", image_shape=(size, size, 3)
    )


def hub_mobilenet(size: int) -> keras.Model:
    """MobileNet v3 small."""
    import keras_hub

    return keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[16], [72, 88], [96, 240, 240, 120, 144], [288, 576, 576]],
        stackwise_num_blocks=[1, 2, 5, 3],
        stackwise_num_filters=[[16], [24, 24], [40, 40, 40, 48, 48], [96, 96, 96]],
        stackwise_kernel_size=[[3], [3, 3], [5] * 5, [5] * 3],
        stackwise_num_strides=[[2], [2, 1], [2, 1, 1, 1, 1], [2, 1, 1]],
        stackwise_se_ratio=[[0.5], [None, None], [0.25] * 5, [0.25] * 3],
        stackwise_activation=[["relu"], ["relu", "relu"], ["hard_swish"] * 5, ["hard_swish"] * 3],
        stackwise_padding=[[1], [1, 1], [2] * 5, [2] * 3],
        output_num_filters=1024,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=16,
        depthwise_filters=16,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=576,
        image_shape=(size, size, 3),
    )


def zeromodels_resnext(size: int) -> keras.Model:
    from zeromodels.models.resnext import ResNeXtImageClassify

    return ResNeXtImageClassify(image_size=size, num_classes=CLASSES)


MODELS: dict[str, Callable[[int], keras.Model]] = {
    **{
        name: application(name)
        for name in ("ConvNeXtTiny", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "Xception", "ResNet50")
    },
    "kimm RegNetY008": of_kimm("RegNetY008"),
    "kimm ConvNeXtAtto": of_kimm("ConvNeXtAtto"),
    "KerasHub ResNet-50": hub_resnet,
    "KerasHub MobileNet v3 small": hub_mobilenet,
    "ZeroModels ResNeXt-50": zeromodels_resnext,
}


def randomize(model: keras.Model) -> None:
    """Weights that keep activations in range and hide no mistake in a normalisation."""
    draw = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(draw.uniform(0.8, 1.2, weight.shape))
        elif "kernel" in weight.name:
            weight.assign(draw.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1])))
        elif weight.name not in ("mean", "variance") and keras.backend.is_float_dtype(weight.dtype):  # of images
            weight.assign(draw.normal(size=weight.shape) * 0.05)


def step_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """One step of SGD on a cross entropy of the first output, its positions averaged, in one graph."""
    optimizer = keras.optimizers.SGD(1e-4)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = tf.cast(keras.tree.flatten(model(images, training=True))[0], "float32")
            logits = tf.reduce_mean(tf.reshape(outputs, (images.shape[0], -1, outputs.shape[-1])), axis=1)
            labels = tf.range(images.shape[0]) % logits.shape[-1]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [each.value for each in variables]), variables)
        return loss

    return step


def answer_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda images: keras.tree.flatten(model(images, training=False))[0], autograph=False)


def pair(name: str, size: int, randomized: bool = False) -> tuple[keras.Model, keras.Model, int]:
    """The model as it comes, converted, and how many layers were left."""
    keras.utils.set_random_seed(0)
    stock = MODELS[name](size)
    if randomized:
        randomize(stock)
    converted, report = blocks.convert(stock, report=True)
    return stock, converted, len(report.left)


def differences(name: str, size: int, images: tf.Tensor) -> tuple[float, float]:
    """Of the outputs, and of the weights after one step."""
    stock, converted = (answer_of(model)(images).numpy() for model in pair(name, size, randomized=True)[:2])
    outputs = np.abs(stock - converted).max() / np.abs(stock).max()
    models = pair(name, size)[:2]
    for model in models:
        step_of(model)(images)
    first, second = ([keras.ops.convert_to_numpy(each) for each in model.weights] for model in models)
    return float(outputs), float(max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)))


def milliseconds(functions: list[Callable], images: tf.Tensor, rounds: int) -> list[float]:
    """The least time of each, timed in turn."""
    for function in functions:
        function(images).numpy()
    times: list[list[float]] = [[] for _ in functions]
    for index in range(rounds):
        for place in range(len(functions)):
            chosen = (place + index) % len(functions)
            times[chosen].append(call_seconds(functools.partial(_fetched, functions[chosen], images)))
    return [1e3 * min(each) for each in times]


def _fetched(function: Callable, images: tf.Tensor) -> np.ndarray:
    return function(images).numpy()


def measure(name: str, precision: str, batch: int, size: int, rounds: int) -> list[dict]:
    keras.backend.clear_session()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    images = tf.constant(np.random.default_rng(1).normal(size=(batch, size, size, 3)).astype("float32"))
    stock, converted, left = pair(name, size)
    facts = {"model": name, "precision": precision, "left": left}
    rows = []
    for mode, function in (("train", step_of), ("infer", answer_of)):
        before, after = milliseconds([function(stock), function(converted)], images, rounds)
        rows.append({**facts, "mode": mode, "stock_ms": before, "converted_ms": after, "ratio": before / after})
    if precision == "float32":
        outputs, weights = differences(name, size, images)
        for row in rows:
            row |= {"outputs": outputs, "weights": weights}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--precisions", type=options.some_of(("float32", "bfloat16")), default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=options.positive, default=4)
    parser.add_argument("--size", type=options.positive, default=128, help="pixels")
    parser.add_argument("--rounds", type=options.positive, default=7)
    parser.add_argument("--csv", help="a file for the rows")
    arguments = parser.parse_args()
    print(f"{identity()}, batch {arguments.batch}, {arguments.size} pixels, busy {busy_share():.0%}")
    rows: list[dict] = []
    for name in arguments.models:
        for precision in arguments.precisions:
            measured = measure(name, precision, arguments.batch, arguments.size, arguments.rounds)
            for row in measured:
                times = f"{row['stock_ms']:9.1f} ms, converted {row['converted_ms']:8.1f} ms: {row['ratio']:5.2f}x"
                same = f"  outputs {row['outputs']:.1e}, weights {row['weights']:.1e}" if "outputs" in row else ""
                print(f"{name:28} {precision:9} {row['mode']:6} stock {times}{same}", flush=True)
            rows += measured
            if arguments.csv:
                write_csv(arguments.csv, rows, COLUMNS)


if __name__ == "__main__":
    main()
