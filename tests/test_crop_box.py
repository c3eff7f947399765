"""The box of a random crop has the distribution that torchvision's RandomResizedCrop draws from."""

import math

import numpy as np
import pytest
import tensorflow as tf

from zoo.datasets.crop_box import random_box

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def reference(height, width, area, aspect, random):
    """One box by torchvision's definition, https://docs.pytorch.org/vision/stable/ (RandomResizedCrop.get_params)."""
    for _ in range(10):
        target = random.uniform(*area) * height * width
        ratio = math.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1])))
        box_width, box_height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top, left = random.integers(height - box_height + 1), random.integers(width - box_width + 1)
            return top, left, box_height, box_width
    box_width = min(width, round(height * aspect[1]))
    box_height = min(height, round(width / aspect[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def drawn(height, width, area=AREA, aspect=ASPECT, count=4000):
    boxes = tf.data.Dataset.range(count).map(
        lambda index: random_box((height, width, 3), tf.stack([index, 7]), area, aspect)
    )
    return np.stack(list(boxes.as_numpy_iterator()))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (60, 20)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    random = np.random.default_rng(0)
    ours = drawn(height, width)
    theirs = np.array([reference(height, width, AREA, ASPECT, random) for _ in range(4000)])
    top, left, box_height, box_width = ours.T
    assert (ours >= 0).all() and (top + box_height <= height).all() and (left + box_width <= width).all()
    for values, expected in zip(
        (*ours.T, box_height * box_width, box_width / box_height, top / (height - box_height + 1)),
        (
            *theirs.T,
            theirs[:, 2] * theirs[:, 3],
            theirs[:, 3] / theirs[:, 2],
            theirs[:, 0] / (height - theirs[:, 2] + 1),
        ),
        strict=True,
    ):
        # Two-sample Kolmogorov-Smirnov: equal distributions exceed 0.05 once in 11,000 such comparisons.
        places = np.union1d(values, expected)
        steps = [np.searchsorted(np.sort(each), places, "right") / len(each) for each in (values, expected)]
        assert np.abs(steps[0] - steps[1]).max() < 0.05


def test_every_place_is_reached_equally_often():
    boxes = drawn(6, 4, area=(1 / 6, 1 / 6), aspect=(1.0, 1.0), count=3000)
    assert (boxes[:, 2:] == 2).all()
    counts = np.bincount(boxes[:, 0] * 3 + boxes[:, 1], minlength=15)
    np.testing.assert_allclose(counts, 200, atol=60)  # four standard deviations


@pytest.mark.parametrize(
    ("shape", "box"),
    [((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10)), ((1, 1), (0, 0, 1, 1)), ((1, 500), (0, 249, 1, 1))],
)
def test_where_no_box_fits_it_is_the_largest_in_the_middle(shape, box):
    """torchvision's fallback; its ratio of 13 to 10 is the whole pixel nearest to 4 to 3."""
    assert tuple(drawn(*shape, area=(1.0, 1.0), count=1)[0]) == box
    assert tuple(reference(*shape, (1.0, 1.0), ASPECT, np.random.default_rng(0))) == box


def test_the_same_seed_gives_the_same_box():
    seeds = [(0, 1), (0, 1), (0, 2), (1, 1)]
    boxes = [tuple(random_box((375, 500), seed, AREA, ASPECT).numpy()) for seed in seeds]
    assert boxes[0] == boxes[1] and len(set(boxes)) == 3
