"""`zoo choose`: which published checkpoints fit a budget, by what is published and by latency measured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from zoo.choosing import units
from zoo.choosing.candidates import DATASETS, FORMATS, LICENCES, Candidate, Candidates, Limits, candidates, why_none
from zoo.choosing.candidates import passing as passing_candidates
from zoo.commands.arguments import BATCH, COUNT, THREADS, AnyType, Name
from zoo.commands.output import Column, console, form_of, form_options, short, write_csv, write_json, write_table
from zoo.commands.output import write_text as write
from zoo.errors import UserError

if TYPE_CHECKING:
    from zoo.choosing.measured import Conditions, Latency
    from zoo.choosing.results import Result

WITHOUT_KERNELS = (
    "The kernels of blocks were not in use, which `zoo doctor` explains: latencies measured now are those of "
    "TensorFlow's own operations, and are not kept."
)
PUBLISHED = "top-1 is the published one, of the float model"


class Given(NamedTuple):
    """A limit as a number, and as it was written."""

    value: Any
    text: str


class Amount(AnyType):
    """A number with its unit, read by a function of `zoo.choosing.units`."""

    def __init__(self, name: str, read: Callable[[str], float]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        """The amount. Fails with what is allowed and the nearest valid one."""
        if isinstance(value, Given):
            return value
        try:
            return Given(self._read(value), value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _milliseconds(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[key] is None else f"{1e3 * row[key]:.2f}"


COLUMNS = (
    Column("rank", lambda row: str(row["rank"] or "-")),
    Column("checkpoint", lambda row: row["checkpoint"], number=False),
    Column("top-1", lambda row: f"{row['top1']:.2f}"),
    Column("px", lambda row: str(row["size"]), least=76),
    Column("median ms", _milliseconds("median_seconds")),
    Column("p90 ms", _milliseconds("p90_seconds"), least=84),
    Column("param.", lambda row: short(row["parameters"])),
    Column("MACs", lambda row: short(row["macs"]), least=70),
    Column("MB", lambda row: f"{row['megabytes']:.1f}", least=90),
    Column("licence", lambda row: row["licence"] or "not stated", number=False, least=110),
    Column("front", lambda row: "yes" if row["pareto"] else "", number=False),
)
FRONT_COLUMNS = tuple(column for column in COLUMNS if column.title not in ("front", "rank"))
PLAIN_COLUMNS = tuple(column for column in COLUMNS if column.title not in ("rank", "front", "p90 ms"))


@click.command(
    epilog="""
