"""How a convolution is computed: every way equals the definition, the choice is explicit, nothing is passed over."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from blocks import GroupedConv2D, grouped_convolution
from blocks.ops import implementation as formulations
from blocks.ops.implementation import NAMES, choose, obstacle
from blocks.ops.tensorflow import runtime
from helpers import definition
from helpers.checks import check_close
from helpers.situations import PLAIN
from helpers.tensors import exact, values_and_gradients

POINT = dataclasses.replace(PLAIN, kernel_size=(1, 1))
DEPTHWISE = dataclasses.replace(PLAIN, groups=64, inputs=1, outputs=1)

# (channels, filters, kernel, stride, groups): every kind that the rules tell apart, odd sizes among them.
SHAPES = (
    (24, 36, 1, 1, 1),
    (24, 36, 1, 2, 3),
    (300, 70, 1, 1, 1),
    (32, 32, 3, 1, 8),
    (32, 64, 3, 2, 4),
    (48, 48, 3, 1, 48),
    (37, 37, 5, 2, 37),
    (20, 20, 7, 1, 20),
    (20, 40, 3, 1, 20),
    (7, 9, 3, 1, 1),
)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_way_equals_the_definition(shape, dtype, tolerance):
    channels, filters, size, stride, groups = shape
    images, kernel = exact((3, 9, 11, channels), dtype), exact((size, size, channels // groups, filters), dtype)
    padding = ((size // 2, size // 2),) * 2
    outputs = definition.grouped_convolution(images, kernel, (stride,) * 2, padding, (1, 1))
    weights = exact(outputs.shape, dtype)
    expected = values_and_gradients(
        lambda x, w: definition.grouped_convolution(x, w, (stride,) * 2, padding, (1, 1)),
        images,
        kernel,
        weights=weights,
    )
    ran = []
    for name in (None, *NAMES):

        def ours(x, w, name=name):
            return grouped_convolution(x, w, stride, padding, implementation=name)

        try:
            arguments = (tf.cast(images, dtype), tf.cast(kernel, dtype))
            found = values_and_gradients(ours, *arguments, weights=tf.cast(weights, "float32"))
        except ValueError as error:
            assert f"implementation={name!r} can't be used here" in str(error)
            continue
        ran.append(name)
        for one, plain in zip(found, expected, strict=True):
            assert one.dtype == dtype
            check_close(one, plain, tolerance)
    assert None in ran and len(ran) >= 4


def test_every_way_is_tried_by_some_shape():
    tried = set()
    for channels, filters, size, stride, groups in SHAPES:
        situation = dataclasses.replace(
            PLAIN,
            dtype="bfloat16",
            groups=groups,
            inputs=channels // groups,
            outputs=filters // groups,
            kernel_size=(size, size),
            strides=(stride, stride),
        )
        tried |= {name for name in NAMES if obstacle(name, situation) is None}
    assert tried == set(NAMES)


@pytest.mark.parametrize(
    "situation, expected",
    [
        (PLAIN, "kernel"),
        (dataclasses.replace(PLAIN, kernels=0), "native"),
        (POINT, "kernel"),
        (DEPTHWISE, "kernel"),
        (dataclasses.replace(POINT, groups=1, kernels=0), "native"),
        (dataclasses.replace(POINT, groups=1, kernels=0, positions=64), "matmul"),
        (dataclasses.replace(PLAIN, dtype="bfloat16"), "kernel"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", kernels=0), "float32"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", kernels=0, strides=(2, 2)), "native"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", matrix_units=True), "kernel"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", matrix_units=True, inputs=16, outputs=16), "native"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", kernels=0, strides=(2, 2), outputs=7), "float32"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", matrix_units=True, kernels=0, inputs=33), "float32"),
        (dataclasses.replace(POINT, dtype="bfloat16", groups=1, inputs=64, matrix_units=True), "hybrid"),
        (dataclasses.replace(PLAIN, onednn=False), "kernel"),
        (dataclasses.replace(PLAIN, onednn=False, kernels=0), "split"),
        (dataclasses.replace(PLAIN, onednn=False, dilation=(2, 2), groups=1), "split"),
        (dataclasses.replace(PLAIN, onednn=False, kernels=0, dtype="bfloat16"), "float32"),
        (dataclasses.replace(DEPTHWISE, onednn=False, kernels=0), "depthwise"),
        (dataclasses.replace(PLAIN, xla=True, kernels=0), "split"),
        (dataclasses.replace(PLAIN, xla=True, kernels=0, strides=(2, 2)), "taps"),
        (dataclasses.replace(PLAIN, xla=True, kernels=0, strides=(2, 2), dtype="bfloat16"), "split"),
        (dataclasses.replace(DEPTHWISE, xla=True, kernels=0), "taps"),
        (dataclasses.replace(DEPTHWISE, xla=True, kernels=0, positions=None), "split"),
        (dataclasses.replace(DEPTHWISE, device="GPU", kernels=0), "native"),
        (dataclasses.replace(DEPTHWISE, kernels=0, exporting=True), "depthwise"),
        (dataclasses.replace(DEPTHWISE, kernels=0, exporting=True, dilation=(2, 2)), "native"),
        (dataclasses.replace(DEPTHWISE, kernels=0, exporting=True, strides=(2, 1)), "native"),
        (dataclasses.replace(POINT, groups=1, kernels=0, exporting=True, positions=1), "native"),
        (dataclasses.replace(PLAIN, kernels=0, exporting=True, onednn=False, dtype="bfloat16"), "native"),
    ],
)
def test_the_rules(situation, expected):
    assert choose(situation) == expected
    assert obstacle(expected, situation) is None


def test_what_is_chosen_can_always_be_computed():
    """Over all combinations of what the rules look at."""
    for device, xla, onednn, kernels, units in (
        ("CPU", False, True, 16, False),
        ("CPU", False, True, 0, False),
        ("CPU", False, True, 16, True),
        ("CPU", False, True, 0, True),
        ("CPU", False, False, 16, False),
        ("CPU", False, False, 0, False),
        ("CPU", True, True, 0, False),
        ("GPU", False, False, 0, False),
    ):
        for dtype in ("float32", "bfloat16", "float16", "float64"):
            for base in (PLAIN, POINT, DEPTHWISE, dataclasses.replace(POINT, groups=1)):
                for strides in ((1, 1), (2, 2), (2, 1)):
                    for dilation in ((1, 1), (2, 2)):
                        for positions in (None, 49, 1024):
                            situation = dataclasses.replace(
                                base,
                                device=device,
                                xla=xla,
                                onednn=onednn and dtype != "float64",
                                kernels=kernels,
                                matrix_units=units,
                                dtype=dtype,
                                strides=strides,
                                dilation=dilation if base.kernel_size != (1, 1) else (1, 1),
                                positions=positions,
                            )
                            name = choose(situation)
                            assert obstacle(name, situation) is None, (name, situation)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="implementation='nativ' is not known. Did you mean 'native'"):
        GroupedConv2D(8, 3, groups=2, implementation="nativ")


def test_a_way_that_cannot_compute_it_says_why():
    layer = GroupedConv2D(8, 3, groups=2, implementation="matmul")
    with pytest.raises(ValueError, match="implementation='matmul' can't be used here: it takes a kernel of 1 x 1"):
        layer(tf.ones((1, 8, 8, 8)))


def test_xla_is_seen_while_it_is_traced():
    seen = []

    def note(x):
        seen.append(runtime.in_xla())
        return x

    tf.function(note, jit_compile=True)(tf.ones(3))
    tf.function(note, jit_compile=False)(tf.ones(3))
    assert seen == [True, False] and not runtime.in_xla()


SHAPES_IN_XLA = [(32, 32, 3, 1, 8), (32, 64, 3, 2, 8), (24, 24, 3, 2, 24), (24, 36, 1, 1, 3)]


@pytest.mark.parametrize("shape", SHAPES_IN_XLA, ids=str)
def test_training_inside_xla_gives_the_same(shape):
    channels, filters, size, stride, groups = shape
    layer = GroupedConv2D(filters, size, stride, "same", groups=groups)
    images = tf.cast(exact((2, 8, 8, channels), "float32"), "float32")
    layer(images)

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        return [loss, *tape.gradient(loss, layer.trainable_variables)]

    for plain, compiled in zip(step(images), tf.function(step, jit_compile=True)(images), strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-4 * np.abs(plain).max())


def test_the_names_are_checked_in_one_place():
    formulations.check_implementation(None)
    for name in NAMES:
        formulations.check_implementation(name)
