"""Second derivatives and forward mode through every layer, eagerly and in graphs.

What they are held against is the same layer in float64, which has the plain definition and TensorFlow's own operations;
that one against finite differences.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks.kernels import build
from blocks.ops.activations import OWN_KERNELS

CHANNELS = 32  # as many as the kernels take
DRAW = np.random.default_rng(0)
IMAGES, OTHER = DRAW.standard_normal((2, 2, 4, 5, CHANNELS))
TRAIN = {"training": True}


def convolution(size, groups, stride=1, activation="silu", **more):
    def make(dtype):
        own = {} if dtype == "float64" else more  # of the implementations float64 has not all
        layer = blocks.GroupedConv2D(CHANNELS, size, stride, "same", groups=groups, activation=activation, dtype=dtype)
        layer.implementation = own.get("implementation")
        return layer

    return make


def normalization(activation):
    return lambda dtype: blocks.BatchNormalization(activation=activation, dtype=dtype)


# Name: how it is made in a type, with which keywords it is called, and the shapes of what it is called on.
LAYERS = {
    **{f"normalisation {name}": (normalization(name), TRAIN, "x") for name in ("relu6", "hard_silu", "silu", "gelu")},
    **{f"normalised sum {name}": (normalization(name), TRAIN, "xr") for name in (None, "relu", "silu")},
    "affine sum": (normalization("relu6"), {"training": False}, "xr"),
    "grouped": (convolution(3, 8), {}, "x"),
    "grouped sum": (convolution(3, 8, activation="hard_silu"), {}, "xr"),
    "grouped, strided": (convolution(3, 4, 2, activation="relu"), {}, "x"),
    "depthwise": (convolution(3, CHANNELS, activation="relu6"), {}, "xr"),
    "pointwise": (convolution(1, 2), {}, "xr"),
    "pointwise, strided": (convolution(1, 1, 2), {}, "x"),
    "dense": (convolution(3, 1, implementation="custom_op"), {}, "x"),
    "hybrid": (convolution(1, 1, implementation="hybrid"), {}, "x"),
    "taps": (convolution(3, 8, implementation="taps"), {}, "x"),
    "native": (convolution(3, 8, implementation="native"), {}, "x"),
    "separable": (
        lambda dtype: blocks.DepthwiseSeparableConv2D(16, 3, activation="silu", normalize=True, dtype=dtype),
        TRAIN,
        "x",
    ),
    "maximum": (lambda dtype: blocks.PaddedPooling2D("max", 3, 2, 1, dtype=dtype), {}, "x"),
    "average": (lambda dtype: blocks.PaddedPooling2D("average", 3, 2, 1, dtype=dtype), {}, "x"),
    "shuffle": (lambda dtype: blocks.ChannelShuffle(4, num_outputs=2, dtype=dtype), {}, "x"),
    "affine": (normalization("gelu"), {"training": False}, "x"),
    "layer norm": (lambda dtype: blocks.LayerNormalization(dtype=dtype), {}, "x"),
    "layer scale": (lambda dtype: blocks.LayerScale(dtype=dtype), {}, "x"),
    **{name: (lambda dtype, name=name: blocks.Activation(name, dtype=dtype), {}, "x") for name in OWN_KERNELS},
    "grouped gelu": (convolution(3, 8, activation="gelu"), {}, "x"),
    "mean": (lambda dtype: blocks.ImageMean(dtype=dtype), {}, "x"),
    "gate": (lambda dtype: blocks.ChannelGate(dtype=dtype), {}, "xg"),
    "softmax sum": (lambda dtype: blocks.SoftmaxSum(2, dtype=dtype), {}, "xg"),
    "dual path": (lambda dtype: blocks.DualPathMerge(5, dtype=dtype), {}, "xx"),
    "nearest": (lambda dtype: blocks.ResizeLike(dtype=dtype), {}, "xg"),
    "selection": (lambda dtype: blocks.ChannelSelection(16, 4, dtype=dtype), {}, "x"),
    "volume": (lambda dtype: blocks.GroupedConv3D(CHANNELS, 2, groups=8, padding="same", dtype=dtype), {}, "v"),
    "volume of large groups": (lambda dtype: blocks.GroupedConv3D(CHANNELS, 2, 2, groups=2, dtype=dtype), {}, "v"),
}


def case(name: str, dtype: str):
    """A layer of `dtype` with random weights, its tensors, and the function of them that is differentiated."""
    make, keywords, kinds = LAYERS[name]
    values = {"x": IMAGES, "r": OTHER, "g": OTHER[:, :1, :1], "v": IMAGES[None]}
    layer, tensors = make(dtype), [tf.constant(values[kind], dtype) for kind in kinds]

    def call(tensors):
        second = {"residual": tensors[1]} if kinds == "xr" else {}
        return tf.nest.flatten(layer(*(tensors[:1] if second else tensors), **second, **keywords))

    try:
        call(tensors)
    except ValueError as error:
        if "can't be used here" in str(error):
            pytest.skip(str(error))
        raise
    draw = np.random.default_rng(1)
    for weight in layer.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            value = 0.3 * draw.standard_normal(weight.shape)
            weight.assign(np.abs(value) + 0.3 if weight.name == "moving_variance" else value)
    return layer, tensors, call


def wave(outputs):
    """A number that depends on every output, and not linearly."""
    return sum(
        tf.reduce_sum(tf.sin(y) * tf.cast(tf.reshape(tf.range(tf.size(y)) % 7, tf.shape(y)), y.dtype)) for y in outputs
    )


def gradient_penalty(layer, tensors, call):
    """The squares of the gradients, summed, and their gradients in turn."""
    watched = [*tensors, *(weight.value for weight in layer.trainable_weights)]
    with tf.GradientTape() as outer:
        outer.watch(watched)
        with tf.GradientTape() as inner:
            inner.watch(watched)
            value = wave(call(tensors))
        gradients = inner.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        penalty = sum(tf.reduce_sum(gradient**2) for gradient in gradients)
    return [penalty, *outer.gradient(penalty, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)]


def forward_mode(_layer, tensors, call):
    """The outputs' change along a direction, and that of the first gradient: a product with the Hessian."""
    with tf.autodiff.ForwardAccumulator(tensors, [tf.cos(tensor) for tensor in tensors]) as accumulator:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = call(tensors)
            value = wave(outputs)
        gradient = tape.gradient(value, tensors[0])
    zero = tf.UnconnectedGradients.ZERO
    return [accumulator.jvp(each, unconnected_gradients=zero) for each in (*outputs, gradient)]


