"""Sampling for classes of different size: equally often, as long an epoch, and the same at every resumption."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from helpers.checks import refusal
from helpers.pictures import arrays, folder_config, rows, write_folder
from helpers.training import compose_config
from zoo.datasets.config import DatasetConfig, check
from zoo.datasets.pipeline import load
from zoo.datasets.sampling import Balanced
from zoo.training import settings


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder, {"train": {"a": 20, "b": 3, "c": 1}, "validation": {"a": 1, "b": 1, "c": 1}})
    return folder


@pytest.mark.parametrize(
    "kind", ["pixels", *(pytest.param(kind, marks=pytest.mark.heavy) for kind in ("encoded", "paths"))]
)
def test_each_class_is_shown_equally_often_in_an_epoch_of_the_same_length(kind, pictures):
    crop = kind == "encoded"
    config = folder_config(pictures, sampling="balanced", random_resized_crop=crop, cache=kind != "paths")
    data = load(config, 6, seed=0)
    assert data.steps_per_epoch == 4
    images, labels = arrays(data.stream(0).take(8))
    epochs = [(images[:24], labels[:24]), (images[24:], labels[24:])]
    for images, labels in epochs:
        assert np.bincount(labels).tolist() == [8, 8, 8]
        if not crop:
            assert len(set(rows(images[labels == 2]))) == 1
    assert not np.array_equal(epochs[0][1], epochs[1][1])
    assert data.class_counts().tolist() == [20, 3, 1]
    again = arrays(data.stream(1, 2).take(2))
    np.testing.assert_array_equal(again[0], epochs[1][0][12:])
    np.testing.assert_array_equal(again[1], epochs[1][1][12:])


def test_each_class_is_shown_equally_often_where_images_are_repeated(pictures):
    data = load(folder_config(pictures, sampling="balanced", repeats=2), 6, seed=0)
    _, labels = arrays(data.stream(0).take(4))
    assert np.bincount(labels).tolist() == [8, 8, 8]


def test_images_of_a_class_are_equally_likely_and_what_is_left_over_goes_to_any_class():
    labels = np.array([3, 0, 0, 5, 0, 0])  # of 1, 2 and 4 there is none
    sampler, drawn = Balanced(labels), []
    for seed in range(400):
        indices = sampler.draw(7, tf.constant([seed, 0], tf.int64), tf.constant([seed, 1], tf.int64)).numpy()
        counts = np.bincount(labels[indices], minlength=6)
        assert sorted(counts[[0, 3, 5]]) == [2, 2, 3] and counts.sum() == 7
        drawn.append(np.bincount(indices, minlength=6))
    mean = np.mean(drawn, axis=0)
    np.testing.assert_allclose(mean[[0, 3]], 7 / 3, atol=0.1)
    np.testing.assert_allclose(mean[[1, 2, 4, 5]], 7 / 12, atol=0.15)


def test_what_cannot_be_balanced_is_refused(digits):
    records = dataclasses.replace(digits, cache=False, sampling="balanced")
    assert "set dataset.cache=true, or dataset.sampling=uniform" in refusal(lambda: load(records, 10, seed=0))
    sentence = refusal(lambda: check(DatasetConfig(sampling="balance")))
    assert "dataset.sampling='balance' is none of uniform, balanced; did you mean 'balanced'?" in sentence
    both = compose_config("dataset.sampling=balanced", "recipe.class_weights=balanced")
    assert "use one of them" in refusal(lambda: settings.check(both))
