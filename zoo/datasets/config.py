"""What a data set is and how its images are prepared, as one flat, typed configuration.

Imports neither TensorFlow nor TFDS nor NumPy, so composing and checking a configuration costs nothing.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from zoo.data_config import CROP_MODES, INTERPOLATIONS, LARGEST_SIDE, DataConfig
from zoo.datasets.augmentation_config import (
    ColorJitterConfig,
    MixingConfig,
    RandAugmentConfig,
    RandomErasingConfig,
    check_augmentation,
)

SOURCES = ("tfds", "image_folder", "synthetic")
SAMPLINGS = ("uniform", "balanced")
DIGITS = {"train": 1437, "validation": 360}  # images of the splits of dataset=digits, before they are prepared


@dataclass
class DatasetConfig:
    """One data set. Sizes in pixels, `mean` and `std` in the unit range 0..1.

    `name` stands in run names. `builder` is a TFDS name, with config and version where wanted
    (`name/config:1.2.3`); only `source: tfds` reads it. `data_dir` is where TFDS keeps prepared data sets
    (null: $TFDS_DATA_DIR, else ~/tensorflow_datasets), or the root of an image folder. Splits follow TFDS's
    syntax (`train[:90%]`, `train[50000:]`, `train+test`); for an image folder they are names of folders, whose
    images that cannot be decoded are refused, or with `skip_broken` left out. A folder of classes without splits has
    `validation_share` of each class held out, by names and `split_seed`: not by the seed of the run, so that runs with
    several seeds, and those that begin with the weights of another, validate on images that none was trained on.
    `fold` "0/5" validates on the first of five parts of `train_split`, which have the same share of every class and are
    chosen by `split_seed`, and trains on the rest; `validation_split` is not read then.

    Training images: `random_resized_crop` cuts a box of `crop_area` (share of the image's area) and
    `crop_aspect` (width / height) and scales it to `image_size`; otherwise images are treated as for
    evaluation, then padded with zeros by `crop_padding` on every side and cropped back at random. `flip`
    mirrors left and right, half of the time. `policy` is "randaugment" or "autoaugment" (timm's) or "trivialaugment"
    (torchvision's), with `policy_interpolation` "nearest", "bilinear", "bicubic" or "random" (one of the last two) for
    what turns, shears and moves; None: "nearest" for trivialaugment, whose fill is black, and "random" for the others,
    whose fill is the `mean`. `color_jitter`, `random_erasing` and `mixing` have their own keys. With `repeats` an epoch
    holds so many times fewer images, each `repeats` times, augmented anew.

    Evaluation images: the short side becomes `image_size / crop_fraction`, rounded down, then the centre is cut out;
    `crop_mode` "squash" and "border" are timm's. Either way `resize_method` is Pillow's.

    `cache`: true keeps the raw images in memory whatever their size, false never does, "auto" does where they
    take at most `cache_limit_gb` (10^9 bytes, each split by itself). What is not kept in memory is
    shuffled `shuffle_buffer` encoded images at a time. `sampling` "balanced" draws as many images of each class in an
    epoch, with replacement; an epoch is as long as with "uniform", which takes each image once.

    Example:
        >>> from zoo.datasets.config import DatasetConfig
        >>> DatasetConfig(source="image_folder", data_dir="pets", image_size=64, channels=3).resize_method
        'bilinear'
    """

    name: str = "digits"
    source: str = "tfds"
    builder: str | None = "digits"
    data_dir: str | None = None
    train_split: str = "train"
    validation_split: str = "validation"
    test_split: str | None = None
    num_classes: int | None = None
    validation_share: float = 0.2
    split_seed: int = 0
    fold: str | None = None
    skip_broken: bool = False
    image_size: int = 8
    channels: int = 1
    resize_method: str = "bilinear"
    crop_fraction: float = 1.0
    crop_mode: str = "center"
    mean: list[float] = field(default_factory=lambda: [0.0])
    std: list[float] = field(default_factory=lambda: [1.0])
    random_resized_crop: bool = False
    crop_area: list[float] = field(default_factory=lambda: [0.08, 1.0])
    crop_aspect: list[float] = field(default_factory=lambda: [0.75, 1.3333333])
    crop_padding: int = 0
    flip: bool = False
    policy: str | None = None
    policy_interpolation: str | None = None
    randaugment: RandAugmentConfig = field(default_factory=RandAugmentConfig)
    color_jitter: ColorJitterConfig = field(default_factory=ColorJitterConfig)
    random_erasing: RandomErasingConfig = field(default_factory=RandomErasingConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    repeats: int = 1
    cache: bool | str = "auto"
    cache_limit_gb: float = 2.0
    shuffle_buffer: int = 4096
    sampling: str = "uniform"
    synthetic_train_size: int = 1024
    synthetic_validation_size: int = 256


def data_config(
    config: DatasetConfig, class_names: Sequence[str] | None = None, source: str | None = None
) -> DataConfig:
    """How a network that was trained on this data set expects pictures: as those that it was evaluated on.

    Args:
        class_names: those that the data set has, in the order of its labels.
        source: what the weights are, the name of the run for instance.

    Raises ValueError for values that `check` refuses.

    Example:
        >>> from zoo.datasets.config import DatasetConfig, data_config
        >>> config = data_config(DatasetConfig(image_size=32, resize_method="area"), ("cat", "dog"))
        >>> config.size, config.channels, config.interpolation, config.class_names
        ((32, 32), 1, 'area', ('cat', 'dog'))
    """
    return DataConfig(
        size=(config.image_size, config.image_size),
        mean=tuple(config.mean),
        std=tuple(config.std),
        channels=config.channels,
        interpolation=config.resize_method,
        crop_pct=config.crop_fraction,
        crop_mode=config.crop_mode,
        class_names=None if class_names is None else tuple(class_names),
        source=source,
    )


def check(config: DatasetConfig) -> None:
    """Raises ValueError, in one sentence, for the first invalid value.

    Example:
        >>> from zoo.datasets.config import DatasetConfig, check
        >>> check(DatasetConfig(source="synthetic", num_classes=10))
        >>> check(DatasetConfig(source="tdfs"))
        Traceback (most recent call last):
            ...
        ValueError: dataset.source='tdfs' is none of tfds, image_folder, synthetic; did you mean 'tfds'?
    """
    _check_source(config)
    if config.fold is not None:
        parse_fold(config.fold)
    _check_numbers(config)
    _check_sizes(config)
    _check_normalisation(config)
    _check_cropping(config)
    check_augmentation(config)
    if config.source != "synthetic":
        _check_splits(config)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        close = get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"dataset.{key}={value!r} is none of {', '.join(allowed)}{hint}")


def _check_source(config: DatasetConfig) -> None:
    _one_of("source", config.source, SOURCES)
    if config.source == "tfds" and not config.builder:
        raise ValueError(
            "dataset.source=tfds needs dataset.builder, the name of a TFDS data set such as "
            "dataset.builder=fashion_mnist."
        )
    if config.source == "image_folder" and not config.data_dir:
        raise ValueError(
            "dataset.source=image_folder needs dataset.data_dir, a folder that holds train/CLASS/*.jpg and "
            "validation/CLASS/*.jpg."
        )
    if config.skip_broken and config.source != "image_folder":
        raise ValueError(
            f"dataset.skip_broken=true is not allowed with dataset.source={config.source}: set it to false; only of an "
            "image_folder images can be left out."
        )
    if config.source == "synthetic" and not config.num_classes:
        raise ValueError(
            "dataset.source=synthetic needs dataset.num_classes, for example 10; it has no labels to count."
        )


def _check_numbers(config: DatasetConfig) -> None:
    """NaN passes every comparison below, and infinity most."""
    for key in ("mean", "std", "crop_area", "crop_aspect", "crop_fraction", "cache_limit_gb", "validation_share"):
        value = getattr(config, key)
        if not all(math.isfinite(number) for number in (value if hasattr(value, "__iter__") else [value])):
            raise ValueError(f"dataset.{key}={value} is not allowed: it must be finite; see conf/dataset/digits.yaml.")


def _check_sizes(config: DatasetConfig) -> None:
    for key in ("image_size", "shuffle_buffer", "synthetic_train_size", "synthetic_validation_size"):
        if getattr(config, key) < 1:
            raise ValueError(f"dataset.{key}={getattr(config, key)} must be at least 1.")
    if config.image_size > LARGEST_SIDE:
        raise ValueError(f"dataset.image_size={config.image_size} must be at most {LARGEST_SIDE} pixels.")
    if config.num_classes is not None and config.num_classes < 2:
        raise ValueError(
            f"dataset.num_classes={config.num_classes} must be at least 2, or null to read it from the data set."
        )
    if config.channels not in (1, 3):
        nearest = 1 if config.channels < 2 else 3
        raise ValueError(
            f"dataset.channels={config.channels} must be 1 (grey) or 3 (red, green, blue); the nearest is {nearest}."
        )
    if not 0 < config.validation_share < 1:
        share = 0.1 if config.validation_share <= 0 else 0.9
        raise ValueError(
            f"dataset.validation_share={config.validation_share} must be above 0 and below 1; try {share}."
        )
    if isinstance(config.cache, str) and config.cache != "auto":
        raise ValueError(f"dataset.cache={config.cache!r} must be true, false or auto.")
    if config.cache_limit_gb < 0:
        raise ValueError(
            f"dataset.cache_limit_gb={config.cache_limit_gb} must be 0 or more; dataset.cache=false caches nothing."
        )


def _check_normalisation(config: DatasetConfig) -> None:
    for key in ("mean", "std"):
        values = list(getattr(config, key))
        if len(values) not in (1, config.channels):
            allowed = "1 value" if config.channels == 1 else f"{config.channels} values, or 1 for all channels"
            raise ValueError(
                f"dataset.{key}={values} has {len(values)} values; dataset.channels={config.channels} needs {allowed}."
            )
    if any(value <= 0 for value in config.std):
        raise ValueError(f"dataset.std={list(config.std)} must be above 0 everywhere; images are divided by it.")
    if any(abs(value) > 1 for value in config.mean) or any(value > 1 for value in config.std):
        raise ValueError(
            f"dataset.mean={list(config.mean)}, dataset.std={list(config.std)} are for pixels in 0..1; "
            "divide values meant for 0..255 by 255."
        )


def _check_cropping(config: DatasetConfig) -> None:
    _one_of("resize_method", config.resize_method, INTERPOLATIONS)
    _one_of("crop_mode", config.crop_mode, CROP_MODES)
    _one_of("sampling", config.sampling, SAMPLINGS)
    if not 0 < config.crop_fraction <= 1:
        raise ValueError(
            f"dataset.crop_fraction={config.crop_fraction} must be above 0 and at most 1 (1 keeps the whole "
            "short side)."
        )
    if not 0 <= config.crop_padding <= config.image_size:
        nearest = min(max(config.crop_padding, 0), config.image_size)
        raise ValueError(
            f"dataset.crop_padding={config.crop_padding} must lie in 0..image_size={config.image_size}; the "
            f"nearest is {nearest}."
        )
    if config.random_resized_crop and config.crop_padding:
        raise ValueError(
            "dataset.random_resized_crop=true already crops at random; set dataset.crop_padding=0 instead "
            f"of {config.crop_padding}."
        )
    for key, highest in (("crop_area", 1.0), ("crop_aspect", float("inf"))):
        pair = list(getattr(config, key))
        if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= highest:
            limit = "" if highest == float("inf") else f" <= {highest:g}"
            raise ValueError(f"dataset.{key}={pair} must be two numbers, 0 < lowest <= highest{limit}.")


def parse_fold(fold: str) -> tuple[int, int]:
    """Number of the fold that is validated on, from 0, and how many there are.

    Raises ValueError, in one sentence, for what is no fold.

    Example:
        >>> from zoo.datasets.config import parse_fold
        >>> parse_fold("0/5")
        (0, 5)
        >>> parse_fold("5/5")
        Traceback (most recent call last):
            ...
        ValueError: dataset.fold='5/5' is not allowed: folds of 5 are counted from 0/5 to 4/5; the nearest is 4/5.
    """
    parts = re.fullmatch(r"(-?[0-9]{1,9})/(-?[0-9]{1,9})", str(fold))
    if parts is None:
        raise ValueError(
            f"dataset.fold={fold!r} is not allowed: write the number of the fold and how many there are, 0/5 to 4/5, "
            "or null."
        )
    number, count = int(parts[1]), int(parts[2])
    if count < 2:
        raise ValueError(
            f"dataset.fold={fold!r} is not allowed: there must be at least 2 folds; the nearest is "
            f"{min(max(number, 0), 1)}/2."
        )
    if not 0 <= number < count:
        raise ValueError(
            f"dataset.fold={fold!r} is not allowed: folds of {count} are counted from 0/{count} to "
            f"{count - 1}/{count}; the nearest is {min(max(number, 0), count - 1)}/{count}."
        )
    return number, count


def _check_splits(config: DatasetConfig) -> None:
    splits = {key: getattr(config, key) for key in ("train_split", "validation_split", "test_split")}
    if config.fold is not None:  # a part of train_split is validated on
        splits["validation_split"] = None
    for key in ("train_split",) if config.fold is not None else ("train_split", "validation_split"):
        if not splits[key]:
            raise ValueError(f"dataset.{key}={splits[key]!r} must name a split, for example 'train[:90%]'.")
    for first, second in (
        ("train_split", "validation_split"),
        ("train_split", "test_split"),
        ("validation_split", "test_split"),
    ):
        if splits[first] and splits[second] and splits_overlap(splits[first], splits[second]):
            raise ValueError(
                f"dataset.{first}={splits[first]!r} and dataset.{second}={splits[second]!r} share examples; "
                "take parts that do not overlap, for example 'train[:90%]' and 'train[90%:]'."
            )


_PART = re.compile(r"^(?P<name>[\w.\-]+)(\[(?P<low>-?\d+%?)?:(?P<high>-?\d+%?)?\])?$")


def splits_overlap(first: str, second: str) -> bool:
    """Whether two TFDS split strings certainly share examples.

    Strings alone do not say how long a split is, so `train[:1000]` and `train[90%:]` count as apart here; the
    loader compares the resolved positions once the data set is known.

    Example:
        >>> from zoo.datasets.config import splits_overlap
        >>> splits_overlap("train[:90%]", "train[80%:]"), splits_overlap("train[:90%]", "train[90%:]")
        (True, False)
    """
    return any(_parts_overlap(a, b) for a in first.split("+") for b in second.split("+"))


def _parts_overlap(first: str, second: str) -> bool:
    a, b = _PART.match(first.replace(" ", "")), _PART.match(second.replace(" ", ""))
    if a is None or b is None:
        return first.strip() == second.strip()
    if a["name"] != b["name"] and "all" not in (a["name"], b["name"]):
        return False
    if a["name"] != b["name"]:  # "all" holds every split, so only a slice of it may miss the other
        return not (a["low"] or a["high"] or b["low"] or b["high"])
    bounds = [a["low"], a["high"], b["low"], b["high"]]
    given = [bound for bound in bounds if bound]
    percent = bool(given) and all(bound.endswith("%") or bound == "0" for bound in given)
    absolute = not any(bound.endswith("%") for bound in given) and not any(bound.startswith("-") for bound in given)
    if not percent and not absolute:
        return first.strip() == second.strip() or not (a["low"] or a["high"]) or not (b["low"] or b["high"])
    end = 100.0 if percent else float("inf")

    def position(bound: str | None, default: float) -> float:
        if not bound:
            return default
        value = float(bound.rstrip("%"))
        return max(0.0, value + end) if bound.startswith("-") else min(value, end)

    low = max(position(a["low"], 0.0), position(b["low"], 0.0))
    high = min(position(a["high"], end), position(b["high"], end))
    return low < high
