"""`zoo list`: every network with what it costs and what is published for it."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

from zoo.checks import close_matches
from zoo.commands.arguments import FAMILY, Name, complete_network
from zoo.commands.output import Column, form_of, form_options, percent, short, write_csv, write_json, write_table
from zoo.commands.output import write_text as write
from zoo.costs import recorded, unrecorded
from zoo.information import group_width
from zoo.registry import FAMILIES, family, family_key, list_models, variant
from zoo.weights.published import resolve, tags

SORTS = ("name", "parameters", "macs", "top1")
COLUMNS = (
    Column("network", lambda row: row["name"], number=False),
    Column("family", lambda row: row["family"], number=False, least=78),
    Column("param.", lambda row: short(row["parameters"])),
    Column("MACs", lambda row: short(row["macs"]), least=48),
    Column("px", lambda row: str(row["size"] or "-"), least=66),
    Column("groups", lambda row: groups_cell(row), least=50),
    Column("tags", lambda row: str(row["weights"] or "-"), least=60),
    Column("top-1", lambda row: percent(row["top1"])),
)
LEGEND = (
    "param.: trainable parameters. MACs: multiply-accumulates of one image of px x px pixels. groups: dw is depthwise, "
    "/8 is groups of 8 channels. tags: published weights. top-1: the best of them, % on its own data set."
)


@click.command(name="list", epilog="Keys of --json and columns of --csv: " + ", ".join([
    "name", "family", "parameters", "macs", "activations",
    "size (pixels that macs are counted for; these four are empty where they are not recorded)",
    "groups (empty where they follow from group_width)", "group_width (channels of a group)",
    "weights (how many are published)", "top1 (the best of them, %)",
]) + ".")  # fmt: skip
@click.argument("pattern", default="*", shell_complete=complete_network)
@click.option("--family", "family_name", type=FAMILY, metavar="FAMILY", help="Only the networks of this family.")
@click.option(
    "--sort",
    type=Name("order", sorted(SORTS)),
    default="name",
    show_default=True,
    metavar="|".join(SORTS),
    help="The smallest first, of top1 the best.",
)
@form_options
def listing(pattern: str, family_name: str | None, sort: str, as_json: bool, as_csv: bool) -> None:
    """List networks: all, or those whose name matches PATTERN, as in "shufflenet*" or "*_0?0"."""
    form = form_of(as_json, as_csv)
    rows = ordered([row_of(name) for name in matching(pattern, family_name)], sort)
    if form == "json":
        write_json(rows)
    elif form == "csv":
        write_csv(rows)
    else:
        write_table(COLUMNS, rows)
        write(f"\n{len(rows)} network{'s' if len(rows) > 1 else ''}. {LEGEND}")
    say_unrecorded([row["name"] for row in rows])


def matching(pattern: str, family_name: str | None = None) -> list[str]:
    """Names that match a shell pattern, sorted. Raises ValueError, with what would match, where none does."""
    known = list_models() if family_name is None else sorted(family(family_name).VARIANTS)
    names = [name for name in known if fnmatchcase(name, pattern)]
    if names:
        return names
    where = "No network" if family_name is None else f"No network of the family {family_name}"
    if pattern.lower() in known:
        raise ValueError(f"{where} is called {pattern!r}: did you mean {pattern.lower()}?")
    inside = [name for name in known if fnmatchcase(name, f"*{pattern.lower()}*")]
    if inside:
        raise ValueError(f"{where} is called {pattern!r}: '*{pattern.lower()}*' matches {len(inside)}, as {inside[0]}.")
    if pattern in FAMILIES:
        raise ValueError(f"{where} is called {pattern!r}, which is a family: zoo list --family {pattern}.")
    near = close_matches(pattern.strip("*?"), known)
    raise ValueError(f"{where} matches {pattern!r}: {near if near.startswith('did') else '* matches all of them.'}")


def row_of(name: str) -> dict[str, Any]:
    """What a list says of one network."""
    cost = recorded().get(name)  # None of a network that is new
    config = variant(name)
    member = family_key(config)
    published = tags(name)
    return {
        "name": name,
        "family": member,
        "parameters": None if cost is None else cost.parameters,
        "macs": None if cost is None else cost.macs,
        "activations": None if cost is None else cost.activations,
        "size": None if cost is None else cost.size,
        "groups": config.groups,
        "group_width": group_width(config),
        "weights": len(published),
        "top1": resolve(published[0]).top1 if published else None,
    }


def ordered(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """By one of SORTS; networks without a published accuracy, or a recorded cost, come last."""
    if sort == "top1":
        return sorted(rows, key=lambda row: (row["top1"] is None, -(row["top1"] or 0), row["name"]))
    return sorted(rows, key=lambda row: (row[sort] is None, row[sort] or 0 if sort != "name" else "", row["name"]))


def say_unrecorded(names: Sequence[str]) -> None:
    """A line on standard error for the networks whose cost is not recorded, where there are such."""
    sentence = unrecorded(names)
    if sentence:
        click.echo(sentence, err=True)


def groups_cell(row: Mapping[str, Any]) -> str:
    """The groups of a network in a few letters."""
    if row["groups"] is not None:
        return str(row["groups"])
    return "dw" if row["group_width"] == 1 else f"/{row['group_width']}"
