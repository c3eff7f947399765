"""Batches without images: every layer and implementation gives outputs of the right shape, and gradients of zeros."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
import zoo
from blocks.kernels import build
from blocks.ops.grouped_conv import VOLUMES
from blocks.ops.implementation import NAMES
from helpers.tensors import drawn

IMAGES, VOLUMES_SHAPE = (0, 9, 9, 32), (0, 5, 6, 4, 32)


def convolution(name, filters=16, groups=4, size=3, stride=1, **more):
    return lambda: blocks.GroupedConv2D(filters, size, stride, groups=groups, implementation=name, **more)


def volume(name, groups):
    return lambda: blocks.GroupedConv3D(32, 3, groups=groups, implementation=name, activation="relu")


# Every layer, made anew; the shape it is called on; how it is called.
LAYERS = {
    **{f"grouped {name}": (convolution(name), IMAGES) for name in (None, "native", "split", "taps")},
    **{f"depthwise {name}": (convolution(name, 32, 32), IMAGES) for name in (None, "depthwise", "custom_op")},
    **{f"pointwise {name}": (convolution(name, 16, 1, 1), IMAGES) for name in (None, "matmul", "hybrid", "custom_op")},
    **{
        f"strided {name}": (convolution(name, 32, 8, 3, 2, activation="relu"), IMAGES)
        for name in ("native", "custom_op")
    },
    "strided pointwise": (convolution("native", 16, 2, 1, 2), IMAGES),
    "float32": (convolution("float32", 32, 8, dtype="mixed_bfloat16"), IMAGES),
    "dilated": (convolution(None, dilation_rate=2, padding="same"), IMAGES),
    "without a bias": (convolution(None, use_bias=False), IMAGES),
    "uneven": (convolution(None, groups=(4, 12, 16)), IMAGES),
    "channels first": (convolution(None, data_format="channels_first"), (0, 32, 9, 9)),
    "line": (lambda: blocks.GroupedConv1D(16, 3, padding="causal", groups=4), (0, 9, 32)),
    **{f"volume {name} {groups}": (volume(name, groups), VOLUMES_SHAPE) for name in VOLUMES for groups in (1, 8)},
    "separable": (lambda: blocks.DepthwiseSeparableConv2D(16, normalize=True, activation="silu"), IMAGES),
    "normalisation": (lambda: blocks.BatchNormalization(activation="relu"), IMAGES),
    "normalisation of few channels": (blocks.BatchNormalization, (0, 4, 4, 3)),
    "normalisation of vectors": (blocks.BatchNormalization, (0, 7)),
    "normalisation, channels first": (lambda: blocks.BatchNormalization(1), (0, 7, 4, 4)),
    "maximum": (lambda: blocks.PaddedPooling2D("max", 3, 2, 1), IMAGES),
    "average": (lambda: blocks.PaddedPooling2D("average", 3, 2, "same"), IMAGES),
    "maximum, channels first": (lambda: blocks.PaddedPooling2D("max", 3, 2, 1, "channels_first"), (0, 32, 9, 9)),
    "average of few channels": (lambda: blocks.PaddedPooling2D("average", 3, 2, 1), (0, 9, 9, 3)),
    "shuffle": (lambda: blocks.ChannelShuffle(4, num_outputs=2), IMAGES),
    "mean": (blocks.ImageMean, IMAGES),
    "selection": (lambda: blocks.ChannelSelection(8, 2), IMAGES),
    "local response": (blocks.LocalResponseNormalization, IMAGES),
    "adaptive": (lambda: blocks.AdaptiveAveragePooling2D(3), IMAGES),
    "scale": (blocks.LayerScale, IMAGES),
    "dense": (lambda: blocks.Dense(4), IMAGES),
}


def shapes_and_gradients(layer, images):
    """Shapes of the outputs; gradients of their sum, in the order of `images` and the weights."""
    training = (
        {"training": True} if isinstance(layer, (blocks.BatchNormalization, blocks.DepthwiseSeparableConv2D)) else {}
    )
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.nest.flatten(layer(images, **training))
        total = sum(tf.reduce_sum(tf.cast(each, "float32")) for each in outputs)
    watched = [images, *(weight.value for weight in layer.trainable_weights)]
    return [tf.shape(each) for each in outputs], tape.gradient(total, watched)


@pytest.mark.parametrize("way", ["eager", "graph", "open batch"])
@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_goes_through(name, way):
    make, shape = LAYERS[name]
    layer = make()
    try:
        outputs = tf.nest.flatten(layer(tf.ones((2, *shape[1:]))))
    except ValueError as error:
        assert "can't be used here" in str(error)  # as TensorFlow's 3-D convolution in groups
        return
    statistics = {weight.path: np.array(weight) for weight in layer.non_trainable_weights}

    def step(images):
        return shapes_and_gradients(layer, images)

    if way != "eager":
        batch = None if way == "open batch" else 0
        step = tf.function(step, input_signature=[tf.TensorSpec((batch, *shape[1:]))])
    shapes, gradients = step(tf.zeros(shape))
    assert [tuple(each.numpy()) for each in shapes] == [(0, *each.shape[1:]) for each in outputs]
    for gradient, weight in zip(gradients[1:], layer.trainable_weights, strict=True):
        np.testing.assert_array_equal(gradient, np.zeros(weight.shape))
    assert tuple(gradients[0].shape) == shape
    for weight in layer.non_trainable_weights:  # PyTorch too leaves the statistics as they are
        np.testing.assert_array_equal(weight, statistics[weight.path])


def test_every_implementation_is_tried():
    tried = {name.split()[1] for name in LAYERS if name.split()[0] in ("grouped", "depthwise", "pointwise", "strided")}
    assert tried | {"float32"} >= set(NAMES)


def test_gates_and_sizes_of_no_images():
    images = tf.zeros(IMAGES)
    assert blocks.ChannelGate()(images, images[:, :1, :1]).shape == IMAGES
    assert blocks.DualPathMerge(8)(images, images).shape == (0, 9, 9, 56)
    assert blocks.SoftmaxSum(2)(images, images[:, :1, :1]).shape == (0, 9, 9, 16)
    assert blocks.ResizeLike()(images, tf.zeros((0, 4, 5, 1))).shape == (0, 4, 5, 32)
    layer = blocks.GroupedConv2D(32, 3, padding="same", groups=8, activation="relu")
    assert layer(images, residual=images).shape == IMAGES
    normal = blocks.BatchNormalization(activation="relu")
    assert normal(images, residual=images, training=True).shape == IMAGES


@pytest.mark.parametrize("fused", [False, True])
def test_a_network_of_no_images(fused):
    model = zoo.create("shufflenet_v2_x0_5", 5, (32, 32, 3))
    model = zoo.fuse(model) if fused else model
    empty = tf.zeros((0, 32, 32, 3))
    assert model(empty).shape == (0, 5)
    assert tf.function(model, input_signature=[tf.TensorSpec((None, 32, 32, 3))])(empty).shape == (0, 5)


def test_kernels_and_tensorflow_agree_without_the_kernels(monkeypatch):
    from blocks.ops.tensorflow import runtime

    monkeypatch.setattr(runtime, "library", lambda: None)
    for name in ("grouped None", "pointwise hybrid", "depthwise None", "line", "normalisation", "maximum", "average"):
        for way in ("eager", "open batch"):
            test_an_empty_batch_goes_through(name, way)


def test_what_an_open_batch_costs_is_two_operations():
    """The convolution stays what it is: TensorFlow's own sees the images themselves, not a copy."""
    layer = blocks.GroupedConv2D(32, 3, implementation="native")
    images = np.random.default_rng(0).standard_normal((3, 9, 9, 32)).astype("float32")
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, 9, 9, 32))])
    np.testing.assert_allclose(function(images), layer(images), atol=1e-5)
    if build.library() is not None:
        kinds = [each.type for each in function.get_concrete_function().graph.get_operations()]
        assert kinds.count("BlocksAtLeastOne") == kinds.count("BlocksFirst") == kinds.count("Conv2D") == 1
        assert "Pad" not in kinds and "Slice" not in kinds