Keys of a row of --json, and columns of --csv: rank (among those within --latency, 1 is the most accurate; empty beyond
it or without a measurement), checkpoint, network, top1 (published, of the float model, %), size (pixels that it was
published for, and is measured at), median_seconds and p90_seconds (of a call), timings, others_during (share of the
processors that other programs used), parameters, macs (of one image of that size: as recorded, scaled by the pixels),
megabytes (of the weights in the format), licence, pareto (whether nothing measured is as accurate in less time).
"""
)
@click.option("--top1", type=Amount("percent", units.percent), metavar="PERCENT", help="At least, as published: 72.")
@click.option("--latency", type=Amount("time", units.seconds), metavar="TIME", help="At most, measured here: 10ms.")
@click.option("--params", type=Amount("count", units.count), metavar="COUNT", help="Parameters, at most: 5M.")
@click.option("--macs", type=Amount("count", units.count), metavar="COUNT", help="Multiply-accumulates, at most: 300M.")
@click.option("--size-mb", type=Amount("MB", units.megabytes), metavar="MB", help="Of the weights in the format: 20.")
@click.option("--format", "chosen", type=Name("format", FORMATS), default="fused", show_default=True, metavar="FORMAT")
@click.option("--licence", type=Name("licence", LICENCES), default="any", show_default=True, metavar="any|permissive")
@click.option("--dataset", type=Name("data set", DATASETS), default="imagenet1k", show_default=True, metavar="NAME")
@click.option("--limit", type=COUNT, help="Measure at most so many networks now. [default: all]")
@click.option("--threads", type=THREADS, help="[default: the cores that there are]")
@click.option("--batch", type=BATCH, default=1, show_default=True, help="Images of a call.")
@click.option("--again", is_flag=True, help="Measure what has been measured before, too.")
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page to explore the answer.")
@click.option("--dry-run", is_flag=True, help="List the candidates, and measure nothing.")
@form_options
def choose(
    top1: Given | None,
    latency: Given | None,
    params: Given | None,
    macs: Given | None,
    size_mb: Given | None,
    chosen: str,
    licence: str,
    dataset: str,
    limit: int | None,
    threads: int | None,
    batch: int,
    again: bool,
    page: Path | None,
    dry_run: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find published checkpoints that are accurate, small and fast enough, on this machine.

    Those that pass by what is published are measured, with random weights, so that nothing is downloaded, at the size
    of images that their accuracy was published for; once for each format, number of threads and version. --format is
    float32 or fused (TensorFlow), onnx, litert or litert-int8. The accuracy is that of the float model in any format.

    \b
      zoo choose --top1 72 --latency 10ms --params 5M
      zoo choose --top1 70 --latency 5ms --format litert-int8 --licence permissive --page answer.html
      zoo choose --params 3M --macs 100M --dry-run
    """
    form = form_of(as_json, as_csv)
    given = {"top1": top1, "latency": latency, "params": params, "macs": macs, "size_mb": size_mb}
    values = {name: each.value for name, each in given.items() if each is not None}
    written = {name: each.text for name, each in given.items() if each is not None}
    if not values and licence == "any":
        raise UserError(
            "Nothing is asked for: give at least one of --top1, --latency, --params, --macs, --size-mb and --licence."
        )
    if page is not None and (page.is_dir() or dry_run):
        reason = f"{page} is a folder" if page.is_dir() else "--dry-run measures nothing that it could show"
        raise UserError(f"--page {page} is not allowed: {reason}.")
    if page is not None and not page.resolve().parent.is_dir():
        raise UserError(f"--page {page} is not allowed: there is no folder {page.resolve().parent}.")
    if page is not None and batch != 1:
        raise UserError(f"--page {page} is not allowed with --batch {batch}: it shows the latency of one image.")
    limits = Limits(licence=licence, **values)
    known = candidates(chosen, dataset)
    criteria = limits.criteria(written)
    left = passing_candidates(known.all, criteria)
    if not left:
        raise UserError(f"No published checkpoint passes. {why_none(known.all, criteria)}")
    from zoo import hardware
    from zoo.choosing.measured import Cache, conditions

    here = conditions(chosen, threads or hardware.cores(), batch)
    answer = _Answer(left, known, limits, here, dataset, Cache(here, _say))
    if dry_run:
        answer.list_candidates(form)
        return
    answer.measure(limit, again)
    answer.show(form, page, written.get("latency", ""))


