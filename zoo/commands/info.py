"""`zoo info`: what is known of a network, of published weights or of a family."""

from dataclasses import asdict
from typing import Any

import click

from zoo.commands.arguments import complete_name, unknown
from zoo.commands.listing import COLUMNS, LEGEND, row_of, say_unrecorded
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
    info = look_up(existing(name))
    if form == "json":
        write_json(document(info))
    elif form == "csv":
        write_csv([asdict(info.weights) if info.weights else flat(document(info))])
    else:
        _page(info)
    say_unrecorded([info.name])


def existing(name: str) -> str:
    """`name` itself, of a network or a tag. Raises ValueError, with the nearest names, for anything else."""
    if name in variants() or name in tags():
        return name
    if name.startswith(tuple(f"{source}/" for source in SOURCES)) or any(tag.endswith(f"/{name}") for tag in tags()):
        resolve(name)  # raises
    raise ValueError(unknown("network, family or tag of weights", name, {*variants(), *FAMILIES, *tags()}))


def document(info: Information) -> dict[str, Any]:
    """A network as plain values."""
    return {
        "name": info.name,
        "family": info.family,
        "summary": info.summary,
        "paper": info.paper,
        "parameters": info.parameters,
        "macs": info.macs,
        "activations": info.activations,
        "size": info.size,
        "groups": info.config.groups,
        "group_width": group_width(info.config),
        "groups_allowed": None if info.groups_allowed is None else list(info.groups_allowed),
        "grouping": info.grouping,
        "settings": info.settings,
        "weights": [_weights(each) for each in ([info.weights] if info.weights else info.published)],
    }


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A network as one row: of its weights the tags."""
    return row | {"weights": [each["tag"] for each in row["weights"]]}


def _weights(weights: Published) -> dict[str, Any]:
    return {key: value for key, value in asdict(weights).items() if key != "model"}


def _page(info: Information) -> None:
    width = group_width(info.config)
    own = f"{info.config.groups}" if width is None else "depthwise" if width == 1 else f"groups of {width} channels"
    write_fields(
        {
            "network": f"{info.name}, of the family {info.family}",
            "about": info.summary,
            **_paper(info.paper),
            "settings": ", ".join(f"{key}={value!r}" for key, value in info.settings.items()),
            **_cost(info),
            "groups": f"{own} ({info.grouping})",
            "allowed": _allowed(info) + (f", beside {own}" if width and info.groups_allowed else ""),
        }
    )
    click.echo()
    if info.weights:
        write_text("\n  ".join([info.weights.tag, *describe(info.weights)]))
    elif info.published:
        write_table(WEIGHTS, [asdict(each) for each in info.published])
    else:
        write_text("No weights are published for it.")


def _paper(paper: str) -> dict[str, str]:
    """The row, of a family that follows a paper."""
    return {"paper": paper} if paper else {}


def _cost(info: Information) -> dict[str, str]:
    if info.parameters is None:
        return dict.fromkeys(("parameters", "MACs", "activations"), "-")
    return {
        "parameters": f"{info.parameters:,}",
        "MACs": f"{info.macs:,} (an image of {info.size} x {info.size} pixels)",
        "activations": f"{info.activations:,}",
    }


def _allowed(info: Information) -> str:
    return "-" if info.groups_allowed is None else in_words(info.groups_allowed)


def _family(name: str, form: str) -> None:
    summary, paper = literature(family(name))
    rows = [row_of(each) for each in sorted(family(name).VARIANTS)]
    meaning = grouping(config_class(name))
    if form == "json":
        write_json({"family": name, "summary": summary, "paper": paper, "grouping": meaning, "networks": rows})
    elif form == "csv":
        write_csv(rows)
    else:
        write_fields({"family": name, "about": summary, **_paper(paper), "groups": meaning})
        click.echo()
        write_table([column for column in COLUMNS if column.title != "family"], rows)
        write_text(f"\n{LEGEND}")
    say_unrecorded([row["name"] for row in rows])