@pytest.mark.parametrize("stride", [1, 2, pytest.param(3, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("groups", [1, 4, 32])
def test_images_too_small_for_the_kernel_are_refused_at_run_time(groups, stride):
    """Where the size is open, only the operation can tell. PyTorch refuses them too."""
    for kind, sizes in ((blocks.GroupedConv1D, ()), (blocks.GroupedConv2D, (9,)), (blocks.GroupedConv3D, (9, 6))):
        layer, open_sizes = kind(32, 5, stride, groups=groups), (None,) * (len(sizes) + 1)
        function = tf.function(layer, input_signature=[tf.TensorSpec((None, *open_sizes, 32))])
        assert function(tf.ones((1, 5, *sizes, 32))).shape[1] == 1
        for small in ((4, *sizes), (*sizes, 4), (0, *sizes)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the"):
                function(tf.ones((1, *small, 32)))
            with pytest.raises(ValueError, match="is too small for a kernel of 5"):
                layer(tf.ones((1, *small, 32)))
            with pytest.raises(ValueError, match="is too small for a kernel of 5"):
                blocks.grouped_convolution(tf.ones((1, *small, 32)), layer.kernel, stride)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_images_too_small_for_the_window_are_refused_at_run_time(mode, data_format):
    layer = blocks.PaddedPooling2D(mode, 5, 2, ((1, 0), (0, 0)), data_format)
    last = data_format == "channels_last"
    function = tf.function(
        layer, input_signature=[tf.TensorSpec((None,) * 3 + (32,) if last else (None, 32, None, None))]
    )
    assert min(function(tf.ones((1, 4, 5, 32) if last else (1, 32, 4, 5))).shape) == 1
    for small in ((3, 9), (9, 4)):
        images = tf.ones((1, *small, 32) if last else (1, 32, *small))
        with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the window"):
            function(images)
        with pytest.raises(ValueError, match="is too small for a kernel of 5 x 5"):
            layer(images)


def test_a_model_trains_on_after_an_empty_batch():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            blocks.GroupedConv2D(32, 3, use_bias=False),
            blocks.BatchNormalization(activation="relu"),
            blocks.GroupedConv2D(32, 3, groups=8),
            keras.layers.GlobalAveragePooling2D(),
            blocks.Dense(1),
        ]
    )
    optimizer, images = keras.optimizers.SGD(0.1), drawn(4, 8, 8, 3)  # of equal pixels normalisation leaves nothing

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    before = model.get_weights()
    assert step(tf.zeros((0, 8, 8, 3))) == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.isfinite(step(images)) and step(images) > 0
