"""`zoo compare`: trained runs ranked in a table, and a page that shows what each costs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from zoo.checks import close_matches
from zoo.commands.output import form_of, form_options, write_csv, write_json
from zoo.comparison import table
from zoo.comparison.ranking import Row, check_metric, ranked
from zoo.comparison.runs import STATUSES, Run, dataset, family, is_invalid, printable, wandb_id
from zoo.errors import UserError
from zoo.metrics import METRICS

PAGE = "comparison.html"


@click.command(short_help="Rank trained runs, and write a page that compares them.")
@click.argument("paths", nargs=-1, metavar="[RUN|FOLDER]...", type=click.Path())
@click.option("--wandb", "project", metavar="ENTITY/PROJECT", help="Compare the runs of a W&B project, too.")
@click.option("--metric", default="val_top1", show_default=True, metavar="KEY", help="The figure that ranks.")
@click.option("--split-seeds", is_flag=True, help="A row for each run, not for each configuration.")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only runs of this family; repeatable.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only runs on this data set; repeatable.")
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help=f"Of {', '.join(STATUSES)}; repeatable.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help=f"The page.  [default: {PAGE}]")
@click.option("--no-page", is_flag=True, help="Write no page.")
@form_options
@click.option("--publish", metavar="ENTITY/PROJECT", help="Make a W&B workspace and a report of the runs there.")
def compare(
    paths: Sequence[str],
    project: str | None,
    metric: str,
    split_seeds: bool,
    families: Sequence[str],
    datasets: Sequence[str],
    statuses: Sequence[str],
    output: Path | None,
    no_page: bool,
    as_json: bool,
    as_csv: bool,
    publish: str | None,
) -> None:
    """Rank trained runs, and write one HTML file that compares them.

    A RUN is the directory that `python train.py` writes, finished or not; in a FOLDER, such as outputs/ or multirun/,
    all are found. Runs that differ in the seed alone are one row: mean ± standard deviation (number of seeds); repeats
    of a seed count as their mean. Other settings, data, sources, versions, kernels or machines make rows of their own.
    Each data set has a ranking of its own. The page holds accuracy against cost with the Pareto front, learning curves,
    confusion matrices and settings; it needs no network. With --json or --csv it is written where --output says so.

    \b
      zoo compare multirun/2026-11-22_21-00-00
      zoo compare outputs/ --metric latency_seconds --dataset digits -o digits.html
      zoo compare outputs/ --csv > runs.csv
    """
    check_metric(metric)
    form = form_of(as_json, as_csv)
    if no_page and output:
        raise UserError(f"--no-page and --output {output} cannot go together: choose one.")
    if not paths and not project:
        raise UserError("Nothing to compare is named: give run directories or folders of them, outputs/ say.")
    notes: list[str] = []

    def say(text: str) -> None:
        click.echo(printable(text), err=True)

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    runs = _read(paths, project, note)
    runs = _only(runs, "family", families, family)
    runs = _only(runs, "dataset", datasets, dataset)
    runs = _only(runs, "status", statuses, lambda run: run.status)
    _print(runs, metric, split_seeds, form)
    if output or (form == "table" and not no_page):
        _write_page(runs, metric, notes, output or Path(PAGE), say)
    if publish:
        from zoo.comparison.wandb.publish import publish as publish_runs

        for address in publish_runs(publish, runs, metric, say):
            say(address)


def _read(paths: Sequence[str], project: str | None, note: Callable[[str], None]) -> list[Run]:
    runs = []
    if paths:
        from zoo.comparison.reading import read_runs

        runs += read_runs(paths, note)
    if project:
        from zoo.comparison.wandb.runs import read_project

        here = {wandb_id(run) for run in runs} - {None}
        there = read_project(project, note)
        runs += (more := [run for run in there if wandb_id(run) not in here])
        if len(more) < len(there):
            note(f"{len(there) - len(more)} of {len(there)} runs of {project} are read from their directories here.")
    return runs


def _only(runs: Sequence[Run], option: str, wanted: Sequence[str], of: Callable[[Run], str]) -> list[Run]:
    """The runs of which `of` is one of `wanted`, all where nothing is wanted. Raises UserError where none is."""
    known = sorted({of(run) for run in runs})
    for value in wanted:
        allowed = sorted({*known, *STATUSES}) if option == "status" else known
        if value not in allowed:
            raise UserError(f"--{option} {value}: no run has it; {close_matches(value, allowed)}")
    left = [run for run in runs if not wanted or of(run) in wanted]
    if not left:
        raise UserError(f"--{option} {', '.join(wanted)} leaves no run; those here have {', '.join(known)}.")
    return left


def _print(runs: Sequence[Run], metric: str, single: bool, form: str) -> None:
    rows = ranked(runs, metric, single)
    if form == "json":
        write_json(table.document(rows, metric))
    elif form == "csv":
        write_csv(table.csv_rows(rows, metric))
    else:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a letter that the locale lacks must not end the command
        table.write_table(rows, metric, sys.stdout)
        for sentence in _remarks(runs, rows, metric):
            click.echo(sentence, err=True)


def _remarks(runs: Sequence[Run], rows: Sequence[Row], metric: str) -> list[str]:
    """What a reader of the table must know."""
    sentences = []
    chosen = METRICS[metric]
    order = "the highest" if chosen.higher_is_better else "the lowest"
    of = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} in {len(rows)} {'row' if len(rows) == 1 else 'rows'}"
    sentences.append(f"{of}, ranked by {chosen.title}, {order} first.")
    sets = {dataset(run) for run in runs}
    if len(sets) > 1:
        sentences.append(
            f"They are of {len(sets)} data sets: ranks and Pareto fronts count within each, for accuracies on"
            " different data sets cannot be compared."
        )
    if any(len(row.runs) > len(row.seeds) for row in rows):
        sentences.append("Repeats of a seed count as their mean; ± is over seeds alone.")
    sentences += [
        f"{printable(run.path)}: its last {METRICS[key].title} is invalid (NaN, infinite or out of range); no earlier"
        " one is shown instead."
        for run in runs
        for key in dict.fromkeys([metric, "val_top1"])
        if is_invalid(run, key)
    ]
    without = sum(row.rank is None for row in rows)
    if without:
        sentences.append(f"{without} without {chosen.title}: not ranked, at the end.")
    return sentences


def _write_page(runs: Sequence[Run], metric: str, notes: Sequence[str], path: Path, say: Callable[[str], None]) -> None:
    from zoo.comparison.page import page, write_page

    if path.is_dir():
        raise UserError(f"{path} is a folder: --output names a file, {path / PAGE} say.")
    write_page(path, page(runs, metric, notes))
    say(f"Page: {path.resolve()}")
