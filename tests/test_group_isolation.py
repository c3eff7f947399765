"""NaN and infinities stay in the group and the image they are in: outputs and gradients, by every implementation."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from blocks import grouped_convolution
from blocks.ops.grouped_conv import VOLUMES
from blocks.ops.implementation import NAMES
from helpers.definition import LAYERS

SIZES = {1: (9,), 2: (7, 9), 3: (5, 4, 5)}
# Groups, and channels and filters of each: vectors that hold several groups, whole ones and parts of one.
WIDTHS = ((32, 1, 1), (16, 2, 2), (8, 4, 4), (4, 16, 16), (3, 33, 17), (4, 24, 18), (16, 1, 2), (4, 3, 5))
WAYS = [(rank, name) for rank in (1, 2) for name in (None, "merge", *NAMES) if name not in ("matmul", "hybrid")]
WAYS += [(3, name) for name in (None, "merge", *VOLUMES) if name != "native"]  # left out are those of one group


def elsewhere(tensor, groups: int, group: int, image: int | None) -> bool:
    """Whether `tensor` (..., channels) is finite everywhere but in `group` (of `image`, where one is given)."""
    values = np.array(tf.cast(tensor, "float32"))
    values = values.reshape(*values.shape[:-1], groups, -1)
    values[slice(None) if image is None else image, ..., group, :] = 0
    return bool(np.isfinite(values).all())


@pytest.mark.filterwarnings("ignore:implementation='merge'")
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.heavy)])
@pytest.mark.parametrize(("rank", "name"), WAYS)
def test_what_is_not_finite_stays_in_its_group(rank, name, dtype):
    draw, ran = np.random.default_rng(0), 0
    for groups, channels, filters in WIDTHS:
        for size, stride in ((3, 1), (1, 1), (3, 2)):
            images = draw.standard_normal((3, *SIZES[rank], groups * channels)).astype("float32")
            kernel = draw.standard_normal((*(size,) * rank, channels, groups * filters)).astype("float32")
            middle, group = tuple(length // 2 for length in SIZES[rank]), groups // 2
            broken = images.copy()
            broken[(1, *middle, group * channels)] = np.nan if stride == 1 else np.inf
            images, broken, kernel = (tf.cast(each, dtype) for each in (images, broken, kernel))

            def convolve(x, w, stride=stride):
                return grouped_convolution(x, w, stride, "same", implementation=name)

            try:
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch((images, broken, kernel))
                    outputs, whole = convolve(broken, kernel), convolve(images, kernel)
            except ValueError as error:
                reason = str(error)
                assert "can't be used here" in reason
                continue
            ran += 1
            assert elsewhere(outputs, groups, group, 1) and not elsewhere(outputs, groups, group - 1, 1)
            assert elsewhere(tape.gradient(outputs, kernel), groups, group, None)
            upstream = np.ones(whole.shape, "float32")
            upstream[(1, *(length // 2 for length in whole.shape[1:-1]), group * filters)] = np.nan
            upstream = tf.cast(upstream, dtype)
            assert elsewhere(tape.gradient(whole, images, upstream), groups, group, 1)
            assert elsewhere(tape.gradient(whole, kernel, upstream), groups, group, None)
    if not ran:  # they take one group, another type, or are not on this machine
        pytest.skip(reason)


@pytest.mark.parametrize("rank", LAYERS)
def test_what_stays_finite_is_what_it_was(rank):
    """Keras's definition of groups: their outputs, one by one, are dense convolutions of their inputs."""
    layer = LAYERS[rank](8, 3, groups=4, padding="same")
    images = np.random.default_rng(1).standard_normal((2, *SIZES[rank], 8)).astype("float32")
    layer.build(images.shape)
    broken = images.copy()
    broken[..., 2] = np.nan
    outputs = keras.ops.convert_to_numpy(layer(broken))
    for group in (0, 2, 3):
        kernel = layer.kernel[..., group * 2 : group * 2 + 2]
        plain = keras.ops.conv(images[..., group * 2 : group * 2 + 2], kernel, padding="same")
        np.testing.assert_allclose(outputs[..., group * 2 : group * 2 + 2], plain, atol=1e-5)
    assert np.isnan(outputs[..., 2:4]).all()


@pytest.mark.parametrize("rank", LAYERS)
def test_a_file_that_names_merge_still_loads(rank, tmp_path):
    """Earlier versions had that implementation; a file of theirs says so in the layer's configuration."""
    layer = LAYERS[rank](16, 3, groups=8, name="convolution")
    config = layer.get_config()
    with pytest.warns(UserWarning, match="'merge' is no longer there"):
        again = LAYERS[rank].from_config({**config, "implementation": "merge"})
    assert again.implementation is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LAYERS[rank].from_config(again.get_config()).get_config() == config
