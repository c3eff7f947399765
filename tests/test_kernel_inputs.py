"""What the operations of the CPU kernels are given and can't compute is an error, never the end of the process.

Each case is run as an operation by itself and in a graph, where TensorFlow asks for the shapes of the outputs first.
"""

import numpy as np
import pytest
import tensorflow as tf

from blocks.kernels import build
from helpers.kernels import needs_kernels
from helpers.tensors import drawn

pytestmark = needs_kernels

STEPS = {"strides": [1, 1], "explicit_padding": [0, 0, 0, 0]}
NORM = {"epsilon": 1e-3, "rate": 0.1}
WINDOW = {"average": True, "window": [2, 2], **STEPS}


def operations():
    return build.library()


def conv(name, x, kernel, **more):
    lists = [[], []] if name == "spatial" else [[]]
    return getattr(operations(), f"blocks_{name}")(x, kernel, *lists, **STEPS | more)


def vectors(count, size):
    return [tf.ones(size)] * count


# The operation on images of any shape.
OF_IMAGES = {
    "spatial": lambda x: conv("spatial", x, tf.ones((1, 1, 8, 32))),
    "depthwise": lambda x: conv("depthwise", x, tf.ones((1, 1, 1, x.shape[-1] if x.shape.rank else 1))),
    "pointwise": lambda x: operations().blocks_pointwise(x, tf.ones((1, 1, 8, 32)), [], []),
    "pointwise filters": lambda x: operations().blocks_pointwise_filter_grad(x, x, groups=1),
    "subsample": lambda x: operations().blocks_subsample(x, strides=[2, 2]),
    "average": lambda x: operations().blocks_pool(x, **WINDOW).y,
    "maximum": lambda x: operations().blocks_pool(x, **WINDOW | {"average": False}).y,
    "means": lambda x: operations().blocks_image_means(x).means,
    "gate": lambda x: operations().blocks_gate(x, tf.ones((*x.shape[:1], 1, 1, *x.shape[-1:]))),
    "shuffle": lambda x: operations().blocks_shuffle([x], M=1, groups=1)[0],
    "unshuffle": lambda x: operations().blocks_unshuffle([x], N=1, groups=1, sizes=[32])[0],
    "selection": lambda x: operations().blocks_select(x, np.arange(x.shape[-1] if x.shape.rank else 0)),
    "affine": lambda x: operations().blocks_affine(x, *vectors(2, x.shape[-1:] or [1]), []),
    "layer norm": lambda x: operations().blocks_layer_norm(x, *vectors(2, x.shape[-1:] or [1]), epsilon=1e-3).y,
    "normalization": lambda x: operations().blocks_norm_train(x, *vectors(4, x.shape[-1:] or [1]), [], **NORM).y,
}
OF_ANY_AXES = {
    "pointwise",
    "pointwise filters",
    "shuffle",
    "unshuffle",
    "selection",
    "affine",
    "layer norm",
    "normalization",
}
OF_FOUR_AXES = set(OF_IMAGES) - OF_ANY_AXES
WAYS = {"eager": lambda function: function, "graph": lambda function: tf.function(function)}
REFUSED = (tf.errors.InvalidArgumentError, ValueError)  # at run time, and while a graph is built


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_without_channels_are_refused(name, way):
    for shape in ((2, 4, 4, 0), (0, 4, 4, 0)):
        with pytest.raises(REFUSED, match=r"channels or more, got 0|does not fit"):
            WAYS[way](OF_IMAGES[name])(tf.ones(shape))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_tensors_of_too_few_axes_are_refused(name, way):
    for shape in ((), (32,), (4, 32)) if name in OF_FOUR_AXES else ((),):
        with pytest.raises(REFUSED):
            WAYS[way](OF_IMAGES[name])(tf.ones(shape))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_of_no_images_nothing_is_computed(name, way):
    outputs = WAYS[way](OF_IMAGES[name])(tf.ones((0, 4, 4, 32)))
    if name == "pointwise filters":
        np.testing.assert_array_equal(outputs, np.zeros((1, 1, 32, 32)))
    else:
        assert outputs.shape[0] == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sorted(set(OF_IMAGES) - {"average", "maximum", "spatial", "depthwise"}))
