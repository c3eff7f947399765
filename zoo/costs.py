"""What every named network costs, recorded, so that it is shown at once; imports neither Keras nor TensorFlow.

The figures lie in data/costs.json, one line a network, written by benchmarks/network_costs.py from the built networks.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

CIFAR_ENDINGS = ("_cifar10", "_cifar100", "_svhn")  # of the names of networks for images of 32 pixels


@dataclass(frozen=True)
class Costs:
    """Cost of one network of the zoo, as `zoo.profile` counts it.

    Example:
        >>> from zoo.costs import costs
        >>> costs("alexnet").groups
        (1, 2, 4, 8, 16, 32)
    """

    parameters: int
    macs: int
    activations: int
    size: int  # height and width of the image that it was counted for, in pixels
    groups: tuple[int, ...]  # the numbers of groups that the network can be built with, ascending


def image_size(name: str) -> int:
    """Height and width, in pixels, of the images that a network is made for: 32 for CIFAR and SVHN, else 224.

    Example:
        >>> from zoo.costs import image_size
        >>> image_size("resnext29_32x4d_cifar10"), image_size("resnet50")
        (32, 224)
    """
    return 32 if name.endswith(CIFAR_ENDINGS) else 224


def costs(name: str) -> Costs:
    """The cost of a named network. Raises ValueError where it has not been recorded.

    Example:
        >>> from zoo.costs import costs
        >>> costs("lcnet_050").parameters
        1880856
    """
    known = recorded()
    if name not in known:
        raise ValueError(unrecorded([name]))
    return known[name]


def unrecorded(names: Sequence[str]) -> str | None:
    """The sentence on those of the networks whose cost is not recorded, with the command; None where all are.

    Example:
        >>> from zoo.costs import unrecorded
        >>> unrecorded(["lcnet_050", "my_network"])
        'The cost of my_network is not recorded: `python benchmarks/network_costs.py my_network` records it.'
    """
    missing = [name for name in names if name not in recorded()]
    if not missing:
        return None
    subject = f"cost of {missing[0]} is" if len(missing) == 1 else f"costs of {', '.join(missing)} are"
    it = "it" if len(missing) == 1 else "them"
    return f"The {subject} not recorded: `python benchmarks/network_costs.py {' '.join(missing)}` records {it}."


@functools.cache
def recorded() -> dict[str, Costs]:
    """Every network whose cost is recorded.

    Example:
        >>> from zoo.costs import recorded
        >>> set(recorded()) == set(zoo.list_models())
        True
    """
    rows = json.loads((files("zoo") / "data" / "costs.json").read_text(encoding="utf-8"))
    return {name: Costs(**row | {"groups": _numbers(row["groups"])}) for name, row in rows.items()}


def runs(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    """Ascending whole numbers as runs without a gap, each its first and its last.

    Example:
        >>> from zoo.costs import runs
        >>> runs((1, 2, 3, 8))
        [(1, 3), (8, 8)]
    """
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def in_words(numbers: tuple[int, ...]) -> str:
    """Ascending whole numbers as a text.

    Example:
        >>> from zoo.costs import in_words
        >>> in_words((1, 2, 3, 4, 5, 8))
        '1 to 5, 8'
    """
    parts = []
    for first, last in runs(numbers):
        parts += [f"{first} to {last}"] if last - first > 3 else [str(each) for each in range(first, last + 1)]
    return ", ".join(parts)


def _numbers(pairs: list[list[int]]) -> tuple[int, ...]:
    return tuple(number for first, last in pairs for number in range(first, last + 1))
