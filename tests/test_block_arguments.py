"""Layers and blocks refuse arguments and inputs that they have no meaning for, in one sentence, built or called."""

import keras
import numpy as np
import pytest

import blocks
from blocks.ops.arguments import check_groups

IMAGES = keras.Input((8, 8, 16))
UNKNOWN = keras.Input((8, 8, None))


@pytest.mark.parametrize(
    ("make", "sentence"),
    (
        (lambda: blocks.convolution(IMAGES, 0), "filters=0 is not allowed: it must be an integer of at least 1."),
        (lambda: blocks.convolution(IMAGES, 8, groups=0), "groups=0 is not allowed"),
        (lambda: blocks.convolution(IMAGES, 8, 0), "kernel_size=0 is not allowed"),
        (lambda: blocks.conv_norm(IMAGES, 4, groups=8), "groups=8 does not divide 4 filters"),
        (lambda: blocks.squeeze_excite(IMAGES, 0), "filters=0 is not allowed"),
        (lambda: blocks.fused_inverted_bottleneck(IMAGES, 16, 0), "filters=0 is not allowed"),
        (lambda: blocks.convnext_block(IMAGES, expansion=0), "filters=0 is not allowed"),
        (lambda: blocks.res2net_block(IMAGES, 16, 26, scale=4), "scale=4 does not divide 26 channels"),
        (lambda: blocks.res2net_block(IMAGES, 16, 26, scale=0), "scale=0 is not allowed"),
        (lambda: blocks.selective_kernel(keras.Input((8, 8, 15)), 16, 8, split_input=True), "paths=2 does not divide"),
        (
            lambda: blocks.shufflenet_v2_unit(IMAGES, 17, strides=2),
            "filters=17 is not allowed for a ShuffleNet v2",
        ),
        (lambda: blocks.split_attention(IMAGES, 18, 9, groups=3), "radix * groups=6 does not divide 16 channels"),
        (lambda: blocks.split_attention(IMAGES, 18, 8, groups=4), "groups=4 does not divide 18 filters"),
        (lambda: blocks.split_attention(IMAGES, 16, 9, groups=4), "groups=4 does not divide 9 hidden channels"),
        (lambda: blocks.resnet_stem(keras.Input((32, 32, 3)), "z"), "version='z' is not allowed: use b, d, e, t."),
        (lambda: blocks.AdaptiveAveragePooling2D(0), "size=0 is not allowed"),
        (lambda: blocks.AdaptiveAveragePooling2D((2, -1)), "size=-1 is not allowed"),
        (lambda: blocks.AdaptiveAveragePooling2D((2, 2, 2)), "give one integer, or (height, width)"),
        (lambda: blocks.LocalResponseNormalization(2.5), "size=2.5 is not allowed"),
        (lambda: check_groups(0, 16, "channels"), "groups=0 is not allowed"),
    ),
)
def test_arguments_without_a_meaning_are_refused(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    (
        blocks.ChannelSelection(),
        blocks.ChannelShuffle(2),
        blocks.DepthwiseSeparableConv2D(8),
        blocks.GroupedConv2D(8, 3),
        blocks.LayerScale(),
    ),
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_needs_to_know_the_number_of_channels(layer):
    with pytest.raises(ValueError, match="The number of input channels must be known to build"):
        layer(UNKNOWN)


@pytest.mark.parametrize("shape", ((2, 1, 1, 1), (2, 1, 1, 4), (2, 8, 8, 16), (2, 16)))
def test_gates_are_one_for_each_channel(shape):
    for images, gates in (
        (np.ones((2, 8, 8, 16), "float32"), np.ones(shape, "float32")),
        (keras.Input((8, 8, 16)), keras.Input(shape[1:])),
    ):
        with pytest.raises(ValueError, match="do not go together"):
            blocks.ChannelGate()(images, gates)


@pytest.mark.parametrize("rank", (3, 5))
def test_layers_for_images_take_four_axes(rank):
    images = np.ones((2, 4, 4, 4, 4)[:rank], "float32")
    with pytest.raises(ValueError, match="expected ndim=4"):
        blocks.ImageMean()(images)
    for pair in ((images, np.ones((2, 8, 8, 1), "float32")), (np.ones((2, 4, 4, 4), "float32"), images)):
        with pytest.raises(ValueError, match=r"both must be \(B, H, W, C\)"):
            blocks.ResizeLike()(*pair)


@pytest.mark.parametrize("axis", (-1, 1))  # fused, and by Keras's operations
@pytest.mark.parametrize("shape", ((2, 1, 1, 8), (2, 8, 8, 1), (2, 4, 8, 8)))
def test_a_residual_has_the_shape_of_what_it_is_added_to(axis, shape):
    images = np.ones((2, 8, 8, 8), "float32")
    for inputs, residual in (
        (images, np.ones(shape, "float32")),
        (keras.Input(images.shape[1:]), keras.Input(shape[1:])),
    ):
        with pytest.raises(ValueError, match="A residual of shape .* cannot be added to outputs of"):
            blocks.BatchNormalization(axis)(inputs, residual=residual)
