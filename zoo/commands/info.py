"""`zoo info`: what is known of a network, of published weights or of a family."""

from dataclasses import asdict
from typing import Any

import click

from zoo.commands.arguments import complete_name, unknown
from zoo.commands.listing import COLUMNS, LEGEND, row_of
from zoo.commands.output import (
    Column,
    form_of,
    form_options,
    percent,
    write_csv,
    write_fields,
    write_json,
    write_table,
    write_text,
)
from zoo.costs import in_words
from zoo.information import Information, describe, group_width, grouping, literature
from zoo.information import info as look_up
from zoo.registry import FAMILIES, config_class, family, variants
from zoo.weights.published import SOURCES, Published, resolve, tags

WEIGHTS = (
    Column("published weights", lambda row: row["tag"], number=False),
    Column("top-1", lambda row: percent(row["top1"])),
    Column("px", lambda row: str(row["top1_size"] or row["input_size"]), least=70),
    Column("classes", lambda row: str(row["num_classes"] or "-"), least=80),
    Column("licence", lambda row: row["licence"] or "not stated", number=False),
)


@click.command(
    epilog="""
Keys of --json for a network or for weights: name, family, summary, paper, parameters, macs, activations, size (pixels
that macs are counted for), groups, group_width (channels of a group where groups is null), groups_allowed, grouping
(what groups mean), settings, weights (tag, top1, top5, licence, address, ... of each; of the one that was asked for).
For a family: family, summary, paper, grouping, networks (as in `zoo list`). --csv has a row for a network, for weights,
or for each network of a family.
"""
)
@click.argument("name", shell_complete=complete_name)
@form_options
def info(name: str, as_json: bool, as_csv: bool) -> None:
    """Tell what is known of NAME: a network (resnext50_32x4d), a tag of published weights
    (timm/resnext50_32x4d.a1h_in1k) or a family (resnext)."""
    form = form_of(as_json, as_csv)
    if name in FAMILIES and name not in variants():
        _family(name, form)
        return
    found = look_up(existing(name))
    if form == "json":
        write_json(document(found))
    elif form == "csv":
        write_csv([asdict(found.weights) if found.weights else flat(document(found))])
    else:
        _page(found)


def existing(name: str) -> str:
    """`name` itself, of a network or a tag. Raises ValueError, with the nearest names, for anything else."""
    if name in variants() or name in tags():
        return name
    if name.startswith(tuple(f"{source}/" for source in SOURCES)) or any(tag.endswith(f"/{name}") for tag in tags()):
        resolve(name)  # raises
    raise ValueError(unknown("network, family or tag of weights", name, {*variants(), *FAMILIES, *tags()}))


def document(found: Information) -> dict[str, Any]:
    """A network as plain values."""
    return {
        "name": found.name,
        "family": found.family,
        "summary": found.summary,
        "paper": found.paper,
        "parameters": found.parameters,
        "macs": found.macs,
        "activations": found.activations,
        "size": found.size,
        "groups": found.config.groups,
        "group_width": group_width(found.config),
        "groups_allowed": list(found.groups_allowed),
        "grouping": found.grouping,
        "settings": found.settings,
        "weights": [_weights(each) for each in ([found.weights] if found.weights else found.published)],
    }


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A network as one row: of its weights the tags."""
    return row | {"weights": [each["tag"] for each in row["weights"]]}


def _weights(weights: Published) -> dict[str, Any]:
    return {key: value for key, value in asdict(weights).items() if key != "model"}


def _page(found: Information) -> None:
    width = group_width(found.config)
    own = f"{found.config.groups}" if width is None else "depthwise" if width == 1 else f"groups of {width} channels"
    write_fields(
        {
            "network": f"{found.name}, of the family {found.family}",
            "about": found.summary,
            "paper": found.paper,
            "settings": ", ".join(f"{key}={value!r}" for key, value in found.settings.items()),
            "parameters": f"{found.parameters:,}",
            "MACs": f"{found.macs:,} (an image of {found.size} x {found.size} pixels)",
            "activations": f"{found.activations:,}",
            "groups": f"{own} ({found.grouping})",
            "allowed": in_words(found.groups_allowed) + (f", beside {own}" if width else ""),
        }
    )
    click.echo()
    if found.weights:
        write_text("\n  ".join([found.weights.tag, *describe(found.weights)]))
    elif found.published:
        write_table(WEIGHTS, [asdict(each) for each in found.published])
    else:
        write_text("No weights are published for it.")


def _family(name: str, form: str) -> None:
    summary, paper = literature(family(name))
    rows = [row_of(each) for each in sorted(family(name).VARIANTS)]
    meaning = grouping(config_class(name))
    if form == "json":
        write_json({"family": name, "summary": summary, "paper": paper, "grouping": meaning, "networks": rows})
    elif form == "csv":
        write_csv(rows)
    else:
        write_fields({"family": name, "about": summary, "paper": paper, "groups": meaning})
        click.echo()
        write_table([column for column in COLUMNS if column.title != "family"], rows)
        write_text(f"\n{LEGEND}")
