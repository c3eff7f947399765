"""`zoo doctor`: what a report of an error has to say of the machine, and what is wrong with it."""

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from zoo.commands.output import console, print_shown, write_json, write_text
from zoo.comparison.runs import printable
from zoo.doctor.report import SECTIONS, document, examine
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row

MARKS = {OK: ("ok", "green"), NOTE: ("note", "yellow"), PROBLEM: ("problem", "bold red")}


@click.command(
    epilog="""
Keys of --json: format (1), ok, notes, problems (how many rows are so), rows (key, status: ok, note or problem, text,
remedy or null, data: what the row was found out from; docs/doctor.md lists them). Exit code 1 where there is a problem.
Paths in your home folder begin with ~. Keys and passwords are not shown, nor variables of the environment that are not
known to matter.
"""
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for reports of errors.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Examine this machine: versions, processor, TensorFlow, kernels, caches, data sets, W&B.

    Nothing is compiled or downloaded, and no server is asked.

    \b
      zoo doctor                       what there is, and how to mend what is wrong
      zoo doctor --json > report.json  to attach to a report of an error
    """
    errors = console(error=True)
    if errors.is_terminal and not as_json:
        with errors.status("Asking TensorFlow and W&B ..."):
            rows = examine()
    else:
        rows = examine()
    if as_json:
        write_json(document(rows))
    else:
        write(rows)
    if any(row.status == PROBLEM for row in rows):
        ctx.exit(1)


def write(rows: list[Row]) -> None:
    """Print the rows as a table, with headings, and how many are notes or problems."""
    target = console()
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=target.width >= 60, overflow="fold")
    table.add_column(overflow="fold")
    section = None
    for row in rows:
        name, _, entry = row.key.partition(".")
        if name != section:
            table.add_row(Text(""), Text(""), Text("")) if section else None
            table.add_row(Text(""), Text(SECTIONS[name], style="bold"), Text(""))
            section = name
        word, style = MARKS[row.status]
        table.add_row(Text(word, style=style), Text(printable(entry)), _cell(row))
    print_shown(target, table)
    problems, notes = (sum(row.status == status for row in rows) for status in (PROBLEM, NOTE))
    write_text(f"\n{_count(problems, 'problem')}, {_count(notes, 'note')}, {_count(len(rows), 'row')}.")


def _cell(row: Row) -> Group | Text:
    """What there is, and below it the remedy."""
    text = Text(printable(row.text))
    return Group(text, Text(printable(row.remedy), style="italic")) if row.remedy else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
