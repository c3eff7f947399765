"""What is published on W&B: the specifications themselves, before anything is sent."""

import json
from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from helpers.wandb_panels import without_pydantic_warnings
from zoo.comparison.ranking import FRONTS
from zoo.comparison.runs import Run
from zoo.comparison.wandb import panels
from zoo.comparison.wandb.report import escaped, markdown_table, report_spec
from zoo.comparison.wandb.workspace import workspace_spec
from zoo.metrics import METRICS

MOMENT = datetime(2025, 11, 23, 6, 50, tzinfo=UTC)
pytestmark = without_pydantic_warnings
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b ` c",
    "**bold** _it_ ~~gone~~ $x^2$",
    "[click](javascript:alert(1)) ![i](http://x.org/i.png)",
    "http://x.org www.x.org me@x.org <http://x.org>",
    "&lt;b&gt; &amp; \\| \\* #1",
    "two\nlines\r\n| and | cells |\x1b[2J",
]


def run(name, groups=1, seed=0, status="finished", dataset="digits", **figures):
    config = {"groups": groups, "seed": seed, "dataset": {"name": dataset}, "name": name}
    result = {"status": status, "name": name, "family": "resnext", "groups": groups, "seed": seed, "dataset": dataset}
    return Run(f"lab/zoo/{name}", name, status, result | {"config": config} | figures, {}, None)


def ids(runs):
    return [f"id{index}" for index in range(len(runs))]


def report_of(runs, metric="val_top1"):
    return report_spec("lab", "zoo", runs, ids(runs), metric, MOMENT)


def blocks(report, kind):
    return [block for block in report.blocks if type(block).__name__ == kind]


def rendered(markdown):
    """HTML as a viewer makes it that allows HTML, tables, bare links and strike-through."""
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown)


def text_of(html):
    """The cells of a rendered table, and no other element."""
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.fromstring(html)
    assert {element.tag for element in tree.iter()} <= {"table", "thead", "tbody", "tr", "th", "td"}
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def test_names_are_text_in_the_ranked_table():
    runs = [run(name, val_top1=0.9 - index / 100, macs=5) for index, name in enumerate(HOSTILE)]
    (block,) = blocks(report_of(runs), "MarkdownBlock")
    heading, *rows = text_of(rendered(block.text))
    shown = [row[heading.index("name")] for row in rows]
    printable = [name.replace("\n", "\ufffd").replace("\r", "\ufffd").replace("\x1b", "\ufffd") for name in HOSTILE]
    assert shown == printable
    assert all(len(row) == len(heading) for row in rows)
    assert not set("<>`*_[]$~|@\\") & set(escaped("".join(HOSTILE)))
    assert "http:" not in block.text and "www." not in block.text


def test_the_ranked_table_has_the_rows_of_the_comparison_in_order():
    runs = [run("b", 2, val_top1=0.5), run("a", 4, seed=0, val_top1=0.8), run("a", 4, seed=1, val_top1=0.9), run("c")]
    heading, *rows = text_of(rendered(blocks(report_of(runs), "MarkdownBlock")[0].text))
    assert [row[heading.index("name")] for row in rows] == ["a", "b", "c"]
    assert rows[0][heading.index(METRICS["val_top1"].title)] == "85.00 ± 7.07 % (2)"
    assert markdown_table([], "val_top1").count("\n") == 1


