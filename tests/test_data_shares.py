"""Shares of batches: together they are the batches of one process, and none makes what another does."""

import numpy as np
import pytest

from zoo.datasets.augmentation_config import MixingConfig, RandomErasingConfig
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import load
from zoo.datasets.shares import evaluation_share, places


@pytest.mark.parametrize("in_pairs", [False, True])
@pytest.mark.parametrize("batch_size, count", [(64, 2), (7, 5), (5, 5), (31, 4), (2, 2), (1, 1)])
def test_the_shares_of_a_batch_are_the_batch(batch_size, count, in_pairs):
    shares = [places(batch_size, (number, count), in_pairs) for number in range(count)]
    assert sorted(np.concatenate(shares)) == list(range(batch_size))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= (2 if in_pairs else 1)
    if in_pairs:
        for share in shares:
            np.testing.assert_array_equal(batch_size - 1 - share[::-1], share)


@pytest.mark.parametrize("batch_size, count", [(64, 2), (7, 5), (8, 5), (9, 8), (31, 4)])
def test_the_shares_of_an_evaluation_are_all_images(batch_size, count):
    for size in range(1, batch_size + 1):
        spans = [evaluation_share(batch_size, (number, count)) for number in range(count)]
        assert [place for first, end in spans for place in range(first, min(end, size))] == list(range(size))


CASES = {
    "batches": {"crop_padding": 1, "flip": True},
    "policy": {"policy": "trivialaugment"},
    "mixed": {"mixing": MixingConfig(mixup_alpha=0.2, cutmix_alpha=1.0)},
    "erased": {"random_erasing": RandomErasingConfig(probability=0.7, count=2), "flip": False},
    "balanced": {"sampling": "balanced"},
}
DIGITS = {"uncached": {"random_resized_crop": True}, "repeated": {"repeats": 3}}


def config_of(case, data_dir):
    if case in CASES:
        sizes = {"synthetic_train_size": 40, "synthetic_validation_size": 16}
        return DatasetConfig(name="images", source="synthetic", num_classes=5, image_size=8, **sizes, **CASES[case])
    own = {"cache": False, "channels": 1, "data_dir": str(data_dir), "train_split": "train[:40]"}
    own |= {"validation_split": "validation[:16]"}
    return DatasetConfig(name="digits", source="tfds", builder="digits", image_size=8, **own, **DIGITS[case])


QUICK = ("mixed",)  # the others take as long, for the same mechanism


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.heavy) for case in (*CASES, *DIGITS)]
)
def test_shares_make_what_one_process_makes(case, data_dir):
    """Augmented and mixed likewise, from any step on; the last validation batch has an image for some of them alone."""
    config, batch_size, count = config_of(case, data_dir), 7, 3
    whole = load(config, batch_size, seed=0)
    own = [places(batch_size, (number, count), in_pairs=config.mixing.is_on) for number in range(count)]
    parts = [load(config, batch_size, seed=0, share=(number, count)) for number in range(count)]
    expected = list(whole.stream(1, 3).take(3).as_numpy_iterator())
    for part, share in zip(parts, own, strict=True):
        assert part.steps_per_epoch == whole.steps_per_epoch
        for batch, all_of_it in zip(part.stream(1, 3).take(3).as_numpy_iterator(), expected, strict=True):
            for values, all_values in zip(batch, all_of_it, strict=True):
                np.testing.assert_allclose(values, all_values[share], atol=1e-6)
    np.testing.assert_array_equal(parts[1].batch(4)[0], whole.batch(4)[0])
    validation = [list(part.validation_share.as_numpy_iterator()) for part in parts]
    for step, (images, labels) in enumerate(whole.validation.as_numpy_iterator()):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in validation]), images)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in validation]), labels)
    assert [len(part) for part in validation] == [3, 3, 3] and len(validation[2][2][0]) == 0
