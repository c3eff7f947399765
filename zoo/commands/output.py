"""How commands show what they found: a table to read, one JSON document, or CSV."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS = ("", " k", " M", " G", " T", " P")
NARROW = 100  # columns of a terminal below which one blank lies between the columns of a table, not two
UNLIMITED = 10_000  # columns of a file or a pipe, whose reader wants whole lines


@dataclass(frozen=True)
class Column:
    """One column of a table to read."""

    title: str
    cell: Callable[[Mapping[str, Any]], str]  # of a row
    number: bool = True  # aligned to the right
    least: int = 0  # columns that a terminal must have for this one to be shown


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json and --csv to a command, which gets `as_json` and `as_csv`; `form_of` checks them."""
    command = click.option("--csv", "as_csv", is_flag=True, help="CSV (RFC 4180) with a header.")(command)
    return click.option("--json", "as_json", is_flag=True, help="One JSON document with raw numbers.")(command)


def form_of(as_json: bool, as_csv: bool) -> str:
    """What to write: "table", "json" or "csv". Raises click.UsageError where both were asked for."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other: give one of them.", click.get_current_context())
    return "json" if as_json else "csv" if as_csv else "table"


def write_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def write_csv(rows: Sequence[Mapping[str, Any]], header: Sequence[str] | None = None) -> None:
    """Rows that all have the keys of `header`, by default of the first.

    None is an empty field, a list has spaces between its entries.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, header or list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: _field(value) for key, value in row.items()} for row in rows)
    click.echo(text.getvalue().encode("utf-8"), nl=False)  # as text, some systems would end the lines otherwise


def _field(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return json.dumps(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def console(error: bool = False) -> Console:
    """Standard output or standard error as rich sees it: without colours or boxes where it is no terminal."""
    stream = sys.stderr if error else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # an author's name must not end a command where the locale is ASCII
    rich_console = Console(file=stream, highlight=False, soft_wrap=False)
    if not rich_console.is_terminal:
        rich_console = Console(file=stream, highlight=False, width=UNLIMITED)
    elif os.environ.get("NO_COLOR"):
        rich_console = Console(file=stream, highlight=False, color_system=None)
    return rich_console


def write_table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], total: Mapping[str, Any] | None = None
) -> None:
    """Print rows, and a last one with the `total`; what a narrow terminal has no place for is named below."""
    target = console()
    blanks = 1 if target.width < NARROW else 2
    table = Table(box=None, pad_edge=False, padding=(0, blanks, 0, 0), show_edge=False)
    shown = [column for column in columns if column.least <= target.width]
    for column in shown:
        table.add_column(
            Text(column.title), justify="right" if column.number else "left", overflow="fold", header_style="bold"
        )
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in shown))
    if total is not None:
        table.add_row(*(Text(column.cell(total), style="bold") for column in shown))
    print_shown(target, table)
    left_out = [column.title for column in columns if column not in shown]
    if left_out:
        print_shown(target, Text(f"(A wider terminal shows {', '.join(left_out)} too.)"))


def write_fields(fields: Mapping[str, str]) -> None:
    """Print names and what they stand for, wrapped to the terminal."""
    target = console()
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(Text(name), Text(value))
    print_shown(target, table)


def write_text(text: str) -> None:
    """Print a sentence, wrapped to the terminal."""
    print_shown(console(), Text(text))


def print_shown(target: Console, shown: Any) -> None:
    """Print what rich knows to a terminal; elsewhere lines without the blanks that rich fills them up with."""
    if target.is_terminal:
        target.print(shown)
        return
    with target.capture() as captured:
        target.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=target.file)


def short(count: int | None) -> str:
    """A count in three digits and a unit: 25028904 -> "25.0 M"; None, which is not known, is a dash."""
    if count is None:
        return "-"
    for power, unit in enumerate(UNITS):
        value = count / 1000**power
        if value < 999.5 or unit == UNITS[-1]:
            break
    if not unit:
        return str(count)
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{unit}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