def test_of_images_without_pixels_nothing_is_computed(name, way):
    for height, width in ((0, 4), (4, 0), (0, 0)):
        outputs = WAYS[way](OF_IMAGES[name])(tf.ones((2, height, width, 32)))
        if name == "pointwise filters":
            np.testing.assert_array_equal(outputs, np.zeros((1, 1, 32, 32)))
        elif name == "means":
            assert outputs.shape == (2, 1, 1, 32)
            assert np.isnan(outputs).all()  # as numpy.mean
        else:
            sizes = (-(-height // 2), -(-width // 2)) if name == "subsample" else (height, width)
            assert outputs.shape == (2, *sizes, 32)


def test_normalization_of_no_pixels_keeps_the_statistics():
    mean, variance, images = drawn(32), drawn(32, seed=1) ** 2, tf.ones((2, 0, 3, 32))
    outputs = operations().blocks_norm_train(images, *vectors(2, 32), mean, variance, [], **NORM)
    np.testing.assert_array_equal(outputs.moved_mean, mean)
    np.testing.assert_array_equal(outputs.moved_variance, variance)
    gradients = operations().blocks_norm_train_grad(images, images, *vectors(4, 32), [], residual=False, epsilon=1e-3)
    np.testing.assert_array_equal(gradients.d_gamma, np.zeros(32))
    np.testing.assert_array_equal(gradients.d_beta, np.zeros(32))


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("groups", [1, 8, 32])
def test_a_convolution_of_nothing_but_padding_is_its_bias(groups, size):
    images, bias = tf.ones((2, *size, 32)), drawn(32)
    steps = {"strides": [1, 1], "explicit_padding": [2, 2, 2, 2]}
    kernel = tf.ones((3, 3, 32 // groups, 32))
    outputs = operations().blocks_spatial(images, kernel, [bias], [], **steps)
    shape = (2, size[0] + 2, size[1] + 2, 32)
    np.testing.assert_array_equal(outputs, np.broadcast_to(bias, shape))
    d_kernel = operations().blocks_spatial_filter_grad(images, outputs, kernel.shape, **steps)
    np.testing.assert_array_equal(d_kernel, np.zeros(kernel.shape))
    assert operations().blocks_spatial_input_grad(outputs, kernel, images.shape, **steps).shape == images.shape
    if groups == 32:
        kernel = tf.ones((3, 3, 1, 32))
        np.testing.assert_array_equal(operations().blocks_depthwise(images, kernel, [bias], **steps), outputs)
        d_kernel = operations().blocks_depthwise_filter_grad(images, outputs, kernel.shape, **steps)
        np.testing.assert_array_equal(d_kernel, np.zeros(kernel.shape))


def test_pooling_of_nothing_but_padding():
    images, padding = tf.ones((2, 0, 4, 32)), {"window": [3, 3], "explicit_padding": [2, 2, 1, 1]}
    np.testing.assert_array_equal(operations().blocks_pool(images, **WINDOW | padding).y, np.zeros((2, 2, 4, 32)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="maximum of a window without a pixel"):
        operations().blocks_pool(images, **WINDOW | padding | {"average": False})


MOST = 2**31 - 1


@pytest.mark.parametrize("strides", [(MOST, 1), (1, MOST), (MOST, MOST), (2**30, 2**30)])
@pytest.mark.parametrize(("name", "groups"), [("spatial", 1), ("spatial", 4), ("spatial", 32), ("depthwise", 32)])
def test_any_stride_beyond_the_images_is_like_another(name, groups, strides):
    """There is one window then; products of the stride are beyond what an int counts."""
    images, kernel = drawn(2, 7, 7, 32), drawn(3, 3, 1 if name == "depthwise" else 32 // groups, 32, seed=1)

    def results(*strides):
        steps = {"strides": strides, "explicit_padding": [1, 1, 1, 1]}
        outputs = conv(name, images, kernel, **steps)
        gradients = [
            getattr(operations(), f"blocks_{name}_input_grad")(outputs, kernel, images.shape, **steps),
            getattr(operations(), f"blocks_{name}_filter_grad")(images, outputs, kernel.shape, **steps),
        ]
        return [outputs, *gradients]

    for huge, large in zip(results(*strides), results(*(min(stride, 9) for stride in strides)), strict=True):
        np.testing.assert_allclose(huge, large, rtol=1e-5, atol=1e-4)


def test_subsampling_and_pooling_by_any_stride():
    images = drawn(2, 7, 7, 32)
    corners = operations().blocks_subsample(images, strides=[MOST, MOST])
    np.testing.assert_array_equal(corners, images[:, :1, :1])
    gradients = operations().blocks_subsample_grad(corners, images.shape, strides=[MOST, MOST])
    np.testing.assert_array_equal(gradients, np.pad(corners, ((0, 0), (0, 6), (0, 6), (0, 0))))
    steps = {"window": [3, 3], "strides": [MOST, MOST], "explicit_padding": [0, 0, 0, 0], "average": False}
    outputs, argmax = operations().blocks_pool(images, **steps)
    np.testing.assert_array_equal(outputs, images.numpy()[:, :3, :3].max((1, 2), keepdims=True))
    gradients = operations().blocks_pool_grad(tf.ones_like(outputs), argmax, images.shape, **steps)
    np.testing.assert_array_equal(tf.reduce_sum(gradients, (1, 2)), np.ones((2, 32)))


IMAGES = tf.ones((1, 4, 4, 32))
WRONG = {
    **{
        f"{name}, strides {strides}": (
            lambda x, name=name, strides=strides: conv(name, x, tf.ones((1, 1, 1, 32)), strides=strides),
            "strides",
        )
        for name in ("spatial", "depthwise")
        for strides in ([0, 1], [1, 0], [0, 0], [-1, 1])
    },
    "pooling, stride 0": (lambda x: operations().blocks_pool(x, **WINDOW | {"strides": [0, 1]}).y, "strides"),
    "subsample, stride 0": (lambda x: operations().blocks_subsample(x, strides=[1, 0]), "strides"),
    "a window as large as a number": (
        lambda x: operations().blocks_pool(x, **WINDOW | {"window": [65536, 65536]}).y,
        "taps at most|smaller than the window",
    ),
    "a window beyond the images": (
        lambda x: operations().blocks_pool(x, **WINDOW | {"window": [9, 9]}).y,
        "smaller than the window",
    ),
    "a kernel of one axis": (lambda x: operations().blocks_pointwise(x, tf.ones(32), [], []), "fit|rank 4"),
    "another kernel of one axis": (
        lambda x: operations().blocks_pointwise_input_grad(x, tf.ones(32), groups=1),
        "four axes|rank 4",
    ),
    "a part of fewer than no channels": (
        lambda x: operations().blocks_unshuffle([x], N=2, groups=2, sizes=[-32, 64]),
        "sizes of parts are positive, got -32",
    ),
    "a part without a size": (
        lambda x: operations().blocks_unshuffle([x], N=2, groups=2, sizes=[32]),
        "as many sizes as parts",
    ),
    "a size without a part": (
        lambda x: operations().blocks_unshuffle([x], N=2, groups=2, sizes=[16, 16, 16]),
        "as many sizes as parts",
    ),
    "a channel that is not there": (
        lambda x: operations().blocks_select(x, tf.constant([0, x.shape[-1]], tf.int64)),
        "channel 32 is selected of 32",
    ),
    "a channel before the first": (
        lambda x: operations().blocks_select(x, tf.constant([-1], tf.int64)),
        "channel -1 is selected of 32",
    ),
    "an index of two axes": (
        lambda x: operations().blocks_select(x, tf.zeros((2, 2), tf.int64)),
        "an index of channels has one axis, got 2|rank 1",
    ),
    "gradients of fewer channels than are selected": (
        lambda x: operations().blocks_select_grad(x, tf.zeros(33, tf.int64), (*x.shape[:-1], 40)),
        "gradients of a wrong shape",
    ),
    "more padding than an int counts": (
        lambda x: conv("spatial", x, tf.ones((1, 1, 32, 32)), explicit_padding=[2**31 - 1] * 4),
        "too large: at most 67108864",
    ),
    **{
        f"{name}, negative padding": (
            lambda x, name=name: conv(name, x, tf.ones((1, 1, 1, 32)), explicit_padding=[0, 0, -1, 0]),
            "explicit_padding is not negative, got -1",
        )
        for name in ("spatial", "depthwise")
    },
    "the first of a number": (
        lambda x: operations().blocks_first(x[0, 0, 0, 0], tf.constant(1, tf.int64)),
        "images|rank",
    ),
    "at least one of a number": (lambda x: operations().blocks_at_least_one(x[0, 0, 0, 0]), "batch|rank"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused(name, way):
    function, message = WRONG[name]
    with pytest.raises(REFUSED, match=message):
        WAYS[way](function)(IMAGES)
