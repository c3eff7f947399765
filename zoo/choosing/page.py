"""The page of `zoo choose`: that of a comparison, of checkpoints with their published accuracy and measured latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.choosing.measured import Conditions
from zoo.choosing.results import Result
from zoo.comparison.page import page
from zoo.comparison.runs import Run
from zoo.registry import family_key, variants

METRIC = "published_top1"


def runs_of(members: Sequence[Result], conditions: Conditions, dataset: str) -> list[Run]:
    """The measured ones as records that a comparison shows.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.measured import Latency, conditions
        >>> from zoo.choosing.page import runs_of
        >>> from zoo.choosing.results import results
        >>> lcnets = [each for each in candidates("fused").all if each.model == "lcnet_050"]
        >>> members = results(lcnets, {("lcnet_050", 224): Latency(0.01, 0.01, 5, 0.0)})
        >>> (run,) = runs_of(members, conditions("fused", 1, 1), "imagenet1k")
        >>> run.result["latency_seconds"], run.result["dataset"]
        (0.01, 'imagenet1k')
    """
    runs = []
    for each in members:
        if each.latency is None:
            continue
        config = variants()[each.candidate.model]
        result: dict[str, Any] = {
            "status": "finished",
            "name": each.tag,
            "model": each.candidate.model,
            "family": family_key(config),
            "groups": config.groups,
            "dataset": dataset,
            METRIC: each.candidate.top1 / 100,
            "parameters": each.candidate.parameters,
            "macs": each.candidate.macs,
            "processor": conditions.processor,
            "threads": conditions.threads,
            "versions": conditions.versions,
            "config": {
                "checkpoint": each.tag,
                "size": each.candidate.size,
                "format": conditions.format,
                "batch": conditions.batch,
                "licence": each.candidate.licence or "not stated",
                "weights_megabytes": round(each.candidate.megabytes, 2),
                "within_latency": each.rank is not None,
            },
        }
        result["latency_seconds"] = each.latency.median
        runs.append(Run(each.tag, each.tag, "finished", result, {}, None))
    return runs


def page_of(members: Sequence[Result], conditions: Conditions, dataset: str, notes: Sequence[str]) -> str:
    """The page as text.

    Args:
        notes: what is not in it and why, a sentence each.
    """
    return page(runs_of(members, conditions, dataset), METRIC, notes, noun="checkpoint", command="zoo choose")
