"""Which networks there are; imports no TensorFlow, so that names and settings are checked at once."""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

from zoo.checks import close_matches
from zoo.costs import recorded
from zoo.typing import Config, Family, ModelConfig

FAMILIES = {
    "resnext": "zoo.models.resnext",
    "resnext_cifar": "zoo.models.resnext_cifar",
    "sk_resnext": "zoo.models.sk_resnext",
    "res2net": "zoo.models.res2net",
    "resnest": "zoo.models.resnest",
    "shufflenet_v1": "zoo.models.shufflenet_v1",
    "shufflenet_v2": "zoo.models.shufflenet_v2",
    "mobilenet_v1": "zoo.models.mobilenet_v1",
    "mobilenet_v2": "zoo.models.mobilenet_v2",
    "mobilenet_v3": "zoo.models.mobilenet_v3",
    "regnet": "zoo.models.regnet",
    "repvgg": "zoo.models.repvgg",
    "mobileone": "zoo.models.mobileone",
    "convnext": "zoo.models.convnext",
    "ghostnet": "zoo.models.ghostnet",
    "dpn": "zoo.models.dpn",
    "xception": "zoo.models.xception",
    "mobilenet_v4": "zoo.models.mobilenet_v4",
    "efficientnet": "zoo.models.efficientnet",
    "mnasnet": "zoo.models.mnasnet",
    "mixnet": "zoo.models.mixnet",
    "fbnet": "zoo.models.fbnet",
    "lcnet": "zoo.models.lcnet",
    "alexnet": "zoo.models.alexnet",
    "igcv3": "zoo.models.igcv3",
    "condensenet": "zoo.models.condensenet",
}


def family(name: str) -> Family[Any]:
    """The module of a family. Raises ValueError, with the nearest names, for an unknown one.

    Example:
        >>> from zoo.registry import family
        >>> family("lcnet").CLASSIFIER
        'classifier'
    """
    if name not in FAMILIES:
        raise ValueError(f"There is no family {name!r}: {close_matches(name, FAMILIES)}")
    return cast(Family[Any], import_module(FAMILIES[name]))


def family_of(config: Config) -> Family[Config]:
    """The module that builds `config`, a family's dataclass. Raises TypeError for anything else.

    Example:
        >>> from zoo.registry import family_of, variant
        >>> family_of(variant("resnet50")).__name__
        'zoo.models.resnext'
    """
    module = type(config).__module__
    if module not in FAMILIES.values():
        raise TypeError(f"{config!r} is neither a model's name nor the configuration of one of {', '.join(FAMILIES)}.")
    return cast(Family[Config], import_module(module))


def family_key(config: ModelConfig) -> str:
    """The family of `config`, a family's dataclass: a key of FAMILIES. Raises TypeError for anything else.

    Example:
        >>> from zoo.registry import family_key, variant
        >>> family_key(variant("seresnext50_32x4d"))
        'resnext'
    """
    family_of(config)  # raises
    return next(name for name, path in FAMILIES.items() if path == type(config).__module__)


def config_class(name: str) -> type[ModelConfig]:
    """The dataclass that configures a family.

    Raises ValueError, with the nearest names, for an unknown family.

    Example:
        >>> from zoo.registry import config_class
        >>> config_class("dpn").__name__
        'DPN'
    """
    return type(next(iter(family(name).VARIANTS.values())))


@functools.cache
def variants() -> Mapping[str, ModelConfig]:
    """Every named network: name -> configuration. The mapping is shared, and read-only.

    Example:
        >>> from zoo.registry import variants
        >>> variants()["alexnet"]
        AlexNet(groups=2)
    """
    return MappingProxyType({name: config for each in FAMILIES for name, config in family(each).VARIANTS.items()})


def variant(name: str) -> ModelConfig:
    """The configuration of a named network. Raises ValueError, with the nearest names, for an unknown one.

    Example:
        >>> from zoo.registry import variant
        >>> variant("shufflenet_g3_w1").channels
        (240, 480, 960)
    """
    known = variants()
    if name not in known:
        raise ValueError(f"There is no model {name!r}: {close_matches(name, known)} zoo.list_models() has all of them.")
    return known[name]


@functools.cache
def named(name: str) -> ModelConfig | None:
    """The configuration that has this name: a named network, or one with another number of groups in place of its own.

    None is for a name that no network of the zoo has.

    Example:
        >>> from zoo.registry import named
        >>> named("resnext50_16x8d") == named("resnext50_32x4d").with_groups(16), named("resnext50_17x9d")
        (True, None)
    """
    known = variants()
    if name in known:
        return known[name]
    written: set[int | None] = {int(digits) for digits in re.findall("[0-9]+", name) if len(digits) < 6}
    # The names of a family may leave out some numbers, as "seresnet50" does with 1.
    usual: dict[type, set[int | None]] = {}
    for config in known.values():
        usual.setdefault(type(config), {1}).add(config.groups)
    regrouped = (
        other
        for variant_name, config in known.items()
        for other in _regrouped(variant_name, config, written | usual[type(config)])
    )
    return next((config for config in regrouped if config.name == name), None)


def _regrouped(name: str, config: ModelConfig, numbers: set[int | None]) -> Iterator[ModelConfig]:
    """A variant with those of these numbers of groups that it can have."""
    row = recorded().get(name)
    if row is not None:
        yield from (config.with_groups(groups) for groups in row.groups if groups in numbers)
        return
    for groups in numbers:  # what a new network can have is not recorded yet
        if groups:
            with contextlib.suppress(ValueError):
                yield config.with_groups(groups)


def classifier_of(name: str) -> str | None:
    """The layer of logits in a network of that name, whatever its groups; None for a name that is no network's.

    Example:
        >>> from zoo.registry import classifier_of
        >>> classifier_of("resnet50"), classifier_of("my_network")
        ('fc', None)
    """
    config = named(name)
    return None if config is None else family_of(config).CLASSIFIER


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern such as "shufflenet*", sorted.

    Example:
        >>> zoo.list_models("mixnet*")
        ['mixnet_l', 'mixnet_m', 'mixnet_s', 'mixnet_xl', 'mixnet_xxl']
    """
    return sorted(name for name in variants() if fnmatchcase(name, pattern))
