"""The sum of candidates weighed by a softmax: that its kernels equal TensorFlow's operations, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from blocks.kernels import build
from blocks.kernels.tensorflow.plain_gradients import softmax_sum
from blocks.ops.gates import composed_softmax_sum
from blocks.ops.tensorflow import runtime
from helpers.kernels import needs_kernels
from helpers.tensors import drawn, operation_types, with_second_derivatives

SHAPES = [(3, 5, 4, 24), (2, 1, 3, 16), (1, 12, 13, 331), (5, 7, 7, 129)]


def definition(candidates, logits):
    """In float64, by numpy: `candidates` (radix, B, H, W, C), `logits` (B, 1, 1, radix * C)."""
    radix, batch, *_, channels = candidates.shape
    powers = np.exp(np.reshape(logits, (batch, radix, channels)).astype("float64"))
    shares = powers / powers.sum(1, keepdims=True)
    return np.einsum("rbhwc,brc->bhwc", candidates.astype("float64"), shares)


def drawn_pair(shape, radix, together, dtype="float32"):
    """Candidates as the layer takes them, and logits."""
    *image, channels = shape
    if together:
        candidates = drawn(*image, radix * channels, dtype=dtype)
    else:
        candidates = [drawn(*shape, dtype=dtype, seed=2 + number) for number in range(radix)]
    return candidates, 3 * drawn(shape[0], 1, 1, radix * channels, dtype=dtype, seed=1)


def results(radix, candidates, logits):
    """Outputs, gradients, and second derivatives."""
    layer = blocks.SoftmaxSum(radix, dtype=logits.dtype.name)
    return with_second_derivatives(lambda: layer(candidates, logits), [*tf.nest.flatten(candidates), logits])


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("radix", "together"), [(2, False), (2, True), (3, True), (4, False)])
@pytest.mark.parametrize("shape", SHAPES)
def test_its_kernels_equal_tensorflow(monkeypatch, shape, radix, together, dtype):
    candidates, logits = drawn_pair(shape, radix, together, dtype)

    def computed(candidates, logits):
        return results(radix, candidates, logits)

    assert {"BlocksSoftmaxSum", "BlocksSoftmaxSumGrad"} <= operation_types(computed, candidates, logits)
    eager_and_traced = [computed(candidates, logits), tf.function(computed, jit_compile=False)(candidates, logits)]
    monkeypatch.setattr(runtime, "library", lambda: None)
    plain = computed(*tf.nest.map_structure(lambda tensor: tf.cast(tensor, "float32"), (candidates, logits)))
    for ours in eager_and_traced:
        for one, other in zip(ours, plain, strict=True):
            accuracy = 2e-5 if dtype == "float32" else 6e-2
            np.testing.assert_allclose(
                tf.cast(one, "float32"), other, rtol=0, atol=accuracy * float(tf.reduce_max(abs(other))) + 1e-6
            )


@pytest.mark.parametrize(("radix", "together"), [(2, False), (3, True)])
@pytest.mark.parametrize("channels", [5, 32])
def test_all_forms_equal_the_definition(channels, radix, together):
    candidates, logits = drawn_pair((2, 3, 4, channels), radix, together)
    each = tf.split(candidates, radix, -1) if together else candidates
    expected = definition(np.stack(each), logits.numpy())
    given = [candidates] if together else candidates
    for outputs in (
        blocks.SoftmaxSum(radix)(candidates, logits),
        composed_softmax_sum(given, logits, radix),
        softmax_sum(radix, *given, logits),
    ):
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-6)


@needs_kernels
def test_logits_far_apart_and_not_a_number():
    ones = [tf.ones((1, 2, 2, 16)), 2 * tf.ones((1, 2, 2, 16)), 4 * tf.ones((1, 2, 2, 16))]
    logits = np.zeros((3, 16), "float32")
    logits[:, 0] = 1e30, 0, -1e30
    logits[:, 1] = -np.inf, 500, 500
    logits[:, 2] = np.nan, 1, 2
    sums = blocks.SoftmaxSum(3)(ones, logits.reshape(1, 1, 1, 48))
    np.testing.assert_allclose(sums[0, 0, 0], [1, 3, np.nan, *[7 / 3] * 13], rtol=1e-6)


@needs_kernels
def test_its_operation_refuses_what_does_not_go_together():
    operation, images = build.library().blocks_softmax_sum, tf.ones((2, 3, 3, 32))
    for candidates, logits, radix, sentence in (
        ([images, images], tf.ones((2, 1, 1, 32)), 2, "logits are"),
        ([images], tf.ones((2, 1, 1, 32)), 3, "pieces of one tensor of equal size"),
        ([images, images], tf.ones((2, 1, 1, 96)), 3, "as many as the radix, 3; got 2"),
        ([images, images[:, :2]], tf.ones((2, 1, 1, 64)), 2, "of one shape"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
            operation(candidates, logits, radix=radix)


@pytest.mark.parametrize(
    ("candidates", "logits"),
    [
        ([(2, 4, 4, 16)], (2, 1, 1, 32)),
        ([(2, 4, 4, 16)] * 3, (2, 1, 1, 48)),
        ([(2, 4, 4, 16), (2, 4, 4, 1)], (2, 1, 1, 32)),
        ([(2, 4, 4, 16)] * 2, (2, 1, 1, 16)),
        ([(2, 4, 4, 16)] * 2, (2, 32)),
        ((2, 4, 4, 15), (2, 1, 1, 15)),
        ((2, 4, 16), (2, 1, 16)),
    ],
)
def test_it_says_what_does_not_go_together(candidates, logits):
    for make in (lambda shape: np.ones(shape, "float32"), lambda shape: keras.Input(shape[1:])):
        given = [make(each) for each in candidates] if isinstance(candidates, list) else make(candidates)
        with pytest.raises(ValueError, match=r"give 2 of \(B, H, W, C\), or one of \(B, H, W, 2 \* C\)"):
            blocks.SoftmaxSum(2)(given, make(logits))


@pytest.mark.parametrize("radix", [0, 1, 2.5, None])
def test_it_takes_two_candidates_or_more(radix):
    with pytest.raises(ValueError, match=f"radix={radix} is not allowed"):
        blocks.SoftmaxSum(radix)


@pytest.mark.parametrize("together", [False, True])
def test_a_network_of_it_saves_and_loads(tmp_path, together):
    images = keras.Input((6, 6, 32))
    logits = blocks.ImageMean()(images)[0]
    halves = images if together else keras.ops.split(images, 2, -1)
    model = keras.Model(images, blocks.SoftmaxSum(2, name="sum")(halves, logits))
    assert model.output.shape == (None, 6, 6, 16)
    model.save(tmp_path / "sum.keras")
    again = keras.saving.load_model(tmp_path / "sum.keras")
    assert again.get_layer("sum").radix == 2
    pictures = drawn(2, 6, 6, 32)
    np.testing.assert_array_equal(again(pictures), model(pictures))
