"""What the configuration refuses, and that every file in conf/dataset is one."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers.paths import CONF
from helpers.processes import run_code
from zoo.datasets.augmentation_config import (
    ColorJitterConfig,
    MixingConfig,
    RandAugmentConfig,
    RandomErasingConfig,
)
from zoo.datasets.config import DatasetConfig, check, splits_overlap

FILES = sorted((CONF / "dataset").glob("*.yaml"))
REQUIRED = {"tfds": {"builder": "mnist"}, "image_folder": {"data_dir": "images"}}


def composed(name, *overrides):
    """The `dataset` section of the configuration, as `dataset=name` makes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [f"dataset={name}", *overrides]).dataset


def test_files_are_all_there():
    assert {path.stem for path in FILES} == {
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "imagenette",
        "imagenet2012",
        "tfds",
        "image_folder",
        "synthetic",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_is_a_complete_and_valid_configuration(path):
    values = composed(path.stem)
    assert list(values) == [field.name for field in dataclasses.fields(DatasetConfig)]
    node = OmegaConf.create({"dataset": OmegaConf.structured(DatasetConfig)})
    node = OmegaConf.merge(node, {"dataset": values}, {"dataset": REQUIRED.get(path.stem, {})})
    config = OmegaConf.to_object(node.dataset)
    assert isinstance(config, DatasetConfig)
    check(config)
    check(node.dataset)  # as a task receives it from Hydra
    for line in path.read_text().splitlines():
        assert re.search(r"# \w.*", line), f"{path.name}: no comment in {line!r}"


def test_augmentation_that_is_not_set_is_the_same_in_the_base_and_in_python():
    """What checkpoints and runs lack that are older than a key."""
    new = ("policy", "policy_interpolation", "randaugment", "color_jitter", "random_erasing", "mixing", "repeats")
    values = OmegaConf.to_container(OmegaConf.load(CONF / "dataset_base.yaml"), resolve=False)
    defaults = dataclasses.asdict(DatasetConfig())
    assert {key: values[key] for key in new} == {key: defaults[key] for key in new}


def test_the_base_has_every_key_and_is_not_offered():
    path = CONF / "dataset_base.yaml"
    values = OmegaConf.load(path)
    assert list(values) == [field.name for field in dataclasses.fields(DatasetConfig)]
    assert {key for key in values if OmegaConf.is_missing(values, key)} == {"name", "source", "builder", "data_dir"}
    for line in path.read_text().splitlines():
        assert re.search(r"# \w.*|^# ", line), f"no comment in {line!r}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        offered = GlobalHydra.instance().config_loader().get_group_options("dataset")
    assert sorted(offered) == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_sets_only_what_differs_from_what_it_starts_from(path):
    values = OmegaConf.to_container(OmegaConf.load(path))
    first, last = values.pop("defaults")
    assert last == "_self_"
    start = OmegaConf.load(CONF / "dataset_base.yaml") if first == "/dataset_base@_here_" else composed(first)
    pairs = {"mean", "std"}  # written together, as they are measured
    start = OmegaConf.to_container(start)
    assert [key for key in values if values[key] == start[key] != "???" and key not in pairs] == []


def test_a_copy_of_a_file_is_a_data_set_of_ones_own(tmp_path):
    copy = (CONF / "dataset" / "cifar10.yaml").read_text().replace("cifar10", "svhn_cropped")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text(copy)
    values, original = composed("mine", f"hydra.searchpath=[file://{tmp_path}]"), composed("cifar10")
    assert values == {**original, "name": "svhn_cropped", "builder": "svhn_cropped"}
    check(OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DatasetConfig), values)))


