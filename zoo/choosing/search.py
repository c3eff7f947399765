"""Measuring candidates, those first that are likely to answer, until all are measured or enough."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zoo.benchmarking.contenders import CONTENDERS, ON_CPU, command, environment
from zoo.benchmarking.load import Load
from zoo.benchmarking.measuring import EXPORTER, RUNTIME_SUFFIXES, sentence_of
from zoo.benchmarking.processes import ContenderError, Contenders
from zoo.choosing.candidates import Candidate
from zoo.choosing.measured import Cache, Latency
from zoo.timing import percentile

TAKES, TAKE_SECONDS, FEWEST = 3, 0.35, 2  # timings of a network: in so many parts, each so long, of so many calls
RUNTIME = "runtime"
Network = tuple[str, int]  # name, and height and width of the images


@dataclass
class Outcome:
    """What is known of the networks of the candidates, as far as a search has come.

    latencies: of networks. measured: how many of these by this search. failures: why one could not be measured.
    left: not measured, because as many were as --limit allows.

    Example:
        >>> from zoo.choosing.search import Outcome
        >>> Outcome().measured
        0
    """

    latencies: dict[Network, Latency] = field(default_factory=dict)
    measured: int = 0
    failures: dict[Network, str] = field(default_factory=dict)
    left: list[Network] = field(default_factory=list)


def networks(candidates: Sequence[Candidate]) -> dict[Network, Candidate]:
    """Each network, at each size of images, once: with the most accurate of its candidates.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.search import networks
        >>> list(networks([each for each in candidates("fused").all if each.model == "lcnet_050"]))
        [('lcnet_050', 224)]
    """
    best: dict[Network, Candidate] = {}
    for each in candidates:
        known = best.get((each.model, each.size))
        if known is None or each.top1 > known.top1:
            best[each.model, each.size] = each
    return best


def predicted(macs: int, known: Sequence[tuple[int, float]]) -> float | None:
    """Seconds of a network by its multiply-accumulates: at the best rate of those that are measured; None of none.

    Example:
        >>> from zoo.choosing.search import predicted
        >>> predicted(300, [(100, 0.5), (200, 0.5)])
        0.75
    """
    return macs * min(seconds / done for done, seconds in known) if known else None


def next_network(
    waiting: Mapping[Network, Candidate], known: Sequence[tuple[int, float]], latency: float | None
) -> Network:
    """Which network to measure next.

    The most accurate of those that multiply-accumulates predict to be within the latency; where none is, the one with
    the fewest. While nothing is known to predict by, it is the one in the middle by multiply-accumulates.

    Example:
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.search import networks, next_network
        >>> waiting = networks([each for each in candidates("fused").all if each.model.startswith("lcnet")])
        >>> next_network(waiting, [(10**9, 0.1)], latency=10.0)
        ('lcnet_100', 224)
    """
    ascending = sorted(waiting, key=lambda name: (waiting[name].macs, name))
    if latency is None:
        return max(waiting, key=lambda name: (waiting[name].top1, -waiting[name].macs, name))
    if not known:
        return ascending[len(ascending) // 2]
    likely = [name for name in ascending if (predicted(waiting[name].macs, known) or 0.0) <= latency]
    return max(likely, key=lambda name: (waiting[name].top1, -waiting[name].macs, name)) if likely else ascending[0]


def search(
    candidates: Sequence[Candidate],
    cache: Cache,
    outcome: Outcome,
    measure: Callable[[str, int], Latency],
    latency: float | None = None,
    limit: int | None = None,
    again: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Fill `outcome` with the latencies of the candidates' networks: those of the cache, then measured ones.

    What has been measured before a KeyboardInterrupt is in the cache and in `outcome`.

    Args:
        measure: a network's name and the size of its images -> its latency; raises ContenderError.
        latency: seconds that are asked for, which decide on the order.
        limit: how many are measured at most.
        again: whether those of the cache are measured too.
        tell: called with what is being done.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.choosing.candidates import candidates
        >>> from zoo.choosing.measured import Cache, Latency, conditions
        >>> from zoo.choosing.search import Outcome, search
        >>> cache = Cache(conditions("fused", 1, 1), print, pathlib.Path(tempfile.mkdtemp()))
        >>> lcnets = [each for each in candidates("fused").all if each.model.startswith("lcnet")]
        >>> search(lcnets, cache, outcome := Outcome(), lambda model, size: Latency(0.01, 0.01, 5, 0.0), limit=2)
        >>> outcome.measured, len(outcome.left)
        (2, 1)
    """
    waiting = networks(candidates)
    for name in [] if again else list(waiting):
        if (entry := cache.get(*name)) is not None:
            outcome.latencies[name] = entry
    known = [(waiting[name].macs, entry.median) for name, entry in outcome.latencies.items()]
    for name in outcome.latencies:
        del waiting[name]
    total = len(waiting) if limit is None else min(limit, len(waiting))
    outcome.left = list(waiting)
    while waiting and outcome.measured + len(outcome.failures) < total:
        name = next_network(waiting, known, latency)
        tell(f"{name[0]} at {name[1]} pixels: {outcome.measured + len(outcome.failures) + 1} of {total} to measure")
        candidate = waiting.pop(name)
        try:
            entry = measure(*name)
        except ContenderError as error:
            outcome.failures[name] = sentence_of(error)
        else:
            cache.put(*name, entry)
            outcome.latencies[name] = entry
            outcome.measured += 1
            known.append((candidate.macs, entry.median))
        outcome.left = list(waiting)


