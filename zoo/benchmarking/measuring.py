"""The parent's half: workers for all contenders of a network, timed in alternating rounds, and a row for each."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.benchmarking.contenders import BATCHES, CONTENDERS, able, command, environment, missing_packages
from zoo.benchmarking.load import Load, busy_share
from zoo.benchmarking.processes import ContenderError, Contenders
from zoo.benchmarking.sources import Source
from zoo.timing import percentile

MEASURED = "measured"
ROUND_SECONDS = 0.5  # of one contender in a round
EXPORTER = "export"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """What is measured of each source, and how often.

    batch, size: None leaves them to the mode and the source.
    rounds: in each, every contender is timed once, for about `ROUND_SECONDS`.

    Example:
        >>> from zoo.benchmarking.measuring import Schedule
        >>> Schedule(("fused",), ("inference",), threads=2, rounds=5).batch is None
        True
    """

    contenders: tuple[str, ...]
    modes: tuple[str, ...]
    threads: int
    rounds: int
    batch: int | None = None
    size: tuple[int, int] | None = None


def benchmark(sources: Sequence[Source], schedule: Schedule, rows: list[dict[str, Any]], tell: Tell) -> None:
    """Measure all sources, and add a row to `rows` for each contender and mode as soon as it is known.

    What was timed before a KeyboardInterrupt, which is raised on, is in `rows` too.

    Args:
        tell: called with what is being done.

    Example:
        >>> from zoo.benchmarking.measuring import Schedule, benchmark
        >>> benchmark([], Schedule(("fused",), ("inference",), threads=1, rounds=1), rows := [], print)
        >>> rows
        []
    """
    for source in sources:
        names = [source.runtime] if source.runtime else list(schedule.contenders)
        with tempfile.TemporaryDirectory(prefix="zoo-benchmark-") as folder:
            for mode in schedule.modes:
                present = able(names, mode)
                if present:
                    _Group(source, mode, present, schedule, Path(folder), tell).measure(rows)


class _Group:
    """The contenders of one source in one mode."""

    def __init__(
        self, source: Source, mode: str, names: Sequence[str], schedule: Schedule, folder: Path, tell: Tell
    ) -> None:
        self.source, self.mode, self.names, self.schedule = source, mode, names, schedule
        self.folder, self.tell = folder, tell
        self.batch = schedule.batch or BATCHES[mode]
        self.size = schedule.size or source.size
        self.failures: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {} if source.file is None else {names[0]: source.file}
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.peaks: dict[str, int] = {}
        self.busy_before: float | None = None
        self.others: float | None = None
        self.greetings: dict[str, dict[str, Any]] = {}

    def measure(self, rows: list[dict[str, Any]]) -> None:
        for name in self.names:
            reason = missing_packages(name, writing=self.source.file is None)
            if reason:
                self.failures[name] = reason
        try:
            self._export()
            with Contenders() as contenders:
                try:
                    self._time(contenders)
                finally:
                    self.failures |= contenders.failures
                    self.greetings = dict(contenders.greetings)
        except KeyboardInterrupt:
            if any(self.seconds.values()):
                rows += [self._row(name) for name in self.names if self.seconds[name]]
            raise
        rows += [self._row(name) for name in self.names]

    def _export(self) -> None:
        """Write the files that contenders run, in a process of its own: theirs have the runtime alone."""
        wanted = [
            name
            for name in self.names
            if CONTENDERS[name].format and name not in self.files and name not in self.failures
        ]
        if not wanted:
            return
        self.tell(f"{self.source.name}: writing {', '.join(wanted)}")
        with Contenders() as contenders:
            contenders.start(EXPORTER, command("tensorflow"), environment("float32", self.schedule.threads))
            contenders.wait()
            for name in wanted:
                format_name = CONTENDERS[name].format
                path = self.folder / f"{self.mode}-{name}{RUNTIME_SUFFIXES[CONTENDERS[name].kind]}"
                request = {"source": dict(self.source.request), "batch": self.batch, "size": self.size}
                try:
                    answer = contenders.ask(EXPORTER, "export", format=format_name, path=str(path), **request)
                except ContenderError as error:
                    self.failures[name] = sentence_of(error)
                    contenders.revive()
                    continue
                self.files[name] = path
                self.facts[name] = answer

    def _time(self, contenders: Contenders) -> None:
        threads = self.schedule.threads
        names = [name for name in self.names if name not in self.failures]
        self.tell(f"{self.source.name}, {self.mode}: starting {', '.join(names) or 'nothing'}")
        for name in names:
            contenders.start(name, command(CONTENDERS[name].kind), environment(name, threads))
        contenders.wait()
        for name in [name for name in names if name in contenders.running]:
            self.tell(f"{self.source.name}, {self.mode}: building {name}")
            request: dict[str, Any] = {"batch": self.batch, "size": self.size}
            if name in self.files:
                request |= {"path": str(self.files[name]), "threads": threads}
            else:
                request |= {"source": dict(self.source.request), "contender": name, "mode": self.mode}
            answer = contenders.ask_or_drop(name, "prepare", **request)
            if answer is not None:
                self.facts[name] = {**self.facts.get(name, {}), **answer}
        self.busy_before = busy_share()
        ready = [name for name in names if name in contenders.running]
        load = Load([os.getpid(), *(contenders.running[name].pid for name in ready)])
        for number in range(self.schedule.rounds):
            self.tell(f"{self.source.name}, {self.mode}: round {number + 1} of {self.schedule.rounds}")
            first = number % max(len(ready), 1)  # in each round another contender begins
            for name in ready[first:] + ready[:first]:
                taken = contenders.ask_or_drop(name, "take", seconds=ROUND_SECONDS)
                if taken:
                    self.seconds[name] += taken["seconds"]
                    self.peaks[name] = taken["peak_memory_bytes"]
                self.others = load.others()

    def _row(self, name: str) -> dict[str, Any]:
        seconds, facts, greeting = self.seconds[name], self.facts.get(name, {}), self.greetings.get(name, {})
        failure = self.failures.get(name)
        height, width = facts.get("size") or self.size or (None, None)
        row: dict[str, Any] = {
            "name": self.source.name,
            "mode": self.mode,
            "contender": name,
            "batch": self.batch,
            "height": height,
            "width": width,
            "threads": self.schedule.threads,
            "images_per_second": None,
            "median_seconds": None,
            "p90_seconds": None,
            "timings": len(seconds),
            "first_seconds": facts.get("first_seconds"),
            "peak_memory_bytes": self.peaks.get(name),
            "parameters": facts.get("parameters"),
            "macs": facts.get("macs"),
            "file_bytes": facts.get("bytes"),
            "kernels": greeting.get("kernels"),
            "accelerators": greeting.get("accelerators", []),
            "versions": greeting.get("versions", {}),
            "busy_before": self.busy_before,
            "others_during": self.others,
            "status": MEASURED if failure is None else sentence_of(failure),
        }
        if seconds:
            median = statistics.median(seconds)
            row |= {
                "images_per_second": self.batch / median,
                "median_seconds": median,
                "p90_seconds": percentile(seconds, 90),
            }
        return row


RUNTIME_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "openvino": ""}


def sentence_of(error: object) -> str:
    """What a contender's failure says, without that it is one.

    Example:
        >>> from zoo.benchmarking.measuring import sentence_of
        >>> sentence_of("The contender 'onnx' failed: ValueError: it takes batches of 1 alone.")
        'it takes batches of 1 alone.'
    """
    text = str(error)
    _, failed, reason = text.partition(" failed: ")
    if not failed:
        return text
    kind, colon, rest = reason.partition(": ")
    return rest if colon and kind.isidentifier() else reason