def test_required_values_are_missing_until_given():
    for name, values in REQUIRED.items():
        loaded = composed(name)
        assert {key for key in loaded if OmegaConf.is_missing(loaded, key)} - {"name"} == set(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "dataset.image_size=0 must be at least 1"),
        ({"channels": 4}, "dataset.channels=4 must be 1 .* or 3 .*nearest is 3"),
        (
            {"channels": 3, "mean": [0.5, 0.5]},
            "dataset.mean=.* has 2 values; dataset.channels=3 needs 3 values, or 1",
        ),
        ({"std": [0.2, 0.2, 0.2]}, "dataset.std=.* has 3 values; dataset.channels=1 needs 1 value"),
        ({"std": [0.0]}, "above 0"),
        ({"mean": [127.5]}, "divide values meant for 0..255 by 255"),
        ({"source": "tfd"}, "none of tfds, image_folder, synthetic; did you mean 'tfds'"),
        ({"builder": None}, "needs dataset.builder"),
        ({"source": "image_folder"}, "needs dataset.data_dir"),
        ({"source": "synthetic"}, "needs dataset.num_classes"),
        ({"resize_method": "bilinar"}, "did you mean 'bilinear'"),
        ({"crop_padding": 9}, "0..image_size=8; the nearest is 8"),
        ({"crop_padding": 2, "random_resized_crop": True}, "already crops at random"),
        ({"crop_fraction": 1.5}, "at most 1"),
        ({"crop_area": [0.5, 0.1]}, "0 < lowest <= highest <= 1"),
        ({"crop_aspect": [0.75]}, "two numbers"),
        ({"cache": "sometimes"}, "true, false or auto"),
        ({"num_classes": 1}, "at least 2"),
        ({"policy": "randaug"}, "dataset.policy='randaug' is not known: did you mean randaugment"),
        ({"policy_interpolation": "cubic"}, "policy_interpolation='cubic' is not known: did you mean bicubic"),
        ({"repeats": 0}, "dataset.repeats=0 is not allowed: it must be from 1 to 16; the nearest is 1"),
        ({"randaugment": RandAugmentConfig(operations=17)}, "dataset.randaugment.operations=17 .* the nearest is 16"),
        ({"randaugment": RandAugmentConfig(magnitude=11)}, "dataset.randaugment.magnitude=11 .* from 0 to 10"),
        ({"randaugment": RandAugmentConfig(magnitude_std=-1)}, "randaugment.magnitude_std=-1 .* the nearest is 0"),
        ({"randaugment": RandAugmentConfig(probability=math.nan)}, "dataset.randaugment.probability=nan is not"),
        ({"color_jitter": ColorJitterConfig(hue=0.6)}, "dataset.color_jitter.hue=0.6 .* from 0 to 0.5"),
        ({"color_jitter": ColorJitterConfig(contrast=-0.1)}, "dataset.color_jitter.contrast=-0.1 .* nearest is 0"),
        ({"random_erasing": RandomErasingConfig(mode="noise")}, "dataset.random_erasing.mode='noise' is not known"),
        ({"random_erasing": RandomErasingConfig(probability=1.1)}, "random_erasing.probability=1.1 .* nearest is 1"),
        ({"random_erasing": RandomErasingConfig(count=0)}, "dataset.random_erasing.count=0 .* nearest is 1"),
        ({"random_erasing": RandomErasingConfig(area=[0.5, 1.5])}, "random_erasing.area=.* 0 < lowest <= highest <= 1"),
        ({"random_erasing": RandomErasingConfig(aspect=[2, 1])}, "random_erasing.aspect=.* 0 < lowest <= highest"),
        ({"random_erasing": RandomErasingConfig(aspect=[2, math.inf])}, "random_erasing.aspect=.* is not allowed"),
        ({"mixing": MixingConfig(mixup_alpha=-0.2)}, "dataset.mixing.mixup_alpha=-0.2 .* the nearest is 0"),
        ({"mixing": MixingConfig(cutmix_alpha=math.inf)}, "dataset.mixing.cutmix_alpha=inf .* the nearest is 1000"),
        ({"mixing": MixingConfig(switch_probability=2)}, "dataset.mixing.switch_probability=2 .* the nearest is 1"),
        ({"skip_broken": True}, "skip_broken=true is not allowed with dataset.source=tfds: set it to false"),
        ({"validation_split": ""}, "must name a split"),
        ({"train_split": "train", "validation_split": "train[90%:]"}, "share examples"),
        (
            {"test_split": "validation"},
            "dataset.validation_split='validation' and dataset.test_split='validation' share",
        ),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(DatasetConfig(), **changes))


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ("train", "train", True),
        ("train", "test", False),
        ("train[:90%]", "train[90%:]", False),
        ("train[:91%]", "train[90%:]", True),
        ("train[:90%]", "train[-10%:]", False),
        ("train[:90%]", "train[-11%:]", True),
        ("train[:5]", "train[5:]", False),
        ("train[:6]", "train[5:]", True),
        ("train[10:20]", "train", True),
        ("test+train[:10%]", "train[5%:20%]", True),
        ("all", "train", True),
        (
            "train[:1000]",
            "train[90%:]",
            False,
        ),  # cannot be told from the strings; the loader compares positions
    ],
)
def test_overlap_of_splits(first, second, overlap):
    assert splits_overlap(first, second) is splits_overlap(second, first) is overlap


def test_the_configuration_imports_nothing_heavy():
    heavy = "{'tensorflow', 'numpy', 'tensorflow_datasets'}"
    code = f"import sys, zoo.datasets.config; print({heavy} & set(sys.modules))"
    assert run_code(code).strip() == "set()"


@pytest.mark.parametrize(
    "change",
    [{"mean": [math.nan]}, {"std": [math.inf]}, {"cache_limit_gb": math.nan}, {"crop_area": [0.1, math.nan]}],
)
def test_numbers_are_finite(change):
    with pytest.raises(ValueError, match="it must be finite"):
        check(DatasetConfig(**change))


def test_images_have_a_largest_size():
    with pytest.raises(ValueError, match="dataset.image_size=5000 must be at most 4096 pixels"):
        check(DatasetConfig(image_size=5000))