def test_pareto_members_are_named_for_each_cost_and_data_set():
    figures = {
        "small": {"val_top1": 0.7, "macs": 10, "parameters": 30, "latency_seconds": 0.3},
        "good": {"val_top1": 0.9, "macs": 20, "parameters": 20, "latency_seconds": 0.1},
        "worse": {"val_top1": 0.8, "macs": 25, "parameters": 25, "latency_seconds": 0.2},
        "<b>light": {"val_top1": 0.6, "macs": 15, "parameters": 5},
    }
    runs = [run(name, **values) for name, values in figures.items()]
    runs.append(run("alone", dataset="mnist", val_top1=0.1, macs=99))
    (listed,) = blocks(report_of(runs), "UnorderedList")

    def front(cost):
        """Those that no other beats, found the slow way; cheapest first."""
        known = {name: values for name, values in figures.items() if cost in values}

        def beaten(one):
            return any(
                other["val_top1"] >= one["val_top1"] and other[cost] <= one[cost] and other != one
                for other in known.values()
            )

        members = [name for name, values in known.items() if not beaten(values)]
        return ", ".join(sorted(members, key=lambda name: known[name][cost]))

    expected = [f"digits, against {METRICS[cost].title}: {front(cost)}" for cost in FRONTS]
    assert listed.items == [*expected, "mnist, against multiply-accumulates of an image: alone"]
    assert "small, good" in expected[0] and "<b>light, good" in expected[1]  # a list shows text as it is
    (none,) = blocks(report_of([run("a")]), "UnorderedList")
    assert none.items == ["No run has both figures yet."]


def test_the_report_tells_what_it_compares():
    runs = [run("a", val_loss=0.5), run("b", 2, status="running", dataset="m<nist")]
    report = report_of(runs, "val_loss")
    assert report.title == "Comparison of 2 runs by validation loss"
    first = report.blocks[0].text
    for part in ("2 runs in 2 rows", "validation loss (lower is better)", "Families: resnext", "digits, m<nist"):
        assert part in first
    assert "1 of the runs had not finished" in first and "2025-11-23 06:50 UTC" in first
    assert report_of([runs[0]]).title == "Comparison of 1 run by validation top-1"
    many = [run(str(index), dataset=f"{'d' * 50}{index}") for index in range(30)]
    assert "and 22 more" in report_of(many).blocks[0].text and len(report_of(many).title) <= 128


@pytest.mark.parametrize(
    "metric, ascending, accuracy", [("val_loss", True, "val_top1"), ("test_top1", False, "test_top1")]
)
def test_the_workspace_orders_by_the_metric_and_draws_its_accuracy(metric, ascending, accuracy):
    workspace = workspace_spec("lab", "zoo", ["a1", "b2"], metric, MOMENT)
    section = json.loads(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))["section"]
    (runset,) = section["runSets"]
    (key,) = runset["sort"]["keys"]
    assert key == {"key": {"section": "summary", "name": metric}, "ascending": ascending}
    chosen = {"key": {"section": "run", "name": "name"}, "op": "IN", "value": ["a1", "b2"], "disabled": False}
    assert runset["filters"] == {"filterFormat": "filterV2", "filters": [chosen]}
    drawn = [each["config"]["yAxis"] for each in section["panelBankConfig"]["sections"][0]["panels"]]
    assert drawn == [f"summary:{accuracy}"] * 3
    assert section["settings"]["shouldAutoGeneratePanels"] is False
    assert workspace.name == f"Comparison by {METRICS[metric].title}, 2025-11-23 06:50 UTC"


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_makes_a_workspace_and_a_report(metric):
    assert workspace_spec("lab", "zoo", ["a"], metric, MOMENT)._to_model()
    assert report_of([run("a", **{metric: 0.5})], metric).blocks


def test_all_runs_are_shown_and_panels_lie_beside_each_other():
    many = [f"r{index}" for index in range(200)]
    workspace = workspace_spec("lab", "zoo", many, "val_top1", MOMENT)
    assert workspace.settings.max_runs == 200
    assert all(panel.max_runs_to_show == 200 for panel in [*panels.curves(200), *panels.bars("macs", 200)])
    for grid in blocks(report_of([run("a")]), "PanelGrid"):
        taken = set()
        for panel in grid.panels:
            place = panel.layout
            cells = {(x, y) for x in range(place.x, place.x + place.w) for y in range(place.y, place.y + place.h)}
            assert not cells & taken and max(x for x, _ in cells) < 24
            taken |= cells
        assert grid.panels and min(taken) == (0, 0)
