"""Publishing with the real client to a server on this machine: all that is sent, and what fails."""

import collections
import json
import sys
import time

import pytest

from helpers.wandb_api_server import TIMEOUT, Server, call, run_node
from helpers.wandb_panels import keys_read, workspace_panels
from zoo import metrics
from zoo.comparison.wandb.panels import CLOCKS, CONFUSION_TABLE, CURVES, PER_CLASS_TABLE
from zoo.comparison.wandb.publish import publish
from zoo.errors import UserError
from zoo.metrics import COSTS, METRICS

NAMES = [name for name in vars(metrics) if name.startswith(("TRAIN_", "VAL_")) or name in ("EPOCH", "SECONDS")]
HISTORY = {getattr(metrics, name) for name in NAMES}
CONFIG = {"family": "resnext", "groups": 4, "seed": 0, "dataset": {"name": "digits"}, "recipe": {"epochs": 2}}
READ = """
from zoo.comparison.wandb.publish import publish
from zoo.comparison.runs import Run
from zoo.comparison.wandb.runs import read_project
def local(path, name, wandb):
    return Run(path, name, "finished", dict(status="finished", name=name, wandb=wandb), {{}}, None)
runs = read_project("lab/zoo", messages.append){more}
result = publish("lab/zoo", runs, "val_top1", messages.append)
"""


