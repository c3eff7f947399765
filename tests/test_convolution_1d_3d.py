"""Grouped convolution over one and three axes: against its definition and Keras, in graphs, under XLA, in files."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import GroupedConv1D, GroupedConv2D, GroupedConv3D, grouped_convolution
from blocks.ops.tensorflow.runtime import native_gradients
from helpers import definition
from helpers.arrays import draw
from helpers.checks import check_all_close
from helpers.definition import LAYERS
from helpers.tensors import values_and_gradients

INPUTS = {1: (2, 11, 8), 2: (2, 7, 6, 8), 3: (2, 6, 5, 7, 8)}


def compare(kernel_size, groups, strides, dilation, padding, dtype, tolerance):
    images = draw(*INPUTS[len(kernel_size)], dtype=dtype)
    kernel = draw(*kernel_size, 8 // groups, 16, dtype=dtype)
    arguments = strides, padding, dilation
    actual = values_and_gradients(lambda x, w: grouped_convolution(x, w, *arguments), images, kernel)
    assert actual[0].dtype == dtype
    images, kernel = images.astype("float64"), kernel.astype("float64")
    check_all_close(
        actual,
        values_and_gradients(lambda x, w: definition.grouped_convolution(x, w, *arguments), images, kernel),
        tolerance,
    )


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("padding", ["same", "valid", "causal", ((3, 1),)])
def test_one_axis_equals_the_definition(padding, groups):
    for kernel, stride, dilation in itertools.product((1, 4), (1, 2), (1, 2)):
        compare((kernel,), groups, (stride,), (dilation,), padding, "float32", 1e-5)


@pytest.mark.parametrize("padding", ["same", "causal"])
@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (5, 64), (3, 16)])
def test_one_axis_of_many_channels_equals_the_definition(kernel, groups, padding):
    """As many as our own kernels ask for, where they are built."""
    images, weights = draw(2, 17, 64), draw(kernel, 64 // groups, 64)
    for stride in (1, 2):
        arguments = (stride,), padding, (1,)
        check_all_close(
            values_and_gradients(lambda x, w, a=arguments: grouped_convolution(x, w, *a), images, weights),
            values_and_gradients(lambda x, w, a=arguments: definition.grouped_convolution(x, w, *a), images, weights),
        )


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("padding", ["same", "valid", ((1, 1), (0, 2), (2, 1))])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_three_axes_equal_the_definition(dtype, tolerance, padding, groups):
    """In float64 TensorFlow has no gradient of a dilated convolution, and the zeros are written out."""
    assert not native_gradients("float64")
    for strides, dilation in itertools.product(((1, 1, 1), (2, 1, 2)), ((1, 1, 1), (2, 1, 3))):
        compare((3, 1, 2), groups, strides, dilation, padding, dtype, tolerance)
    compare((1, 1, 1), groups, (2, 3, 1), (1, 1, 1), padding, dtype, tolerance)


@pytest.mark.parametrize(("groups", "channels"), [(16, 2), (12, 4), (3, 8), (2, 16), (64, 1), (7, 3), (1, 40)])
def test_small_groups_are_convolved_frame_by_frame(groups, channels):
    images, kernel = draw(1, 3, 3, 3, groups * channels), draw(2, 2, 2, channels, groups * 3)
    arguments = (1, 1, 1), "same", (1, 1, 1)
    check_all_close(
        values_and_gradients(lambda x, w: grouped_convolution(x, w, *arguments), images, kernel),
        values_and_gradients(lambda x, w: definition.grouped_convolution(x, w, *arguments), images, kernel),
    )


@pytest.mark.parametrize(
    ("rank", "xla"),
    [(1, False), *(pytest.param(*each, marks=pytest.mark.heavy) for each in ((3, False), (1, True), (3, True)))],
)
def test_graphs_of_open_size(rank, xla):
    """Batch and sizes are not known when the function is traced; XLA compiles it for those of the call."""
    kernel = draw(*(3,) * rank, 2, 8)
    signature = [tf.TensorSpec((None,) * (rank + 1) + (8,)), tf.TensorSpec(kernel.shape)]

    def step(images, kernel):
        return values_and_gradients(lambda x, w: grouped_convolution(x, w, 2, 1), images, kernel)

    compiled = tf.function(step, jit_compile=True) if xla else tf.function(step, input_signature=signature)
    for sizes in itertools.islice(itertools.product((5, 6), repeat=rank), 2):
        images = draw(2, *sizes, 8)
        plain = values_and_gradients(
            lambda x, w: definition.grouped_convolution(x, w, (2,) * rank, ((1, 1),) * rank, (1,) * rank),
            images,
            kernel,
        )
        check_all_close(compiled(images, kernel), plain)


@pytest.mark.parametrize(
    ("rank", "implementation"), [(1, "split"), (1, "native"), (3, "frames"), (3, "split"), (3, "native")]
)
def test_every_implementation_is_the_same_convolution(rank, implementation):
    def convolve(images, kernel, way=implementation):
        return values_and_gradients(
            lambda x, w: grouped_convolution(x, w, 2, "same", groups=4, implementation=way), images, kernel
        )

    images, kernel = draw(*INPUTS[rank]), draw(*(3,) * rank, 2, 16)
    expected = convolve(images, kernel, None)
    if implementation == "native" and (rank == 3 or not native_gradients("float32")):
        with pytest.raises(ValueError, match="'native' can't be used here: .* CPU. None chooses one that can"):
            convolve(images, kernel)
        convolve = tf.function(convolve, jit_compile=True)  # XLA has grouped convolutions on every device
    check_all_close(convolve(images, kernel), expected)


@pytest.mark.parametrize(("rank", "arguments"), [
    (1, {"padding": "same", "groups": 4}),
    (1, {"padding": "causal", "strides": 2}),
    (1, {"padding": "causal", "dilation_rate": 3}),
    (3, {"padding": "same", "groups": 4}),
    (3, {"strides": 2}),
])  # fmt: skip
def test_equals_keras_with_the_same_weights(rank, arguments):
    theirs = getattr(keras.layers, f"Conv{rank}D")(16, 2, activation="relu", **arguments)
    ours = LAYERS[rank](16, 2, activation="relu", **arguments)
    images = draw(*INPUTS[rank])
    expected = theirs(images)
    ours.build(images.shape)
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
    assert tuple(ours.compute_output_shape(images.shape)) == tuple(expected.shape)
    ours.set_weights(theirs.get_weights())
    check_all_close([ours(images)], [expected])


@pytest.mark.parametrize("rank", [1, 3])
def test_shape_config_and_both_data_formats(rank):
    kernel, padding = {1: ((4,), ((2, 0),)), 3: ((3, 1, 2), ((1, 0), (0, 0), (2, 1)))}[rank]
    arguments = {"groups": 2, "dilation_rate": 2, "activation": "relu"}
    last = LAYERS[rank](6, kernel, 2, padding, "channels_last", **arguments)
    images = draw(*INPUTS[rank])
    outputs = last(images)
    assert tuple(last(keras.KerasTensor((None, *images.shape[1:]))).shape) == (None, *outputs.shape[1:])
    open_sizes = (None, *(None,) * rank, 8)
    assert last.compute_output_shape(open_sizes) == (None, *(None,) * rank, 6)
    assert type(last).from_config(last.get_config()).get_config() == last.get_config()

    first = LAYERS[rank](6, kernel, 2, padding, "channels_first", **arguments)
    swapped = np.moveaxis(images, -1, 1)
    first.build(swapped.shape)
    first.set_weights(last.get_weights())
    assert tuple(first.compute_output_shape(swapped.shape)) == tuple(first(swapped).shape)
    check_all_close([first(swapped)], [np.moveaxis(outputs.numpy(), -1, 1)])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("rank", [1, 3])
def test_mixed_precision(rank, policy):
    full = LAYERS[rank](16, 3, groups=4, dilation_rate=2, padding="same")
    mixed = LAYERS[rank](16, 3, groups=4, dilation_rate=2, padding="same", dtype=policy)
    images = draw(*INPUTS[rank])
    exact = full(images)
    mixed.build(images.shape)
    mixed.set_weights(full.get_weights())
    with tf.GradientTape() as tape:
        outputs = mixed(images)
        total = tf.reduce_sum(tf.cast(outputs, "float32"))
    assert outputs.dtype == policy.removeprefix("mixed_")
    assert all(gradient.dtype == "float32" for gradient in tape.gradient(total, [w.value for w in mixed.weights]))
    np.testing.assert_allclose(tf.cast(outputs, "float32"), exact, atol=0.05 * np.abs(exact).max(), rtol=0)


def test_a_model_of_both_trains_saves_and_loads(tmp_path):
    volumes = keras.Input(INPUTS[3][1:])
    x = GroupedConv3D(12, 3, (2, 1, 1), 1, groups=4, activation="silu")(volumes)
    x = keras.layers.Reshape((-1, 12))(x)
    x = GroupedConv1D(12, 5, padding="causal", groups=3)(x, residual=x)
    model = keras.Model(volumes, keras.layers.GlobalAveragePooling1D()(x))
    images = draw(*INPUTS[3])
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(images, np.ones((2, 12)), verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(images), model(images))


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: GroupedConv1D(8, (3, 3)), "kernel_size=(3, 3) has 2 entries: give one integer, or (length,)"),
    (lambda: GroupedConv3D(8, (3, 3)), "has 2 entries: give one integer, or (depth, height, width)"),
    (lambda: GroupedConv1D(8, 3, padding="casual"), 'Did you mean "causal"?'),
    (lambda: GroupedConv3D(8, 3, padding="causal"), "padding='causal' is not allowed"),
    (lambda: GroupedConv1D(8, 3, padding=(1, 1)), 'give "same", "valid", "causal", a number of steps of at least 0'),
    (lambda: GroupedConv1D(8, 12)(draw(*INPUTS[1])), "An input of 11 steps is too small for a kernel of 12"),
    (lambda: GroupedConv3D(8, 7)(draw(*INPUTS[3])), "6 x 5 x 7 voxels is too small for a kernel of 7 x 7 x 7"),
    (lambda: GroupedConv3D(8, 3, groups=3)(draw(*INPUTS[3])), "groups=3 does not divide 8 filters"),
    (lambda: GroupedConv3D(9, 3, groups=3)(draw(*INPUTS[3])), "groups=3 does not divide 8 input channels"),
    (lambda: GroupedConv3D(8, 3, implementation="depthwise"), "is not one of a 3-D convolution: use None, 'native'"),
    (lambda: GroupedConv1D(8, 3, implementation="nativ"), "implementation='nativ'"),
    (lambda: GroupedConv3D(8, 3, implementation="frame"), 'Did you mean "frames"?'),
    (lambda: GroupedConv2D(8, 3, implementation="frames"), "implementation='frames' is not known"),
    (lambda: grouped_convolution(draw(2, 5, 6, 8), draw(3, 8, 8)), "do not go together"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