def reverse_over_forward_mode(_layer, tensors, call):
    """The same product, as the gradient of a change along a direction."""
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        with tf.autodiff.ForwardAccumulator(tensors, [tf.cos(tf.stop_gradient(each)) for each in tensors]) as forward:
            value = wave(call(tensors))
        change = forward.jvp(value)
    return [change, *tape.gradient(change, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)]


def in_graph(function, layer, tensors, call):
    """The same in a graph whose batch is open, as Keras trains."""
    signature = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in tensors]
    return tf.function(lambda *arguments: function(layer, list(arguments), call), input_signature=signature)(*tensors)


def check(expected, **ways):
    for way, values in ways.items():
        for ours, plain in zip(values, expected, strict=True):
            limit = 1e-3 * max(1e-3, np.abs(plain).max())
            np.testing.assert_allclose(ours, plain, rtol=0, atol=limit, err_msg=way)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_equal_the_plain_ones(name):
    expected = gradient_penalty(*case(name, "float64"))
    eager, graph = gradient_penalty(*case(name, "float32")), in_graph(gradient_penalty, *case(name, "float32"))
    check(expected, eager=eager, graph=graph)


FORWARD = (
    "normalisation silu",
    "normalised sum relu",
    "affine",
    "grouped sum",
    "pointwise, strided",
    "layer norm",
    "layer scale",
    "gelu",
    "maximum",
    "mean",
    "gate",
    "nearest",
)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("mode", [forward_mode, reverse_over_forward_mode])
def test_forward_mode_equals_the_plain_one(name, mode):
    expected = mode(*case(name, "float64"))
    check(expected, eager=mode(*case(name, "float32")), graph=in_graph(mode, *case(name, "float32")))


@pytest.mark.parametrize("kind", [blocks.BatchNormalization, blocks.LayerNormalization])
@pytest.mark.parametrize(("shape", "axis"), [((6, 5), -1), ((3, 4, 5), -1), ((2, 5, 3, 3), 1), ((2, 3, 3, 5), -1)])
def test_the_plain_normalisations_are_what_differences_say(shape, axis, kind):
    """In float64: TensorFlow's moments, which Keras's layers take, leave a term of the second derivative out."""
    layer = kind(axis=axis, dtype="float64")
    training = TRAIN if kind is blocks.BatchNormalization else {}
    images, factors, direction = (tf.constant(each) for each in DRAW.standard_normal((3, *shape)))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.sin(layer(x, **training)) * factors)
        return tape.gradient(value, x)

    with tf.GradientTape() as tape:
        tape.watch(images)
        along = tf.reduce_sum(gradient(images) * direction)
    step = 1e-5
    differences = (gradient(images + step * direction) - gradient(images - step * direction)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(along, images), differences, atol=1e-6)


@pytest.mark.heavy
def test_the_operations_are_those_of_the_kernels():
    """Else the tests above would hold TensorFlow against itself."""
    if build.library() is None:
        pytest.skip("the kernels can't be built on this machine")
    used = set()
    for name in LAYERS:
        layer, tensors, call = case(name, "float32")

        def graph(*arguments, layer=layer, call=call):
            return gradient_penalty(layer, list(arguments), call)

        operations = tf.function(graph, jit_compile=False).get_concrete_function(*tensors).graph.get_operations()
        used |= {operation.type for operation in operations if operation.type.startswith("Blocks")}
    kernels = {name for name in dir(build.library()) if name.startswith("Blocks")} - {"BlocksMinChannels"}
    assert {name for name in kernels if name[6:].isalpha()} - used == {"BlocksAtLeastOne", "BlocksFirst"}


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": [1, 2]}, {"scale": False}, {"rms_scaling": True}])
def test_layer_normalisation_is_that_of_keras(options):
    ours, theirs = blocks.LayerNormalization(**options), keras.layers.LayerNormalization(**options)
    images = IMAGES.astype("float32") + 3
    theirs(images), ours(images)
    draw = np.random.default_rng(2)
    ours.set_weights([draw.standard_normal(each.shape) for each in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(images), theirs(images), atol=2e-5)
    for dtype in ("mixed_bfloat16", "float64"):
        low, reference = (type(each).from_config({**each.get_config(), "dtype": dtype}) for each in (ours, theirs))
        low(images), reference(images)
        low.set_weights(ours.get_weights()), reference.set_weights(ours.get_weights())
        np.testing.assert_allclose(tf.cast(low(images), "float64"), tf.cast(reference(images), "float64"), atol=0.05)
