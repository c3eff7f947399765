"""Which published checkpoints pass by what is published of them: accuracy, parameters, operations, size, licence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.costs import costs
from zoo.weights.published import Published, resolve, tags

FORMATS = ("float32", "fused", "onnx", "litert", "litert-int8")
WEIGHT_BYTES = {"litert-int8": 1}  # of a format whose weights are not of four bytes
DATASETS = ("imagenet1k", "cifar10", "cifar100", "svhn")
# Licences under which weights may be used, changed and sold, given the notice; as publishers name them.
PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause")
LICENCES = ("any", "permissive")


@dataclass(frozen=True)
class Candidate:
    """One published checkpoint with a published accuracy.

    top1: published, of the float model, in percent.
    size: height and width of the images that it was published for, in pixels.
    macs: of one such image: those recorded, scaled by the number of pixels where they are of another size.
    megabytes: of the weights in the format, 10^6 bytes.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> next(each for each in candidates("fused").all if each.model == "lcnet_050").size
        224
    """

    tag: str
    model: str
    top1: float
    size: int
    parameters: int
    macs: int
    megabytes: float
    licence: str | None


@dataclass(frozen=True)
class Candidates:
    """Those of a data set, and the tags of those that are none, by the reason.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> len(candidates("fused").without_accuracy) > 60
        True
    """

    all: tuple[Candidate, ...]
    without_accuracy: tuple[str, ...]
    other_data: tuple[str, ...]


def candidates(format: str, dataset: str = "imagenet1k") -> Candidates:
    """The published checkpoints of a data set, the most accurate first; accuracies of others cannot be compared.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> known = candidates("litert-int8")
        >>> known.all[0].top1 >= known.all[-1].top1
        True
    """
    members, without, other = [], [], []
    for tag in tags():
        published = resolve(tag)
        if published.top1 is None:
            without.append(tag)
        elif dataset_of(published) != dataset:
            other.append(tag)
        else:
            members.append(_candidate(published, published.top1, format))
    members.sort(key=lambda each: (-each.top1, each.macs, each.tag))
    return Candidates(tuple(members), tuple(without), tuple(other))


def dataset_of(published: Published) -> str:
    """The data set whose classes a checkpoint tells apart; of ImageNet-1k there are 1000.

    Example:
        >>> from zoo.choosing.candidates import dataset_of
        >>> from zoo.weights.published import resolve
        >>> dataset_of(resolve("pytorchcv/shufflenet_g1_w1"))
        'imagenet1k'
    """
    return "imagenet1k" if published.num_classes == 1000 else published.tag.rpartition("_")[2]


def _candidate(published: Published, top1: float, format: str) -> Candidate:
    cost = costs(published.model)
    size = published.top1_size or published.input_size
    return Candidate(
        published.tag,
        published.model,
        top1,
        size,
        cost.parameters,
        round(cost.macs * (size / cost.size) ** 2),
        cost.parameters * WEIGHT_BYTES.get(format, 4) / 1e6,
        published.licence,
    )


@dataclass(frozen=True)
class Criterion:
    """One of the limits that the user has set.

    option: as it was given, "--params 5M".
    value: of a candidate, None where it is not known. at_least: whether more is better.
    shown: a value in words.

    Example:
        >>> from zoo.choosing.candidates import Criterion
        >>> limit = Criterion("--params 5M", lambda each: 6e6, 5e6, at_least=False, shown="{:,.0f} parameters".format)
        >>> limit.passed_by(None), round(limit.missed_by(None), 2)
        (False, 0.2)
    """

    option: str
    value: Callable[[Any], float | None]
    limit: float
    at_least: bool
    shown: Callable[[float], str]

    def passed_by(self, candidate: Any) -> bool:
        value = self.value(candidate)
        return value is not None and (value >= self.limit if self.at_least else value <= self.limit)

    def missed_by(self, candidate: Any) -> float:
        """By which share of the limit a candidate misses it; infinite where its value is not known."""
        value = self.value(candidate)
        if value is None:
            return float("inf")
        return max(0.0, (self.limit - value if self.at_least else value - self.limit) / self.limit)


@dataclass(frozen=True)
class Limits:
    """What the user has asked for; None sets no limit. Accuracy in percent, latency in seconds, size in MB.

    Example:
        >>> from zoo.choosing.candidates import Limits
        >>> [each.option for each in Limits(top1=72.0, params=5_000_000).criteria({})]
        ['--top1 72', '--params 5000000']
    """

    top1: float | None = None
    latency: float | None = None
    params: int | None = None
    macs: int | None = None
    size_mb: float | None = None
    licence: str = "any"

    def criteria(self, written: dict[str, str]) -> list[Criterion]:
        """Those that are decided before anything is measured.

        Args:
            written: name of a limit -> as the user wrote it.
        """

        def option(name: str, value: float) -> str:
            return f"--{name.replace('_', '-')} {written.get(name, f'{value:.10g}')}"

        limits: list[Criterion] = []
        if self.top1 is not None:
            limits.append(
                Criterion(option("top1", self.top1), lambda each: each.top1, self.top1, True, "top-1 {:.2f} %".format)
            )
        for name, value, words in (
            ("params", lambda each: each.parameters, "{:,.0f} parameters"),
            ("macs", lambda each: each.macs, "{:,.0f} multiply-accumulates"),
            ("size_mb", lambda each: each.megabytes, "{:.1f} MB"),
        ):
            limit = getattr(self, name)
            if limit is not None:
                limits.append(Criterion(option(name, limit), value, limit, False, words.format))
        if self.licence == "permissive":
            limits.append(
                Criterion(
                    "--licence permissive",
                    lambda each: float(each.licence in PERMISSIVE),
                    1.0,
                    True,
                    lambda value: "a permissive licence" if value else "no permissive licence that is stated",
                )
            )
        return limits


def passing(members: Iterable[Candidate], criteria: Sequence[Criterion]) -> list[Candidate]:
    """Those that all criteria let pass, in their order.

    Example:
        >>> from zoo.choosing.candidates import Limits, candidates, passing
        >>> small = passing(candidates("fused").all, Limits(params=2_000_000).criteria({}))
        >>> all(each.parameters <= 2_000_000 for each in small)
        True
    """
    return [each for each in members if all(criterion.passed_by(each) for criterion in criteria)]


def why_none(members: Sequence[Any], criteria: Sequence[Criterion]) -> str:
    """Which criterion excludes most, and the nearest candidate with what it misses; for none that passes.

    The nearest misses the fewest criteria, and of those candidates the one whose largest miss, as a share of the
    limit, is smallest.

    Example:
        >>> from zoo.choosing.candidates import Limits, candidates, why_none
        >>> limits = Limits(top1=85.0, params=2_000_000).criteria({})
        >>> sentence = why_none(candidates("fused").all, limits)
        >>> "--params 2000000 excludes" in sentence, "The nearest is" in sentence
        (True, True)
    """
    excluded = {each.option: sum(not each.passed_by(member) for member in members) for each in criteria}
    option = max(excluded, key=lambda name: excluded[name])

    def distance(member: Any) -> tuple[int, float]:
        misses = [each.missed_by(member) for each in criteria]
        return sum(miss > 0 for miss in misses), max(misses)

    nearest = min(members, key=distance)
    missed = [each for each in criteria if not each.passed_by(nearest)]
    values = [f"{each.shown(value)} ({each.option})" for each in missed if (value := each.value(nearest)) is not None]
    return (
        f"{option} excludes most, {excluded[option]} of {len(members)}. The nearest is {nearest.tag}, with "
        f"{' and '.join(values)}, which passes all else."
    )
