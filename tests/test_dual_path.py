"""Merging of dual paths: that its kernels equal TensorFlow's operations, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks.kernels import build
from blocks.ops.dual_path import composed_merge_paths
from blocks.ops.tensorflow import runtime
from helpers.kernels import needs_kernels
from helpers.tensors import drawn, operation_types, with_second_derivatives

# (residual, dense, growth) channels
CHANNELS = [(64, 32, 16), (10, 5, 3), (1, 0, 1), (16, 48, 0), (37, 1, 20)]


def results(residual, paths, update):
    """Outputs, gradients, and second derivatives."""
    layer = blocks.DualPathMerge(residual, dtype=paths.dtype.name)
    return with_second_derivatives(lambda: layer(paths, update), [paths, *tf.nest.flatten(update)])


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("image", [(3, 5, 4), (2, 40, 41), ()])
@pytest.mark.parametrize(("residual", "dense", "growth"), CHANNELS)
def test_its_kernels_equal_tensorflow(monkeypatch, residual, dense, growth, image, apart, dtype):
    if apart and not growth:
        pytest.skip("nothing is appended")
    paths = drawn(2, *image, residual + dense, dtype=dtype)
    update = drawn(2, *image, residual + growth, dtype=dtype, seed=1)
    update = tf.split(update, [residual, growth], -1) if apart else update

    def computed(paths, update):
        return results(residual, paths, update)

    assert {"BlocksMergePaths", "BlocksMergePathsGrad"} <= operation_types(computed, paths, update)
    eager_and_traced = [computed(paths, update), tf.function(computed, jit_compile=False)(paths, update)]
    monkeypatch.setattr(runtime, "library", lambda: None)
    plain = computed(paths, update)
    for ours in eager_and_traced:
        for one, other in zip(ours, plain, strict=True):
            np.testing.assert_allclose(tf.cast(one, "float32"), tf.cast(other, "float32"), rtol=1e-6)


@pytest.mark.parametrize(("residual", "dense", "growth"), CHANNELS)
def test_it_equals_the_definition(residual, dense, growth):
    paths, update = drawn(2, 3, 4, residual + dense).numpy(), drawn(2, 3, 4, residual + growth, seed=1).numpy()
    added = paths[..., :residual] + update[..., :residual]
    expected = np.concatenate([added, paths[..., residual:], update[..., residual:]], -1)
    parts = [update[..., :residual], update[..., residual:]]
    for outputs in (
        blocks.DualPathMerge(residual)(paths, update),
        blocks.DualPathMerge(residual)(paths, [update]),
        blocks.DualPathMerge(residual)(paths, parts),
        composed_merge_paths(paths, [update], residual),
        composed_merge_paths(paths, parts, residual),
    ):
        np.testing.assert_array_equal(outputs, expected)


@needs_kernels
def test_its_operations_refuse_what_does_not_go_together():
    library, images = build.library(), tf.ones((2, 3, 3, 32))
    for update, residual, sentence in (
        ([images[:, :2]], 8, "differ in more than their channels"),
        ([images[0]], 8, "differ in more than their channels"),
        ([images[..., :7]], 8, "paths of 32 channels with 8 residual ones and -1 that are appended"),
        ([images], 33, "paths of 32 channels with 33 residual ones"),
        ([images], 2**31 - 1, "paths of 32 channels with 2147483647 residual ones"),
        ([images], -1, "a number of residual channels, got -1"),
        ([images, images], 8, "8 residual channels, and 32 that are added"),
        ([images] * 3, 8, "an update of one or two parts, got 3"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
            library.blocks_merge_paths(images, update, residual=residual)
    for residual, growth in ((20, 13), (20, -1), (2**31 - 1, 8), (8, 2**31 - 1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"with {residual} residual ones and {growth}"):
            library.blocks_merge_paths_grad(images, N=1, residual=residual, growth=growth)


@pytest.mark.parametrize(
    ("paths", "update"),
    [
        ((2, 4, 4, 16), (2, 4, 4, 7)),
        ((2, 4, 4, 7), (2, 4, 4, 16)),
        ((2, 4, 4, 16), (2, 4, 1, 16)),
        ((2, 16), (2, 4, 16)),
    ],
)
def test_it_says_what_does_not_go_together(paths, update):
    for make in (lambda shape: np.ones(shape, "float32"), lambda shape: keras.Input(shape[1:])):
        with pytest.raises(ValueError, match="differ in their channels alone, both need 8 or more"):
            given = [make(part) for part in update] if isinstance(update, list) else make(update)
            blocks.DualPathMerge(8)(make(paths), given)


@pytest.mark.parametrize("residual", [0, -1, 2.5, None])
def test_it_takes_a_number_of_channels(residual):
    with pytest.raises(ValueError, match=f"residual={residual} is not allowed"):
        blocks.DualPathMerge(residual)


def test_a_network_of_it_saves_and_loads(tmp_path):
    images = keras.Input((6, 6, 32))
    model = keras.Model(images, blocks.DualPathMerge(20, name="merge")(images, images[..., :24]))
    assert model.output.shape == (None, 6, 6, 36)
    model.save(tmp_path / "merge.keras")
    again = keras.saving.load_model(tmp_path / "merge.keras")
    assert again.get_layer("merge").residual == 20
    pictures = drawn(2, 6, 6, 32)
    np.testing.assert_array_equal(again(pictures), model(pictures))
