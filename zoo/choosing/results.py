"""The answer of a search: candidates with their latency, ranked, and the Pareto front of accuracy against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.choosing.candidates import Candidate, Criterion, why_none
from zoo.choosing.measured import Latency
from zoo.choosing.search import Network, Outcome, predicted
from zoo.comparison import pareto


@dataclass(frozen=True)
class Result:
    """A candidate, its latency where it is known, its rank within the limit, and whether it is on the front.

    Example:
        >>> from zoo.choosing.results import Result
        >>> Result.__annotations__["rank"]
        'int | None'
    """

    candidate: Candidate
    latency: Latency | None
    rank: int | None  # 1 is the most accurate; equal accuracies share it; None beyond the limit, or not measured
    on_front: bool

    @property
    def tag(self) -> str:
        return self.candidate.tag

    def row(self) -> dict[str, Any]:
        """In JSON's types."""
        each, latency = self.candidate, self.latency
        return {
            "rank": self.rank,
            "checkpoint": each.tag,
            "network": each.model,
            "top1": each.top1,
            "size": each.size,
            "median_seconds": latency and latency.median,
            "p90_seconds": latency and latency.p90,
            "timings": latency and latency.timings,
            "others_during": latency and latency.others,
            "parameters": each.parameters,
            "macs": each.macs,
            "megabytes": each.megabytes,
            "licence": each.licence,
            "pareto": self.on_front,
        }


def results(
    candidates: Sequence[Candidate], latencies: Mapping[Network, Latency], limit: float | None = None
) -> list[Result]:
    """All candidates: the ranked ones first, then the slower ones, then those without a latency.

    Args:
        limit: seconds of a call that are allowed; None allows any.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.measured import Latency
        >>> from zoo.choosing.results import results
        >>> lcnets = [each for each in candidates("fused").all if each.model.startswith("lcnet")]
        >>> known = {("lcnet_050", 224): Latency(0.01, 0.01, 5, 0.0), ("lcnet_100", 224): Latency(0.03, 0.03, 5, 0.0)}
        >>> [(each.candidate.model, each.rank, each.on_front) for each in results(lcnets, known, limit=0.02)]
        [('lcnet_050', 1, True), ('lcnet_100', None, True), ('lcnet_075', None, False)]
    """
    measured = [each for each in candidates if (each.model, each.size) in latencies]

    def latency_of(each: Candidate) -> Latency:
        return latencies[each.model, each.size]

    front = {measured[place].tag for place in pareto.front([(each.top1, latency_of(each).median) for each in measured])}
    within = [each for each in measured if limit is None or latency_of(each).median <= limit]
    within.sort(key=lambda each: (-each.top1, latency_of(each).median, each.tag))
    accuracies = [each.top1 for each in within]
    ranked = [Result(each, latency_of(each), accuracies.index(each.top1) + 1, each.tag in front) for each in within]
    slower = sorted((each for each in measured if each not in within), key=lambda each: (-each.top1, each.tag))
    rest = [each for each in candidates if (each.model, each.size) not in latencies]
    return [
        *ranked,
        *(Result(each, latency_of(each), None, each.tag in front) for each in slower),
        *(Result(each, None, None, False) for each in rest),
    ]


def not_measured(
    candidates: Sequence[Candidate], outcome: Outcome, latency: float | None, interrupted: bool
) -> list[str]:
    """Sentences on the candidates that were not measured, and why.

    Example:
        >>> from zoo.choosing.results import not_measured
        >>> from zoo.choosing.search import Outcome
        >>> not_measured([], Outcome(), None, interrupted=False)
        []
    """
    left = [each for each in candidates if (each.model, each.size) in outcome.left]
    sentences = []
    if left:
        macs = {(each.model, each.size): each.macs for each in candidates}
        known = [(macs[name], entry.median) for name, entry in outcome.latencies.items()]
        slow = [
            each for each in left if latency is not None and known and (predicted(each.macs, known) or 0.0) > latency
        ]
        why = "the command was stopped" if interrupted else "--limit was reached"
        more = f", {len(slow)} of them predicted too slow by their multiply-accumulates" if slow else ""
        sentences.append(f"{len(left)} of {len(candidates)} candidates are not measured, for {why}{more}.")
    sentences += [f"{name} at {size} pixels is not measured: {why}" for (name, size), why in outcome.failures.items()]
    return sentences


def nothing_within(members: Sequence[Result], option: str, limit: float) -> str:
    """That no measured candidate is fast enough, and the fastest one.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.measured import Latency
        >>> from zoo.choosing.results import nothing_within, results
        >>> lcnets = [each for each in candidates("fused").all if each.model == "lcnet_050"]
        >>> slow = results(lcnets, {("lcnet_050", 224): Latency(0.01, 0.01, 5, 0.0)}, limit=0.001)
        >>> print(nothing_within(slow, "--latency 1ms", 0.001))  # doctest: +ELLIPSIS
        --latency 1ms excludes most, 1 of 1. The nearest is timm/lcnet_050..., with 10.00 ms (--latency 1ms), ...
    """
    measured = [each for each in members if each.latency is not None]
    speed = Criterion(
        option,
        lambda each: each.latency.median,
        limit,
        False,
        lambda seconds: f"{1e3 * seconds:.2f} ms",
    )
    return why_none(measured, [speed])
