"""Implementations of a convolution: all equal the definition, the choice is explicit, nothing is passed over."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from blocks import GroupedConv2D, grouped_convolution
from blocks.ops.implementation import ALIASES, NAMES, check_implementation, choose, unsupported_reason
from blocks.ops.tensorflow import runtime
from helpers import definition
from helpers.checks import check_close
from helpers.conv_specs import PLAIN
from helpers.tensors import exact, values_and_gradients

POINT = dataclasses.replace(PLAIN, kernel_size=(1, 1))
DEPTHWISE = dataclasses.replace(PLAIN, groups=64, in_channels_per_group=1, out_channels_per_group=1)

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
def test_every_implementation_equals_the_definition(shape, dtype, tolerance):
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
            actual = values_and_gradients(ours, *arguments, weights=tf.cast(weights, "float32"))
        except ValueError as error:
            assert f"implementation={name!r} can't be used here" in str(error)
            continue
        ran.append(name)
        for one, plain in zip(actual, expected, strict=True):
            assert one.dtype == dtype
            check_close(one, plain, tolerance)
    assert None in ran and len(ran) >= 4


def test_every_implementation_is_tried_by_some_shape():
    tried = set()
    for channels, filters, size, stride, groups in SHAPES:
        spec = dataclasses.replace(
            PLAIN,
            dtype="bfloat16",
            groups=groups,
            in_channels_per_group=channels // groups,
            out_channels_per_group=filters // groups,
            kernel_size=(size, size),
            strides=(stride, stride),
        )
        tried |= {name for name in NAMES if unsupported_reason(name, spec) is None}
    assert tried == set(NAMES)


DOT_PRODUCTS = {"dtype": "bfloat16", "bfloat16_dot_products": True}
LIBRARY_DOT_PRODUCTS = {**DOT_PRODUCTS, "min_kernel_channels": None}


@pytest.mark.parametrize(
    "spec, expected",
    [
        (PLAIN, "custom_op"),
        (dataclasses.replace(PLAIN, min_kernel_channels=None), "native"),
        (POINT, "custom_op"),
        (DEPTHWISE, "custom_op"),
        (dataclasses.replace(POINT, groups=1, min_kernel_channels=None), "native"),
        (dataclasses.replace(POINT, groups=1, min_kernel_channels=None, positions=64), "matmul"),
        (dataclasses.replace(PLAIN, dtype="bfloat16"), "custom_op"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", min_kernel_channels=None), "float32"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", min_kernel_channels=None, strides=(2, 2)), "native"),
        (dataclasses.replace(PLAIN, dtype="bfloat16", matrix_units=True), "custom_op"),
        (
            dataclasses.replace(
                PLAIN, dtype="bfloat16", matrix_units=True, in_channels_per_group=16, out_channels_per_group=16
            ),
            "native",
        ),
        (
            dataclasses.replace(
                PLAIN, dtype="bfloat16", min_kernel_channels=None, strides=(2, 2), out_channels_per_group=7
            ),
            "float32",
        ),
        (
            dataclasses.replace(
                PLAIN, dtype="bfloat16", matrix_units=True, min_kernel_channels=None, in_channels_per_group=33
            ),
            "float32",
        ),
        (dataclasses.replace(POINT, dtype="bfloat16", groups=1, in_channels_per_group=64, matrix_units=True), "hybrid"),
        (dataclasses.replace(POINT, groups=1, in_channels_per_group=64, positions=3136, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(POINT, in_channels_per_group=64, out_channels_per_group=64, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(PLAIN, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(PLAIN, in_channels_per_group=32, out_channels_per_group=32, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(PLAIN, groups=1, out_channels_per_group=64, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(POINT, groups=1, positions=3136, **LIBRARY_DOT_PRODUCTS), "hybrid"),
        (dataclasses.replace(POINT, groups=1, **LIBRARY_DOT_PRODUCTS), "matmul"),
        (dataclasses.replace(PLAIN, in_channels_per_group=32, **LIBRARY_DOT_PRODUCTS), "native"),
        (dataclasses.replace(PLAIN, in_channels_per_group=33, **LIBRARY_DOT_PRODUCTS), "float32"),
        (dataclasses.replace(DEPTHWISE, **DOT_PRODUCTS), "custom_op"),
        (dataclasses.replace(PLAIN, onednn=False), "custom_op"),
        (dataclasses.replace(PLAIN, onednn=False, min_kernel_channels=None), "split"),
        (dataclasses.replace(PLAIN, onednn=False, dilation=(2, 2), groups=1), "split"),
        (dataclasses.replace(PLAIN, onednn=False, min_kernel_channels=None, dtype="bfloat16"), "float32"),
        (dataclasses.replace(DEPTHWISE, onednn=False, min_kernel_channels=None), "depthwise"),
        (dataclasses.replace(PLAIN, xla=True, min_kernel_channels=None), "split"),
        (dataclasses.replace(PLAIN, xla=True, min_kernel_channels=None, strides=(2, 2)), "taps"),
        (dataclasses.replace(PLAIN, xla=True, min_kernel_channels=None, strides=(2, 2), dtype="bfloat16"), "split"),
        (dataclasses.replace(DEPTHWISE, xla=True, min_kernel_channels=None), "taps"),
        (dataclasses.replace(DEPTHWISE, xla=True, min_kernel_channels=None, positions=None), "split"),
        (dataclasses.replace(DEPTHWISE, device="GPU", min_kernel_channels=None), "native"),
        (dataclasses.replace(DEPTHWISE, min_kernel_channels=None, exporting=True), "depthwise"),
        (dataclasses.replace(DEPTHWISE, min_kernel_channels=None, exporting=True, dilation=(2, 2)), "native"),
        (dataclasses.replace(DEPTHWISE, min_kernel_channels=None, exporting=True, strides=(2, 1)), "native"),
        (dataclasses.replace(POINT, groups=1, min_kernel_channels=None, exporting=True, positions=1), "native"),
        (
            dataclasses.replace(PLAIN, min_kernel_channels=None, exporting=True, onednn=False, dtype="bfloat16"),
            "native",
        ),
    ],
)
def test_the_rules(spec, expected):
    assert choose(spec) == expected
    assert unsupported_reason(expected, spec) is None


def test_what_is_chosen_can_always_be_computed():
    """Over all combinations of what the rules look at."""
    for device, xla, onednn, min_kernel_channels, hardware in (
        ("CPU", False, True, 16, {}),
        ("CPU", False, True, None, {}),
        ("CPU", False, True, 16, {"matrix_units": True}),
        ("CPU", False, True, None, {"matrix_units": True}),
        ("CPU", False, True, 16, {"bfloat16_dot_products": True}),
        ("CPU", False, True, None, {"bfloat16_dot_products": True}),
        ("CPU", False, False, 16, {}),
        ("CPU", False, False, None, {}),
        ("CPU", True, True, None, {}),
        ("GPU", False, False, None, {}),
    ):
        for dtype in ("float32", "bfloat16", "float16", "float64"):
            for base in (PLAIN, POINT, DEPTHWISE, dataclasses.replace(POINT, groups=1)):
                for strides in ((1, 1), (2, 2), (2, 1)):
                    for dilation in ((1, 1), (2, 2)):
                        for positions in (None, 49, 1024):
                            spec = dataclasses.replace(
                                base,
                                device=device,
                                xla=xla,
                                onednn=onednn and dtype != "float64",
                                min_kernel_channels=min_kernel_channels,
                                **hardware,
                                dtype=dtype,
                                strides=strides,
                                dilation=dilation if base.kernel_size != (1, 1) else (1, 1),
                                positions=positions,
                            )
                            name = choose(spec)
                            assert unsupported_reason(name, spec) is None, (name, spec)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="implementation='nativ' is not known. Did you mean 'native'"):
        GroupedConv2D(8, 3, groups=2, implementation="nativ")


def test_an_implementation_that_cannot_compute_it_says_why():
    layer = GroupedConv2D(8, 3, groups=2, implementation="matmul")
    with pytest.raises(ValueError, match="implementation='matmul' can't be used here: it takes a kernel of 1 x 1"):
        layer(tf.ones((1, 8, 8, 8)))


def test_xla_is_seen_while_it_is_traced():
    in_xla = []

    def note(x):
        in_xla.append(runtime.in_xla())
        return x

    tf.function(note, jit_compile=True)(tf.ones(3))
    tf.function(note, jit_compile=False)(tf.ones(3))
    assert in_xla == [True, False] and not runtime.in_xla()


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


def test_a_former_name_computes_what_the_new_one_does():
    """In a saved file too: the configuration keeps the name that was given."""
    layer = GroupedConv2D(8, 1, implementation="kernel")
    config = layer.get_config()
    assert config["implementation"] == "kernel" and GroupedConv2D.from_config(config).implementation == "kernel"
    images, kernel = (tf.cast(exact(shape, "float32"), "float32") for shape in ((2, 5, 5, 16), (1, 1, 16, 8)))
    try:
        expected = grouped_convolution(images, kernel, implementation="custom_op")
    except ValueError as error:  # without our kernels; the message quotes what was passed
        with pytest.raises(ValueError, match=str(error).replace("custom_op", "kernel").split(":")[0]):
            grouped_convolution(images, kernel, implementation="kernel")
    else:
        np.testing.assert_array_equal(grouped_convolution(images, kernel, implementation="kernel"), expected)


def test_the_names_are_checked_in_one_place():
    check_implementation(None)
    for name in (*NAMES, *ALIASES):
        check_implementation(name)
