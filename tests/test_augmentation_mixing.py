"""MixUp, CutMix and random erasing equal numpy's definitions; their shares, boxes and probabilities are timm's."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.datasets.augmentation.erasing import draw_boxes, erase
from zoo.datasets.augmentation.mixing import CUTMIX, MIXUP, NEITHER, draw_mix, mix
from zoo.datasets.augmentation_config import MixingConfig, RandomErasingConfig
from zoo.training.accuracies import Accuracy, TopKAccuracy
from zoo.training.losses import BinaryCrossentropy, SmoothedCrossentropy

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 9, 7, 3)).astype(np.uint8)  # an odd number: the middle one is mixed with itself
LABELS = np.array([0, 3, 1, 1, 2], np.int32)
DRAWS = 3000


def softened(labels, smoothing):
    return np.eye(4)[labels] * (1 - smoothing) + smoothing / 4


def draws(draw, count=DRAWS):
    keys = tf.data.Dataset.range(count).map(lambda number: draw(tf.stack([number, 5]))).batch(count)
    return next(iter(keys))


def check_share(count, total, probability):
    """Within four standard deviations."""
    assert abs(count - total * probability) < 4 * math.sqrt(total * probability * (1 - probability)) + 1e-9


def by_numpy(drawn, smoothing=0.0):
    """timm's FastCollateMixup, mode "batch"."""
    kind, share, top, bottom, left, right = (each.numpy() for each in drawn)
    one_hot = softened(LABELS, smoothing).astype(np.float32)
    own, other = np.float32(share), np.float32(1 - share)
    mixed = IMAGES.copy()
    if kind == CUTMIX:
        mixed[:, top:bottom, left:right] = IMAGES[::-1, top:bottom, left:right]
    elif kind == MIXUP:
        mixed = np.rint(IMAGES.astype(np.float32) * own + IMAGES[::-1].astype(np.float32) * other).astype(np.uint8)
    return mixed, one_hot * own + one_hot[::-1] * other


@pytest.mark.parametrize(
    "options, kinds",
    [
        ({"mixup_alpha": 0.8}, {MIXUP}),
        ({"cutmix_alpha": 1.0}, {CUTMIX}),
        ({"mixup_alpha": 0.1, "cutmix_alpha": 1.0, "probability": 0.7}, {NEITHER, MIXUP, CUTMIX}),
    ],
)
def test_images_and_labels_are_mixed_alike(options, kinds):
    config, seen = MixingConfig(**options), set()
    for number in range(25):
        key = tf.constant([number, 5], tf.int64)
        drawn = draw_mix(key, 9, 7, config)
        smoothing = 0.1 * (number % 2)
        images, labels = mix(IMAGES, LABELS, key, config, 4, smoothing)
        expected_images, expected_labels = by_numpy(drawn, smoothing)
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_allclose(labels, expected_labels, atol=1e-7)
        np.testing.assert_allclose(np.sum(labels, 1), 1, atol=1e-6)
        seen.add(int(drawn.kind))
    assert seen == kinds


def test_kinds_and_shares_are_drawn_as_configured():
    config = MixingConfig(mixup_alpha=0.2, cutmix_alpha=1.0, probability=0.8, switch_probability=0.3)
    drawn = draws(lambda key: draw_mix(key, 32, 32, config))
    counts = np.bincount(drawn.kind, minlength=3)
    for kind, probability in ((NEITHER, 0.2), (MIXUP, 0.56), (CUTMIX, 0.24)):
        check_share(counts[kind], DRAWS, probability)
    assert (drawn.share.numpy()[drawn.kind.numpy() == NEITHER] == 1).all()
    shares = drawn.share.numpy()[drawn.kind.numpy() == MIXUP]
    # Beta(0.2, 0.2) has the mean 1/2 and the variance 1 / (4 * 1.4).
    assert shares.mean() == pytest.approx(0.5, abs=0.045) and shares.var() == pytest.approx(1 / 5.6, abs=0.01)