class Meter:
    """Measures networks with random weights in one format, on the CPU: a context manager that holds the processes.

    A float32 or fused network runs in one process of TensorFlow, one after the other; a file of another runtime is
    written by such a process and runs in one of its own.
    """

    def __init__(self, format: str, threads: int, batch: int) -> None:
        self.format, self.threads, self.batch = format, threads, batch
        self._stack = ExitStack()
        self._contenders: Contenders | None = None
        self._folder = Path()
        self.lacks_kernels = False  # where they would be in use: known with the first latency

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-choose-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def measure(self, model: str, size: int) -> Latency:
        """The latency of a network. Raises ContenderError where it cannot be built, written or run."""
        contenders, contender = self._started(), CONTENDERS[self.format]
        request: dict[str, Any] = {"batch": self.batch, "size": [size, size]}
        source = {"network": model}
        if contender.format is None:
            contenders.ask(RUNTIME, "prepare", source=source, contender=self.format, mode="inference", **request)
        else:
            path = self._folder / f"{model}-{size}{RUNTIME_SUFFIXES[contender.kind]}"
            contenders.ask(EXPORTER, "export", source=source, format=contender.format, path=str(path), **request)
            contenders.ask(RUNTIME, "prepare", path=str(path), threads=self.threads, **request)
            path.unlink()
        load = Load([os.getpid(), *(process.pid for process in contenders.running.values())])
        seconds: list[float] = []
        for _ in range(TAKES):
            seconds += contenders.ask(RUNTIME, "take", seconds=TAKE_SECONDS, fewest=FEWEST)["seconds"]
        return Latency(statistics.median(seconds), percentile(seconds, 90), len(seconds), load.others())

    def _started(self) -> Contenders:
        """The processes, started at the first call, and again where one has died. Raises ContenderError."""
        if self._contenders is None:
            self._contenders = self._stack.enter_context(Contenders())
            kind = CONTENDERS[self.format].kind
            self._contenders.start(RUNTIME, command(kind), environment(self.format, self.threads) | ON_CPU)
            if CONTENDERS[self.format].format is not None:
                variables = environment("float32", self.threads) | ON_CPU
                self._contenders.start(EXPORTER, command("tensorflow"), variables)
            self._contenders.wait()
            in_use = self._contenders.greetings.get(RUNTIME, {}).get("kernels")
            wanted = os.environ.get("BLOCKS_KERNELS", "").lower() not in ("off", "0", "no", "false")
            self.lacks_kernels = CONTENDERS[self.format].format is None and in_use is False and wanted
        self._contenders.revive()
        for reason in self._contenders.failures.values():
            raise ContenderError(reason)
        return self._contenders
