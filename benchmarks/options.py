"""Command-line values that the benchmarks share. Imports no framework."""

import argparse
import sys
from collections.abc import Callable, Collection

import this_copy  # noqa: F401
from networks import smallest_of_families

from zoo.registry import variant


def some_of(allowed: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of comma-separated names out of `allowed`."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is unknown: use some of {','.join(allowed)}")
        return names

    return parse


def positive(text: str) -> int:
    """A number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a number of at least 1")
    return value


def network(text: str) -> str:
    """The name of a network of the zoo."""
    try:
        variant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_network_options(parser: argparse.ArgumentParser, models: Collection[str], batch: int, size: int) -> None:
    """What the benchmarks of whole networks share, with these defaults."""
    parser.add_argument("--models", type=network, nargs="+", default=list(models), help="names from zoo.list_models()")
    parser.add_argument("--batch", type=positive, default=batch, help="images of a step")
    parser.add_argument("--size", type=positive, default=size, help="pixels")
    parser.add_argument("--steps", type=positive, help="steps of a round; by default as many as fit in its time")
    add_round_options(parser, timeout=120)


def add_families_option(parser: argparse.ArgumentParser) -> None:
    """A short form of --models."""
    parser.add_argument(
        "--all-families", dest="models", action="store_const", const=smallest_of_families(), help="the smallest of each"
    )


def add_layer_options(parser: argparse.ArgumentParser, modes: Collection[str], precisions: Collection[str]) -> None:
    """What the benchmarks of single convolutions share."""
    parser.add_argument("--batch", type=positive, default=16, help="images of a call")
    parser.add_argument("--only", default="", metavar="TEXT", help="shapes whose network, layer or kind contains this")
    parser.add_argument("--modes", type=some_of(modes), default=list(modes))
    parser.add_argument("--precisions", type=some_of(precisions), default=list(precisions))
    add_round_options(parser, timeout=2)


def add_round_options(parser: argparse.ArgumentParser, timeout: float) -> None:
    parser.add_argument("--rounds", type=positive, default=5, help="how often each contender is timed")
    explanation = "seconds after which a slow contender takes part in no more rounds"
    parser.add_argument("--timeout", type=float, default=timeout, help=explanation)
    parser.add_argument("--csv", metavar="FILE", help="where to write the rows")


def add_torch_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch")
