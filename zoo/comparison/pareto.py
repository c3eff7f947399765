"""The Pareto front: what nothing else beats in accuracy and in cost at once."""

from collections.abc import Sequence


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether `one`, (accuracy, cost), is at least as good as `other` in both, and better in one of them.

    Example:
        >>> from zoo.comparison.pareto import dominates
        >>> dominates((0.9, 100), (0.8, 100)), dominates((0.9, 100), (0.8, 50))
        (True, False)
    """
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (accuracy, cost) that no other one dominates, from the cheapest on; equal points are all in it.

    Example:
        >>> from zoo.comparison.pareto import front
        >>> front([(0.9, 100), (0.8, 50), (0.7, 60)])
        [1, 0]
    """
    members, best = [], None
    for index in sorted(range(len(points)), key=lambda index: (points[index][1], -points[index][0])):
        # Sorted so, what dominates a point comes before it, and the best accuracy before it decides.
        if best is None or points[index][0] > best[0] or points[index] == best:
            members.append(index)
            best = points[index]
    return members