def projects_runs():
    summary = {"val_top1": 0.5, "macs": 10, "parameters": 7, "latency_seconds": 0.01}
    return [run_node(f"r{index}", f"<b>{index}", "finished", CONFIG | {"seed": index}, summary) for index in range(3)]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What was told, and the workspace and the report that were saved."""
    server = Server(projects_runs())
    try:
        outcome = call(tmp_path_factory.mktemp("publish"), server.url, READ.format(more=""))
    finally:
        server.close()
    assert [view["type"] for view in server.saved] == ["project-view", "runs"], outcome
    return outcome, *(view | {"spec": json.loads(view["spec"])} for view in server.saved)


def grids(report):
    return [block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]


def report_panels(report):
    return [panel for grid in grids(report) for panel in grid["panelBankSectionConfig"]["panels"]]


def test_a_workspace_and_a_report_are_saved_and_their_addresses_told(published):
    outcome, workspace, report = published
    assert outcome["messages"] == []
    view = workspace["name"].removeprefix("nw-").removesuffix("-v")
    first, second = outcome["result"]
    assert first.endswith(f"/lab/zoo?nw={view}") and "/lab/zoo/reports/" in second and second.endswith("--view2")
    for saved in (workspace, report):
        assert (saved["entityName"], saved["projectName"]) == ("lab", "zoo")
    assert workspace["displayName"].startswith("Comparison by validation top-1, ")
    assert report["displayName"] == "Comparison of 3 runs by validation top-1"


def test_every_panel_reads_what_training_logs(published):
    tables = {CONFUSION_TABLE, PER_CLASS_TABLE, metrics.MISTAKES, metrics.LAYERS}
    columns = {"Actual", "Predicted", "nPredictions", "class", "accuracy"}
    known = {"summary": set(METRICS), "history": HISTORY, "table": tables, "column": columns}
    for panel in workspace_panels(published[1]) + report_panels(published[2]):
        for section, key in keys_read(panel):
            assert key in known[section], panel


def test_workspace_and_report_have_the_same_panels_and_none_is_missing(published):
    workspace, report = (
        [(panel["viewType"], tuple(keys_read(panel))) for panel in panels]
        for panels in (
            workspace_panels(published[1]),
            report_panels(published[2]),
        )
    )
    assert workspace == report and max(collections.Counter(report).values()) == 1
    drawn = {(kind, *(key for _, key in pairs)) for kind, pairs in report}
    expected = {("Scatter Plot", cost, "val_top1") for cost in ("macs", "parameters", "latency_seconds")}
    expected |= {("Run History Line Plot", clock, curve) for clock in CLOCKS for curve in CURVES}
    expected |= {("Bar Chart", cost) for cost in ("val_top1", *COSTS)}
    expected |= {("Vega2", CONFUSION_TABLE, "Actual", "Predicted", "nPredictions")}
    expected |= {("Vega2", PER_CLASS_TABLE, "class", "accuracy"), ("Run Comparer",)}
    expected |= {("Weave", metrics.MISTAKES), ("Weave", metrics.LAYERS)}
    assert drawn == expected
    assert set(CLOCKS) == {metrics.EPOCH, metrics.SECONDS} and metrics.VAL_TOP1 in CURVES


def test_runs_are_those_compared_grouped_and_with_their_columns(published):
    _, workspace, report = published
    (shown,) = workspace["spec"]["section"]["runSets"]
    runsets = [runset for grid in grids(report) for runset in grid["runSets"]]
    for runset in (shown, *runsets):
        (chosen,) = runset["filters"]["filters"]
        assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "name"}, "IN")
        assert sorted(chosen["value"]) == ["r0", "r1", "r2"]
        columns = runset["runFeed"]["columnOrder"]
        assert columns[:5] == [
            "run:displayName",
            "config:family.value",
            "config:groups.value",
            "config:dataset.value.name",
            "config:seed.value",
        ]
        assert columns[5:] == ["run:state", "summary:val_top1", *(f"summary:{cost}" for cost in COSTS)]
        assert runset["sort"]["keys"][0]["key"] == {"section": "summary", "name": "val_top1"}
    grouped = [{"section": "config", "name": "family.value"}, {"section": "config", "name": "groups.value"}]
    assert shown["grouping"] == grouped and {"section": "config", "name": "family.value"} in runsets[1]["grouping"]
    assert runsets[0]["grouping"] == []  # a point for each run
    assert all(runset["project"] == {"name": "zoo", "entityName": "lab", "id": "7"} for runset in runsets)


def test_nothing_of_a_name_is_markup(published):
    for block in published[2]["spec"]["blocks"]:
        if block["type"] == "markdown-block":
            assert "<" not in block["content"] and "&#60;b&#62;" in block["content"]
    assert "<b>0" in json.dumps(published[2]["spec"]["blocks"])  # as text, in the list of the fronts


def test_runs_that_are_not_in_the_project_are_named_with_what_brings_them_there(tmp_path):
    offline = tmp_path / "out" / "1" / "wandb" / "offline-run-20250101_000000-off1"
    for folder in (offline, tmp_path / "out/2/wandb/run-20250101_000000-on2", tmp_path / "out/3", tmp_path / "out/4"):
        folder.mkdir(parents=True)
    more = """ + [
    local("out/0", "uploaded", dict(id="r9")),
    local("out/1", "one", dict(mode="offline", id="off1")),
    local("out/2", "two", dict(mode="online", id="on2", url="http://elsewhere")),
    local("out/3", "three", dict(mode="disabled", id=None)),
    local("out/4", "four", dict(mode="offline", id="off4")),
    local("lab/old/on5", "five", dict(mode="online", id="on5")),
    local("out/6", "six", dict(mode="online", id="r0")),
    local("out/7", "seven", dict(mode="online", id="it's")),
    local("out/3", "eight", dict(mode="online", id="../x\\0")),
]"""
    server = Server([*projects_runs(), run_node("r9", "nine"), run_node("it's", "odd")])
    try:
        outcome = call(tmp_path, server.url, READ.format(more=more))
    finally:
        server.close()
    left_out = [line for line in outcome["messages"] if "read" not in line and "neither" not in line]
    assert left_out == [
        "out/1 is left out, for it is not in lab/zoo:"
        " `wandb sync -e lab -p zoo out/1/wandb/offline-run-20250101_000000-off1` uploads it.",
        "out/2 is left out, for it is not in lab/zoo:"
        " `wandb sync -e lab -p zoo --include-online out/2/wandb/run-20250101_000000-on2` uploads it.",
        "out/3 is left out, for it is not in lab/zoo: it was not logged to W&B, which tracking=wandb does.",
        "out/4 is left out, for it is not in lab/zoo: its folder of W&B is gone (out/4/wandb/offline-run-*-off4).",
        "lab/old/on5 is left out, for it is not in lab/zoo: W&B can move it there, on the page of its runs.",
        "out/6 is left out, for on W&B it is the same run as lab/zoo/r0.",
        """out/7 is left out, for no filter of W&B can name its id "it's".""",
        r"out/3 is left out, for it is not in lab/zoo: '../x\x00' is no id that training gives.",
    ]
    spec = json.loads(server.saved[0]["spec"])
    assert spec["section"]["runSets"][0]["filters"]["filters"][0]["value"] == ["r0", "r1", "r2", "r9"]


def test_nothing_is_saved_where_no_run_is_in_the_project(tmp_path):
    server = Server()
    body = READ.replace('read_project("lab/zoo", messages.append)', "").format(more='[local("out", "a", dict(id="x"))]')
    try:
        outcome = call(tmp_path, server.url, body)
    finally:
        server.close()
    assert outcome["error"] == "There is nothing to publish: none of the 1 runs is in lab/zoo."
    assert len(outcome["messages"]) == 1 and server.saved == []


@pytest.mark.parametrize(
    "operation, answer, sentence",
    [
        ("UpsertView2", 403, "refuses saving the workspace in lab/zoo (HTTP 403: denied)"),
        pytest.param("upsertView", 500, "answers HTTP 500 (saving the report in lab/zoo)", marks=pytest.mark.heavy),
        pytest.param(
            "upsertView",
            "nothing",
            "did not answer within 4 s (saving the report in lab/zoo)",
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_a_server_that_fails_ends_in_a_sentence_and_in_time(tmp_path, operation, answer, sentence):
    server = Server(projects_runs(), answers={operation: answer})
    began = time.monotonic()
    try:
        outcome = call(tmp_path, server.url, READ.format(more=""), timeout=TIMEOUT)
    finally:
        server.close()
    assert sentence in outcome["error"] and "\n" not in outcome["error"] and not outcome["chained"]
    assert time.monotonic() - began < 3 * TIMEOUT + 15
    if operation == "upsertView":
        (message,) = outcome["messages"]
        assert message.startswith(f"The workspace was saved: {server.url}/lab/zoo?nw=")


def test_the_package_that_it_needs_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r'wandb-workspaces, which is not installed: `pip install -e "\.\[publish\]"`'):
        publish("lab/zoo", [], "val_top1", print)
    with pytest.raises(ValueError, match="There is no metric 'val_top'"):
        publish("lab/zoo", [], "val_top", print)
