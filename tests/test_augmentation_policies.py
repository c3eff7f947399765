"""Policies have the operations, levels and probabilities of timm and torchvision, and follow from the key alone."""

import json

import numpy as np
import pytest
import tensorflow as tf

from helpers.paths import GOLDENS
from zoo.datasets.augmentation import color, images, policies
from zoo.datasets.augmentation_config import ColorJitterConfig, RandAugmentConfig
from zoo.datasets.config import DatasetConfig

FIXTURE = json.loads((GOLDENS / "augmentation_levels.json").read_text())
IMAGE = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
DRAWS = 4000


def draws(draw):
    """What `draw` gives for each of many keys, one after the other."""
    keys = tf.data.Dataset.range(DRAWS).map(lambda number: draw(tf.stack([number, 7]))).batch(DRAWS)
    return next(iter(keys))


def check_shares(counts, probabilities):
    """Chi-square over the possible values, below what chance exceeds once in ten thousand times (Wilson-Hilferty)."""
    expected = np.sum(counts) * np.asarray(probabilities)
    degrees = len(expected) - 1
    limit = degrees * (1 - 2 / (9 * degrees) + 3.72 * np.sqrt(2 / (9 * degrees))) ** 3
    assert ((np.asarray(counts) - expected) ** 2 / expected).sum() < limit


@pytest.mark.parametrize("name", FIXTURE["arguments"])
def test_levels_mean_what_they_mean_in_timm(name):
    argument = policies.TIMM[name].argument
    values = [argument(tf.constant(level, tf.float64), tf.constant(1, tf.float64)) for level in FIXTURE["levels"]]
    np.testing.assert_allclose(values, FIXTURE["arguments"][name], rtol=1e-11)


def test_negative_levels_are_on_the_other_side():
    level, sign = tf.constant(5, tf.float64), tf.constant(-1, tf.float64)
    for name, expected in (("Rotate", -15), ("ShearX", -0.15), ("TranslateYRel", -0.225), ("ColorIncreasing", 0.55)):
        assert float(policies.TIMM[name].argument(level, sign)) == pytest.approx(expected)


def test_operations_are_those_of_timm_and_torchvision():
    assert set(policies.RANDAUGMENT) == set(FIXTURE["randaugment"]["plain"])
    assert set(policies.RANDAUGMENT_INCREASING) == set(FIXTURE["randaugment"]["increasing"])
    assert [[list(each) for each in pair] for pair in policies.AUTOAUGMENT] == FIXTURE["autoaugment"]
    assert list(policies.TRIVIALAUGMENT) == list(FIXTURE["trivialaugment"])
    for name, expected in FIXTURE["trivialaugment"].items():
        operation, magnitudes = policies.TRIVIALAUGMENT[name]
        np.testing.assert_allclose(magnitudes[: len(expected["magnitudes"])], expected["magnitudes"], rtol=1e-6)
        signed = operation.argument in (policies._as_signed, policies._around_one)
        assert signed == expected["signed"]


def test_trivialaugment_moves_by_the_whole_pixels_of_torchvision():
    level, sign = tf.constant(float(np.float32(4.2666669)), tf.float64), tf.constant(-1, tf.float64)
    operation, _ = policies.TRIVIALAUGMENT["TranslateX"]
    moved = policies.apply_operation(IMAGE, operation, level, sign, "nearest", [0])
    np.testing.assert_array_equal(moved[:, :-4], IMAGE[:, 4:])
    assert not moved[:, -4:].numpy().any()


@pytest.mark.parametrize("std, mean, deviation", [(0.5, 6, 0.5), (0.0, 6, 0), (None, 3, 6 / 12**0.5)])
def test_randaugment_draws_operations_magnitudes_and_signs(std, mean, deviation):
    config = RandAugmentConfig(operations=2, magnitude=6.0, magnitude_std=std, probability=0.3)
    step = draws(lambda key: policies.draw_randaugment(key, config))
    numbers = step.number.numpy().ravel()
    check_shares(np.bincount(numbers, minlength=16), [0.3 / 15] * 15 + [0.7])
    both = (step.number.numpy() < 15).sum(1)  # independent of each other
    check_shares(np.bincount(both, minlength=3), [0.49, 0.42, 0.09])
    check_shares(np.bincount(step.sign.numpy().ravel() > 0), [0.5, 0.5])
    check_shares(np.bincount(step.is_cubic.numpy().ravel()), [0.5, 0.5])
    levels = step.level.numpy()
    assert levels.mean() == pytest.approx(mean, abs=0.05) and levels.std() == pytest.approx(deviation, abs=0.03)
    assert levels.min() >= 0 and levels.max() <= 10


def test_magnitudes_are_clipped():
    config = RandAugmentConfig(magnitude=9.9, magnitude_std=1.0)
    levels = draws(lambda key: policies.draw_randaugment(key, config)).level.numpy()
    assert levels.max() == 10 and (levels == 10).mean() == pytest.approx(0.46, abs=0.03)


