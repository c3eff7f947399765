"""Groups of unequal size: how channels and filters are shared out, against the definition, in models and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import (
    DepthwiseSeparableConv2D,
    GroupedConv1D,
    GroupedConv2D,
    grouped_convolution,
    split_channels,
)
from blocks.ops.group_sizes import apportion
from helpers import definition
from helpers.arrays import draw
from helpers.checks import check_all_close
from helpers.definition import LAYERS
from helpers.tensors import gradients

INPUTS = {1: (2, 9, 11), 2: (2, 6, 7, 11), 3: (2, 4, 5, 4, 11)}
CASES = {  # groups, filters, and the shapes (inputs of a group, filters) of the kernels that they come to
    "a rest in the last": ((3, 3, 5), 22, [(3, 12), (5, 10)]),
    "a rest in the first": ((5, 2, 2, 2), 11, [(5, 5), (2, 6)]),
    "all different": ((1, 4, 6), (2, 3, 7), [(1, 2), (4, 3), (6, 7)]),
    "equal apart": ((4, 3, 4), 22, [(4, 8), (3, 6), (4, 8)]),
    "equal sizes of different filters": ((3, 3, 3, 2), (4, 4, 2, 2), [(3, 8), (3, 2), (2, 2)]),
    "depthwise and a wide one": ((1,) * 6 + (5,), 22, [(1, 12), (5, 10)]),
}


def by_group(layer) -> list:
    """The kernel of every group on its own."""
    return [part for kernel, run in zip(layer.kernels, layer.group_runs, strict=True)
            for part in tf.split(kernel.value, run.groups, axis=-1)]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rank", LAYERS)
def test_equals_the_definition(rank, case):
    groups, filters, shapes = CASES[case]
    strides, dilation = (2, 1, 1)[:rank], (1, 2, 1)[:rank]
    layer = LAYERS[rank](filters, 2, strides, "same", "channels_last", dilation, groups)
    images = tf.constant(draw(*INPUTS[rank]))
    layer.build(images.shape)
    layer.bias.assign(draw(layer.filters))
    assert [kernel.shape for kernel in layer.kernels] == [(*(2,) * rank, *shape) for shape in shapes]
    assert [weight.name for weight in layer.weights] == [*(f"kernel_{i}" for i in range(len(shapes))), "bias"]
    assert layer.macs_per_position == 2**rank * sum(c * f for c, f in shapes)

    def plain():
        return definition.grouped_convolution(images, by_group(layer), strides, "same", dilation) + layer.bias.value

    tensors = [images, *(weight.value for weight in layer.weights)]
    actual, expected = gradients(lambda: layer(images), tensors), gradients(plain, tensors)
    assert tuple(layer.compute_output_shape(images.shape)) == tuple(actual[0].shape)
    check_all_close(actual, expected)

    function = grouped_convolution(images, by_group(layer), strides, "same", dilation, groups=groups)
    check_all_close([function + layer.bias.value], expected[:1])

    first = LAYERS[rank](filters, 2, strides, "same", "channels_first", dilation, groups)
    swapped = np.moveaxis(images.numpy(), -1, 1)
    first.build(swapped.shape)
    first.set_weights(layer.get_weights())
    check_all_close([np.moveaxis(first(swapped).numpy(), 1, -1)], expected[:1])


def test_equal_sizes_are_a_number_of_groups():
    images = draw(2, 5, 5, 12)
    theirs = keras.layers.Conv2D(8, 3, groups=4)
    expected = theirs(images)
    for groups, filters in (((3, 3, 3, 3), 8), (4, (2, 2, 2, 2)), ([3, 3, 3, 3], [2, 2, 2, 2])):
        layer = GroupedConv2D(filters, 3, groups=groups)
        layer.build(images.shape)
        assert [weight.name for weight in layer.weights] == ["kernel", "bias"]
        assert layer.filters == 8 and layer.kernel is layer.kernels[0]
        layer.set_weights(theirs.get_weights())
        check_all_close([layer(images)], [expected])


def test_a_number_of_groups_with_filters_for_each():
    layer = GroupedConv2D((1, 5, 2), 1, groups=3)
    images = draw(1, 4, 4, 6)
    outputs = layer(images)
    assert layer.filters == 8 and [kernel.shape[2:] for kernel in layer.kernels] == [(2, 1), (2, 5), (2, 2)]
    check_all_close([outputs], [definition.grouped_convolution(images, by_group(layer), (1, 1), "same", (1, 1))])


def test_kernels_begin_scaled_as_an_even_one_and_with_numbers_of_their_own():
    uneven = GroupedConv2D(96, 3, groups=(64, 65, 66), kernel_initializer=keras.initializers.HeNormal(seed=1))
    uneven.build((None, 8, 8, 195))
    kernels = [kernel.numpy() for kernel in uneven.kernels]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * kernel.shape[2])), rel=0.05)
    pairs = [(kernels[i][:, :, :64].ravel(), kernels[j][:, :, :64].ravel()) for i, j in ((0, 1), (1, 2), (0, 2))]
    assert all(abs(np.corrcoef(*pair)[0, 1]) < 0.05 for pair in pairs)
    assert not any(np.isin(a, b).mean() > 0.01 for a, b in pairs)


def test_a_model_trains_saves_and_loads(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 7, 11)),
            GroupedConv2D(16, 3, padding=1, groups=(3, 3, 5), activation="silu"),
            GroupedConv2D((8, 1, 4), 1, groups=split_channels(16, 3), kernel_regularizer="l2"),
            DepthwiseSeparableConv2D(9, 3, groups=split_channels(13, 4), depth_multiplier=2, normalize=True),
            keras.layers.Reshape((-1, 9)),
            GroupedConv1D(9, 3, padding="causal", groups=split_channels(9, 2, "last")),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    depthwise = model.layers[2].depthwise
    assert [kernel.shape for kernel in depthwise.kernels] == [(3, 3, 4, 8), (3, 3, 3, 18)]
    images, before = draw(4, 6, 7, 11), [weight.numpy() for weight in model.trainable_weights]
    model.compile("adam", "mse")
    model.fit(images, np.ones((4, 9)), verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(before, model.trainable_weights, strict=True))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert loaded.layers[0].groups == (3, 3, 5) and loaded.layers[1].get_config()["filters"] == (8, 1, 4)
    again = keras.models.clone_model(model)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("channels", [5, 7, 64, 67, 1000])
@pytest.mark.parametrize("groups", [1, 2, 4, 5])
def test_split_channels_leaves_none_over(channels, groups):
    spread, first, last = (split_channels(channels, groups, rest) for rest in ("spread", "first", "last"))
    assert {sum(sizes) for sizes in (spread, first, last)} == {channels}
    assert {len(sizes) for sizes in (spread, first, last)} == {groups}
    assert max(spread) - min(spread) <= 1 and list(spread) == sorted(spread, reverse=True)
    assert first == last[::-1] and set(first[1:]) <= {channels // groups}


def test_split_channels_by_example():
    assert split_channels(64, 5) == (13, 13, 13, 13, 12)
    assert split_channels(67, 4, "last") == (16, 16, 16, 19)
    assert split_channels(67, 4, "first") == (19, 16, 16, 16)


@pytest.mark.parametrize(("filters", "sizes", "shares"), [
    (134, (16, 16, 16, 19), (32, 32, 32, 38)),
    (64, (16, 16, 16, 19), (16, 15, 15, 18)),  # 15.28 three times and 18.15: one is left, for the first
    (7, (1, 1, 1), (3, 2, 2)),
    (10, (1, 98, 1), (1, 8, 1)),  # 0.1, 9.8, 0.1
    (3, (1, 98, 1), (1, 1, 1)),
])  # fmt: skip
def test_filters_are_shared_by_largest_remainder(filters, sizes, shares):
    assert apportion(filters, sizes) == shares and sum(shares) == filters


@pytest.mark.parametrize(("make", "sentence"), [
    (
        lambda: GroupedConv2D(65, 3, groups=5)(draw(1, 8, 8, 64)),
        "groups=5 does not divide 64 input channels; the divisors nearest to 5 are 4 and 8. "
        "For uneven groups pass their sizes, e.g. groups=(13, 13, 13, 13, 12).",
    ),
    (
        lambda: GroupedConv2D(64, 3, groups=5),
        "For uneven groups pass the filters of each, e.g. filters=(13, 13, 13, 13, 12).",
    ),
    (lambda: GroupedConv2D(33, 3, groups=33)(draw(1, 4, 4, 64)), "e.g. groups=split_channels(64, 33)."),
    (
        lambda: GroupedConv2D(8, 3, groups=(3, 3))(draw(1, 4, 4, 8)),
        "groups=(3, 3) are 6 channels together, but there are 8 input channels: for instance groups=(4, 4) fits them",
    ),
    (lambda: GroupedConv2D(8, 3, groups=(3, 0)), "groups=(3, 0) is not allowed: give one integer of at least 1, or"),
    (lambda: GroupedConv2D(8, 3, groups=(3, -1)), "groups=(3, -1) is not allowed"),
    (lambda: GroupedConv2D(8, 3, groups=()), "groups=() is not allowed"),
    (lambda: GroupedConv2D((4, 0), 3, groups=2), "filters=(4, 0) is not allowed"),
    (lambda: GroupedConv2D((4, 4, 4), 3, groups=2), "(4, 4, 4) has 3 entries for groups=2: give one number in all, or"),
    (lambda: GroupedConv2D((4, 4), 3, groups=(1, 2, 3)), "one for each of the 3 groups, e.g. filters=(1, 3, 4)."),
    (lambda: GroupedConv2D(2, 3, groups=(1, 2, 3)), "filters=2 is too few for 3 groups, which need one each; the near"),
    (lambda: DepthwiseSeparableConv2D(8, groups=3)(draw(1, 4, 4, 8)), "e.g. groups=(3, 3, 2)."),
    (lambda: DepthwiseSeparableConv2D(8, groups=(3, 3))(draw(1, 4, 4, 8)), "groups=(3, 3) are 6 channels together"),
    (lambda: GroupedConv2D(8, 3, groups=(3, 5)).kernels, "has no weights yet: build it"),
    (lambda: split_channels(3, 4), "groups=4 is more than 3 channels; the nearest that works is 3"),
    (lambda: split_channels(8, 3, "frist"), 'remainder=\'frist\' is not allowed: use "spread", "first" or "last". Did'),
    (lambda: grouped_convolution(draw(1, 4, 4, 8), draw(1, 1, 3, 4)), "3 channels a group does not fit 8 input chann"),
    (lambda: grouped_convolution(draw(1, 4, 4, 8), [draw(1, 1, 3, 4)]), "[3] input channels, 3 together, but the inpu"),
    (
        lambda: grouped_convolution(draw(1, 4, 4, 8), [draw(1, 1, 3, 4), draw(1, 1, 5, 4)], groups=(4, 4)),
        "groups=(4, 4) is not what the kernel has on 8 input channels: groups=(3, 5).",
    ),
    (lambda: grouped_convolution(draw(1, 4, 4, 8), draw(1, 1, 4, 4), groups=4), "has on 8 input channels: groups=2."),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
