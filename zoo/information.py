"""What the zoo knows about a network or about published weights, without building anything or importing TensorFlow."""

import textwrap
from dataclasses import dataclass, fields
from typing import Any

from zoo.costs import in_words, recorded, unrecorded
from zoo.models.description import meanings
from zoo.registry import family_key, family_of, variant, variants
from zoo.typing import Family, ModelConfig
from zoo.weights.published import Published, resolve, tags

SHOWN = 8  # published weights listed by a printed summary


@dataclass(frozen=True, repr=False)
class Information:
    """A network of the zoo; `str` of it is a page to read.

    Example:
        >>> information = zoo.info("regnety_008")
        >>> information.family, information.parameters, information.settings["g"]
        ('regnet', 6263168, 16)
    """

    name: str
    family: str
    summary: str  # the family in one sentence
    paper: str  # where it is published; empty where the family follows no paper
    config: ModelConfig  # the family's dataclass, whose fields are the paper's symbols
    parameters: int | None  # this and the next three are None where the network's cost is not recorded
    macs: int | None  # multiply-accumulates of one image of `size`
    activations: int | None  # of one image of `size`; all three as zoo.profile counts them
    size: int | None  # height and width of the image, in pixels
    grouping: str  # what its number of groups is, and what zoo.create(name, groups=...) makes of another one
    groups_allowed: tuple[int, ...] | None  # the numbers that groups=... can be, beside its own; None: not recorded
    published: tuple[Published, ...]  # weights of this network, the best accuracy first
    weights: Published | None = None  # those that were asked about

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as field -> value."""
        return {field.name: getattr(self.config, field.name) for field in fields(self.config)}

    def __repr__(self) -> str:
        lines = [
            f"{self.name} ({self.family})",
            f"  {self.summary}",
            *(f"  {line}" for line in textwrap.wrap(self.paper, 116)),
            f"  settings: {', '.join(f'{key}={value!r}' for key, value in self.settings.items())}",
            f"  groups: {self.grouping}",
        ]
        if self.groups_allowed is None:
            lines.append(f"  {unrecorded([self.name])}")
        else:
            lines.insert(
                -1,
                f"  {self.parameters:,} parameters; {self.macs:,} multiply-accumulates and {self.activations:,} "
                f"activations for an image of {self.size} x {self.size} pixels",
            )
            lines.append(f"  groups allowed: {in_words(self.groups_allowed)}")
        if self.weights:
            lines += [f"  weights {self.weights.tag}", *(f"    {line}" for line in describe(self.weights))]
        elif not self.published:
            lines.append("  weights: none are published")
        else:
            lines.append("  weights:")
            width = max(len(each.tag) for each in self.published[:SHOWN])
            lines += [
                f"    {each.tag:{width}}  {accuracy(each)}, licence: {each.licence or 'not stated'}"
                for each in self.published[:SHOWN]
            ]
            if len(self.published) > SHOWN:
                lines.append(f"    and {len(self.published) - SHOWN} more, in .published")
        return "\n".join(lines)


def info(name: str) -> Information:
    """What is known about a network ("resnext50_32x4d") or about published weights ("timm/resnext50_32x4d.a1h_in1k").

    Raises ValueError, with the nearest names or tags, for anything else.

    Example:
        >>> print(zoo.info("shufflenet_g3_w1").grouping)
        of the pointwise convolutions, g in the paper
        >>> zoo.info("timm/resnext50_32x4d.a1h_in1k").weights.licence
        'apache-2.0'
        >>> zoo.info("dpn69")
        Traceback (most recent call last):
            ...
        ValueError: There is no model 'dpn69': did you mean dpn98, dpn92, dpn68? zoo.list_models() has all of them.
    """
    weights = None
    if "/" in name or ("." in name and name not in variants()):
        weights = resolve(name)
        name = weights.model
    config = variant(name)
    module = family_of(config)
    summary, paper = literature(module)
    cost = recorded().get(name)
    return Information(
        name=name,
        family=family_key(config),
        summary=summary,
        paper=paper,
        config=config,
        parameters=None if cost is None else cost.parameters,
        macs=None if cost is None else cost.macs,
        activations=None if cost is None else cost.activations,
        size=None if cost is None else cost.size,
        grouping=grouping(type(config)),
        groups_allowed=None if cost is None else cost.groups,
        published=tuple(map(resolve, tags(name))),
        weights=weights,
    )


def literature(module: Family[Any]) -> tuple[str, str]:
    """What a family is, in one sentence, and where it is published.

    Example:
        >>> from zoo.information import literature
        >>> from zoo.models import dpn
        >>> literature(dpn)[1]
        'Chen et al. 2017, Dual Path Networks, section 4 and table 1, arXiv:1707.01629.'
    """
    return module.SUMMARY, " ".join(map(str, module.PAPERS))


def group_width(config: ModelConfig) -> int | None:
    """Channels of a group where the number of groups follows from them, 1 being depthwise; else None.

    Example:
        >>> from zoo.information import group_width
        >>> group_width(zoo.info("regnety_008").config), group_width(zoo.info("mobilenetv2_100").config)
        (16, 1)
    """
    if config.groups is not None:
        return None
    return getattr(config, "g", 1)  # g is RegNet's group width; in all other families None is depthwise


def grouping(family: type) -> str:
    """What the family says of its groups.

    Example:
        >>> from zoo.information import grouping
        >>> from zoo.models.dpn import DPN
        >>> grouping(DPN)
        'of the 3x3 convolutions, G in the paper'
    """
    return meanings(family)["groups"]


def describe(weights: Published) -> list[str]:
    """Published weights in a few lines.

    Example:
        >>> from zoo.information import describe
        >>> from zoo.weights.published import resolve
        >>> describe(resolve("timm/resnext50_32x4d.a1h_in1k"))[0]
        'top-1 82.01 % at 288 pixels, 1000 classes'
    """
    test = f", tested at {weights.test_size}" if weights.test_size else ""
    lines = [
        f"{accuracy(weights)}, {weights.num_classes or 'no'} classes",
        f"images of {weights.input_size} pixels{test}; {weights.interpolation}, crop {weights.crop:g} "
        f"({weights.crop_mode}), mean {_numbers(weights.mean)}, std {_numbers(weights.std)}",
        f"licence: {weights.licence or 'not stated by the publisher'}",
        f"{weights.address}, {weights.file}, checked against {weights.checksum}",
    ]
    if weights.settings:
        settings = ", ".join(f"{key}={value:g}" for key, value in weights.settings.items())
        lines.append(f"trained with {settings}, which zoo.create({weights.model!r}, weights={weights.tag!r}) sets")
    return lines


def accuracy(weights: Published) -> str:
    """The published accuracy in words.

    Example:
        >>> from zoo.information import accuracy
        >>> from zoo.weights.published import resolve
        >>> accuracy(resolve("torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1"))
        'top-1 69.36 % at 224 pixels'
    """
    if weights.top1 is None:
        return "accuracy not recorded"
    at = f" at {weights.top1_size} pixels" if weights.top1_size else ""
    return f"top-1 {weights.top1:.2f} %{at}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