def test_autoaugment_draws_pairs_and_their_probabilities():
    step = draws(policies.draw_autoaugment)
    names = [*policies.AUTOAUGMENT_OPERATIONS, None]
    expected = np.zeros((2, len(names)))
    for pair in policies.AUTOAUGMENT:
        for place, (name, probability, _) in enumerate(pair):
            expected[place, names.index(name)] += probability / 25
            expected[place, -1] += (1 - probability) / 25
    for place in range(2):
        counts = np.bincount(step.number[:, place], minlength=len(names))
        possible = expected[place] > 0
        assert not counts[~possible].any()
        check_shares(counts[possible], expected[place][possible])


def test_trivialaugment_draws_operations_and_strengths():
    step = draws(policies.draw_trivialaugment)
    numbers, levels = step.number.numpy().ravel(), step.level.numpy().ravel()
    check_shares(np.bincount(numbers, minlength=14), [1 / 14] * 14)
    rotations = np.round(levels[numbers == 5] / 4.5).astype(int)
    check_shares(np.bincount(rotations, minlength=31), [1 / 31] * 31)


@pytest.mark.parametrize("policy", [
    "randaugment",
    *(pytest.param(policy, marks=pytest.mark.heavy) for policy in ("autoaugment", "trivialaugment")),
])  # fmt: skip
def test_the_image_is_what_the_drawn_operations_make_of_it(policy):
    """Through the graph that chooses among operations, with all interpolations, for many keys."""
    config = DatasetConfig(channels=3, mean=[0.5, 0.25, 0.1], policy=policy, policy_interpolation="random")
    keys = tf.data.Dataset.range(60)
    by_graph = keys.map(lambda number: images.apply(IMAGE, tf.stack([number, 7]), config))
    fill, changed = ([0] if policy == "trivialaugment" else [128, 64, 26]), 0
    for number, actual in enumerate(by_graph):
        key = tf.random.split(tf.constant([number, 7], tf.int64), 3)[1]
        if policy == "randaugment":
            steps = policies.draw_randaugment(key, config.randaugment)
            operations = [policies.TIMM[name] for name in policies.RANDAUGMENT_INCREASING]
        elif policy == "autoaugment":
            steps = policies.draw_autoaugment(key)
            operations = [policies.TIMM[name] for name in policies.AUTOAUGMENT_OPERATIONS]
        else:
            steps = policies.draw_trivialaugment(key)
            operations = [operation for operation, _ in policies.TRIVIALAUGMENT.values()]
        expected = IMAGE
        for index in range(len(steps.number)):
            if steps.number[index] < len(operations):
                interpolation = "bicubic" if steps.is_cubic[index] else "bilinear"
                operation = operations[int(steps.number[index])]
                expected = policies.apply_operation(
                    expected, operation, steps.level[index], steps.sign[index], interpolation, fill
                )
        np.testing.assert_array_equal(actual, expected)
        changed += not np.array_equal(actual, IMAGE)
    assert changed > 20


def test_color_jitter_draws_factors_and_order():
    config = ColorJitterConfig(brightness=0.4, contrast=0.3)
    two = np.array([[[100, 100, 100], [200, 200, 200]]], np.uint8)
    keys = tf.data.Dataset.range(500)
    outputs = np.stack(list(keys.map(lambda number: images.jitter(two, tf.stack([number, 7]), config))))
    firsts = 0
    for number in range(500):
        of_factors, of_order = tf.random.split(tf.constant([number, 7], tf.int64), 2)
        draw = tf.random.stateless_uniform((3,), of_factors, dtype=tf.float64)
        factors = 0.6 + 0.8 * draw[1], 0.7 + 0.6 * draw[2]
        steps = [lambda x, f=factors: color.brightness(x, f[0]), lambda x, f=factors: color.contrast(x, f[1])]
        order = tf.random.experimental.stateless_shuffle(tf.range(2), of_order).numpy()
        expected = two
        for index in order:
            expected = steps[index](expected)
        np.testing.assert_array_equal(outputs[number], expected)
        firsts += order[0] == 0
    check_shares([firsts, 500 - firsts], [0.5, 0.5])


def test_color_jitter_leaves_images_with_a_probability():
    config = ColorJitterConfig(saturation=0.5, hue=0.1, probability=0.25)
    keys = tf.data.Dataset.range(400)
    outputs = keys.map(lambda number: images.jitter(IMAGE, tf.stack([number, 7]), config))
    changed = sum(not np.array_equal(each, IMAGE) for each in outputs)
    check_shares([changed, 400 - changed], [0.25, 0.75])


def test_flips_and_shifts_are_drawn_for_each_image():
    config = DatasetConfig(image_size=4, channels=1, flip=True, crop_padding=1)
    ramp = np.arange(1, 17, dtype=np.uint8).reshape(4, 4, 1)
    outputs = draws(lambda key: images.apply(ramp, key, config)).numpy()
    views = {}
    for mirrored in (False, True):
        for down in range(3):
            for right in range(3):
                view = np.pad(ramp, ((1, 1), (1, 1), (0, 0)))[down : down + 4, right : right + 4]
                views[(view[:, ::-1] if mirrored else view).tobytes()] = len(views)
    numbers = [views[output.tobytes()] for output in outputs]
    check_shares(np.bincount(numbers, minlength=18), [1 / 18] * 18)