def test_shares_are_of_the_beta_distribution():
    drawn = draws(lambda key: draw_mix(key, 8, 8, MixingConfig(mixup_alpha=1.0)))  # uniform
    check = np.sort(drawn.share.numpy())
    assert np.abs(check - (np.arange(DRAWS) + 0.5) / DRAWS).max() < 1.95 / math.sqrt(DRAWS)  # Kolmogorov, p = 0.001
    tiny = draws(lambda key: draw_mix(key, 8, 8, MixingConfig(mixup_alpha=0.001)), 500).share.numpy()
    assert np.isfinite(tiny).all() and ((tiny < 1e-3) | (tiny > 1 - 1e-3)).mean() > 0.95


def test_boxes_of_cutmix_are_timms():
    drawn = draws(lambda key: draw_mix(key, 20, 12, MixingConfig(cutmix_alpha=1.0)))
    top, bottom, left, right = (each.numpy() for each in drawn[2:])
    assert top.min() == left.min() == 0 and bottom.max() == 20 and right.max() == 12
    assert (top <= bottom).all() and (left <= right).all()
    np.testing.assert_allclose(drawn.share, 1 - (bottom - top) * (right - left) / 240, rtol=1e-12)
    whole = (top > 0) & (bottom < 20) & (left > 0) & (right < 12)  # not cut off: both sides by one ratio
    ratio_rows, ratio_columns = (bottom - top)[whole] / 20, (right - left)[whole] / 12
    assert (np.abs(ratio_rows - ratio_columns) < 1 / 12 + 1e-9).all()
    random = np.random.default_rng(1)  # timm's rand_bbox

    def share():
        ratio = math.sqrt(1 - random.beta(1.0, 1.0))
        sides = []
        for length in (20, 12):
            cut, middle = int(length * ratio), random.integers(0, length)
            sides.append(min(middle + (cut + 1) // 2, length) - max(middle - cut // 2, 0))
        return 1 - sides[0] * sides[1] / 240

    expected = np.sort([share() for _ in range(DRAWS)])
    quantiles = np.linspace(0.05, 0.95, 10)
    assert np.abs(np.quantile(drawn.share, quantiles) - np.quantile(expected, quantiles)).max() < 0.04


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_boxes_are_erased_and_nothing_else(mode):
    config = RandomErasingConfig(probability=0.7, mode=mode, count=3, area=[0.02, 0.3], aspect=[0.5, 2.0])
    images = RANDOM.normal(size=(16, 24, 20, 3)).astype(np.float32) + 10
    for number in range(4):
        key = tf.constant([number, 5], tf.int64)
        boxes = draw_boxes(key, 16, 24, 20, config)
        erased = erase(images, key, config).numpy()
        is_in_a_box = np.zeros(images.shape[:3], bool)
        for image, top, left, height, width, _ in zip(*(each.numpy() for each in boxes), strict=True):
            is_in_a_box[image, top : top + height, left : left + width] = True
        np.testing.assert_array_equal(erased[~is_in_a_box], images[~is_in_a_box])
        values = erased[is_in_a_box]
        if mode == "const":
            assert not values.any()
        else:
            assert abs(values.mean()) < 1 and np.abs(values).max() < 7
        last = [each.numpy()[-1] for each in boxes][:5]  # whole, whatever the ones before it
        box = erased[last[0], last[1] : last[1] + last[3], last[2] : last[2] + last[4]]
        assert (mode == "pixel") == (np.ptp(box.reshape(-1, 3), axis=0).max() > 0)


def test_noise_is_standard_normal():
    config = RandomErasingConfig(probability=1.0, area=[0.8, 0.8], aspect=[1.0, 1.0])
    images = np.full((8, 40, 40, 3), 99, np.float32)
    noise = erase(images, (0, 1), config).numpy()
    noise = noise[noise != 99]
    assert len(noise) == 8 * 36 * 36 * 3  # 40 * sqrt(0.8), rounded
    assert abs(noise.mean()) < 0.03 and noise.std() == pytest.approx(1, abs=0.03)


def test_boxes_are_drawn_as_timm_draws_them():
    config = RandomErasingConfig(probability=0.25, count=3)
    boxes = draw_boxes((3, 5), 4000, 32, 32, config)
    per_image = np.bincount(boxes.image, minlength=4000)
    check_share((per_image > 0).sum(), 4000, 0.25)
    for count in (1, 2, 3):
        check_share((per_image == count).sum(), 4000, 0.25 / 3)
    area = (boxes.height * boxes.width).numpy() * per_image[boxes.image.numpy()] / 1024
    assert area.min() > 0.005 and area.max() < 0.4 and area.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)
    assert boxes.top.numpy().min() == 0 and (boxes.top + boxes.height).numpy().max() == 32
    aspect = np.log(boxes.height.numpy() / boxes.width.numpy())
    assert abs(aspect.mean()) < 0.06 and np.abs(aspect).max() < -math.log(0.3) + 0.4


def test_a_box_that_never_fits_is_left_out():
    config = RandomErasingConfig(probability=1.0, area=[1.0, 1.0], aspect=[1.0, 1.0])
    images = np.ones((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(erase(images, (0, 1), config), images)


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_losses_take_mixed_labels_as_they_are(threshold):
    """Smoothed by the mixing already: their own smoothing is of integer labels."""
    logits = RANDOM.normal(size=(5, 4)).astype(np.float32)
    mixed = 0.7 * softened(LABELS, 0.1) + 0.3 * softened(LABELS[::-1], 0.1)
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = SmoothedCrossentropy(0.1)(mixed.astype(np.float32), logits)
    assert float(loss) == pytest.approx(-(mixed * logarithms).sum(1).mean(), rel=1e-5)
    wanted = mixed if threshold is None else mixed > threshold
    sigmoid = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -(wanted * np.log(sigmoid) + (1 - wanted) * np.log(1 - sigmoid)).mean()
    assert float(BinaryCrossentropy(0.1, threshold)(mixed.astype(np.float32), logits)) == pytest.approx(
        expected, rel=1e-5
    )


def test_soft_labels_that_are_all_of_one_class_are_integer_labels():
    logits = RANDOM.normal(size=(5, 4)).astype(np.float32)
    hard, soft = LABELS, np.eye(4, dtype=np.float32)[LABELS]
    for loss in (SmoothedCrossentropy(), BinaryCrossentropy(), BinaryCrossentropy(threshold=0.2)):
        assert float(loss(hard, logits)) == pytest.approx(float(loss(soft, logits)), rel=1e-6)
        assert float(loss(hard[:, None], logits)) == pytest.approx(float(loss(soft, logits)), rel=1e-6)


def test_accuracies_count_the_largest_label():
    logits = np.array([[3, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0]], np.float32)
    soft = np.array([[0.6, 0.4, 0, 0], [0.4, 0.6, 0, 0], [0, 0, 0.1, 0.9]], np.float32)
    for labels in (soft, soft.argmax(1), soft.argmax(1)[:, None]):
        for metric, expected in ((Accuracy(name="a"), 1 / 3), (TopKAccuracy(k=2), 2 / 3)):
            metric.update_state(labels, logits)
            assert float(metric.result()) == pytest.approx(expected)


def test_accuracies_have_the_variables_of_keras():
    """Checkpoints hold them by name."""
    kinds = (
        (Accuracy, keras.metrics.SparseCategoricalAccuracy),
        (TopKAccuracy, keras.metrics.SparseTopKCategoricalAccuracy),
    )
    for own, kerass in kinds:
        assert [each.name for each in own(name="x").variables] == [each.name for each in kerass(name="x").variables]
