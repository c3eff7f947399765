"""Kinds of arguments: what they accept, and what a shell offers for them. Imports neither Keras nor TensorFlow."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from zoo.checks import close_matches
from zoo.costs import recorded
from zoo.registry import FAMILIES, variants
from zoo.weights.published import resolve, tags


class Name(click.Choice[str]):
    """One of a few names; another one is refused with the nearest."""

    def __init__(self, kind: str, names: Iterable[str]) -> None:
        super().__init__(names)
        self.name = kind

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"there is no {self.name} {value!r}: {close_matches(value, self.choices)}"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"Known are {', '.join(self.choices)}."


class Count(click.IntRange):
    """A whole number of at least 1, and of at most `most`."""

    name = "number"

    def __init__(self, most: int | None = None) -> None:
        super().__init__(min=1, max=most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            most = "" if self.max is None else f", and of at most {self.max}"
            self.fail(f"{value!r} is not allowed: give a whole number of at least 1{most}.", param, ctx)


if TYPE_CHECKING:  # generic from click 8.4 on
    SizeType = click.ParamType[tuple[int, int]]
    AnyType = click.ParamType[Any]
else:
    SizeType = AnyType = click.ParamType


class Size(SizeType):
    """The size of an image in pixels, "224" or "HEIGHTxWIDTH", as (height, width)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch("([0-9]+)(?:x([0-9]+))?", value)
        height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if height < 1 or width < 1:
            self.fail(
                f"{value!r} is not allowed: give pixels, one number or HEIGHTxWIDTH, as in 224 or 224x160.", param, ctx
            )
        return height, width


FAMILY = Name("family", sorted(FAMILIES))
COUNT, SIZE = Count(), Size()
BATCH, THREADS = Count(65536), Count(1024)


def offered(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those of the names that begin with what has been typed."""
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def complete_network(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of networks."""
    return offered(variants(), incomplete)


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of networks and families; behind a slash tags of published weights."""
    return offered(tags() if "/" in incomplete else {*variants(), *FAMILIES}, incomplete)


def complete_groups(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The groups that the network named before can have."""
    typed = [ctx.params.get("name"), *ctx.args]  # click gets no further than the option that lacks its value
    known = next((recorded()[name] for name in typed if name in recorded()), None)
    return [CompletionItem(str(each)) for each in known.groups if str(each).startswith(incomplete)] if known else []


def network(name: str) -> str:
    """`name` itself. Raises ValueError, with the nearest names, where no network has it."""
    known = variants()
    if name in known:
        return name
    if name in FAMILIES:
        raise ValueError(f"{name!r} is a family: give one of its networks, which `zoo list --family {name}` lists.")
    if name in tags():
        raise ValueError(f"{name!r} is a tag of weights: give the network that they are for, {resolve(name).model}.")
    raise ValueError(unknown("network", name, known))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence on a name that nothing has, with the nearest of `known`; those are too many to list."""
    close = get_close_matches(name.lower(), list(known), n=3, cutoff=0.4)
    if close:
        return f"There is no {what} {name!r}: did you mean {', '.join(close)}?"
    return f"There is no {what} {name!r}: `zoo list` shows the networks, `zoo list --family NAME` those of a family."