class _Answer:
    """What `choose` does with the candidates that pass by what is published."""

    def __init__(
        self,
        left: Sequence[Candidate],
        known: Candidates,
        limits: Limits,
        conditions: Conditions,
        dataset: str,
        cache: Any,
    ) -> None:
        from zoo.choosing.search import Outcome

        self.candidates, self.known, self.limits = left, known, limits
        self.conditions, self.dataset, self.cache = conditions, dataset, cache
        self.outcome, self.interrupted, self.without_kernels = Outcome(), False, False

    def list_candidates(self, form: str) -> None:
        """The candidates, with the latencies that have been measured before."""
        from zoo.choosing.results import results
        from zoo.choosing.search import networks

        latencies = {name: entry for name in networks(self.candidates) if (entry := self.cache.get(*name)) is not None}
        rows = [each.row() for each in results(self.candidates, latencies, self.limits.latency)]
        self._write(rows, form, PLAIN_COLUMNS)
        for note in [*self._scope(), f"{len(latencies)} of their networks are measured already; --dry-run adds none."]:
            _say(note)

    def measure(self, limit: int | None, again: bool) -> None:
        """Measure the networks that are not in the cache; a Ctrl-C ends that, and what is measured is shown."""
        from zoo.benchmarking.contenders import missing_packages
        from zoo.choosing.search import Meter, search

        missing = missing_packages(self.conditions.format, writing=True)
        if missing:
            raise UserError(missing)
        meter = Meter(self.conditions.format, self.conditions.threads, self.conditions.batch)

        def measured(model: str, size: int) -> Latency:
            latency = meter.measure(model, size)
            # Why there are none is no condition by which an entry could be found again.
            self.without_kernels = self.cache.is_read_only = meter.lacks_kernels
            return latency

        try:
            with console(error=True).status("Starting") as status, meter:
                search(
                    self.candidates,
                    self.cache,
                    self.outcome,
                    measured,
                    self.limits.latency,
                    limit,
                    again,
                    status.update if console(error=True).is_terminal else _say,
                )
        except KeyboardInterrupt:
            self.interrupted = True

    def show(self, form: str, page: Path | None, latency: str) -> None:
        """The ranking, the Pareto front, the page, and what is not measured. Raises KeyboardInterrupt after one."""
        from zoo.choosing.results import not_measured, nothing_within, results

        members = results(self.candidates, self.outcome.latencies, self.limits.latency)
        notes = not_measured(self.candidates, self.outcome, self.limits.latency, self.interrupted)
        if form == "table":
            self._tables(members)
        else:
            self._write([each.row() for each in members], form, COLUMNS)
        for note in [*self._scope(), *self._conditions(), *notes]:
            _say(note)
        if page is not None and self.outcome.latencies:
            from zoo.choosing.page import page_of
            from zoo.comparison.page import write_page

            about = [*self._scope(), *self._conditions(), *self._within(members, latency), *notes]
            write_page(page, page_of(members, self.conditions, self.dataset, about), "--page")
            _say(f"Page: {page.resolve()}")
        if self.interrupted:
            raise KeyboardInterrupt
        if not self.outcome.latencies:
            raise UserError("No candidate could be measured.")
        if all(each.rank is None for each in members):
            limit = self.limits.latency or 0.0
            raise UserError(f"No measured candidate passes. {nothing_within(members, f'--latency {latency}', limit)}")
        if self.outcome.failures:
            click.get_current_context().exit(1)

    def _tables(self, members: Sequence[Result]) -> None:
        within = [each.row() for each in members if each.rank is not None]
        slower = [each for each in members if each.rank is None and each.latency is not None]
        if within:
            write_table(COLUMNS, within)
        if slower:
            write(f"{len(slower)} measured ones are slower than --latency.")
        front = sorted(
            (each.row() for each in members if each.on_front), key=lambda row: (row["median_seconds"], -row["top1"])
        )
        if front:
            write("\nPareto front of all that are measured (nothing is as accurate in less time), the fastest first:")
            write_table(FRONT_COLUMNS, front)

    def _write(self, rows: list[dict[str, Any]], form: str, columns: Sequence[Column]) -> None:
        if form == "json":
            from dataclasses import asdict

            write_json(
                {
                    "accuracy": "published, float model",
                    "limits": asdict(self.limits),
                    "dataset": self.dataset,
                    "conditions": asdict(self.conditions),
                    "without_accuracy": list(self.known.without_accuracy),
                    "rows": rows,
                }
            )
        elif form == "csv":
            write_csv(rows)
        else:
            write_table(columns, rows)

    def _scope(self) -> list[str]:
        """What the candidates are of."""
        known = self.known
        examples = ", ".join(sorted(known.without_accuracy)[:3])
        return [
            f"{len(self.candidates)} of {len(known.all)} checkpoints on {self.dataset} pass by what is published; "
            f"{PUBLISHED}, in %.",
            f"No candidates: {len(known.without_accuracy)} checkpoints without a published accuracy ({examples}, ...; "
            f"--json lists them), and {len(known.other_data)} on other data sets.",
        ]

    def _within(self, members: Sequence[Result], latency: str) -> list[str]:
        """For the page, which shows slower ones too."""
        if self.limits.latency is None:
            return []
        within = sum(each.rank is not None for each in members)
        measured = sum(each.latency is not None for each in members)
        return [f"{within} of the {measured} measured ones, which are all shown, are within --latency {latency}."]

    def _conditions(self) -> list[str]:
        from zoo.benchmarking.load import QUIET

        now = self.conditions
        images = "one image" if now.batch == 1 else f"{now.batch} images"
        busy = max((entry.others for entry in self.outcome.latencies.values()), default=0.0)
        before = len(self.outcome.latencies) - self.outcome.measured
        advice = "; on a quiet machine, --again measures them anew" if busy > QUIET else ""
        return [
            f"Latency of {images}, {now.format}, on {now.processor} with {now.threads} threads: the median of "
            f"repeated calls; {self.outcome.measured} of the networks measured now, {before} before. Other "
            f"programs used up to {busy:.0%} of the processors meanwhile{advice}.",
            *([WITHOUT_KERNELS] if self.without_kernels else []),
        ]


def _say(text: str) -> None:
    click.echo(text, err=True)
