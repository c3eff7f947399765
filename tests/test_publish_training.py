"""What training really logs is what panels read, and what is read back from W&B is what the run directory tells."""

import json
import os
import subprocess
from datetime import UTC, datetime

import pytest

from helpers.paths import ROOT
from helpers.training import command
from helpers.wandb_api_server import READ, Server, call, run_node
from helpers.wandb_client import environment, history, inspect
from helpers.wandb_panels import keys_read, without_pydantic_warnings, workspace_panels
from zoo.comparison.reading import read_run
from zoo.comparison.wandb.panels import CONFUSION_TABLE, DATASET, GROUPED_BY, SEED
from zoo.comparison.wandb.workspace import workspace_spec
from zoo.environment import source
from zoo.metrics import MADE_WITH, METRICS

pytestmark = without_pydantic_warnings
TRAIN = ["model=mobilenet_v1", "model.width=0.25", "groups=2", "limit_steps=2", "recipe.epochs=2", "seed=3"]


def nested(dotted):
    """{"a.b": 1, "a.c": 2} -> {"a": {"b": 1, "c": 2}}: so the client's records have summaries and rows."""
    values = {}
    for key, value in dotted.items():
        first, dot, rest = key.partition(".")
        if dot:
            values.setdefault(first, {})[rest] = value
        else:
            values[key] = value
    return values


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    """The directory of a run that was kept offline; config, summary, rows and tables as the client has kept them."""
    root = tmp_path_factory.mktemp("trained")
    directory = root / "run"
    options = [*TRAIN, "tracking=offline", f"hydra.run.dir={directory}"]
    caches = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))}  # compiled kernels
    env = environment(root / "home", WANDB_CACHE_DIR=str(root / "cache"), **caches)
    done = subprocess.run(command(data_dir, *options), capture_output=True, text=True, env=env, cwd=root, timeout=200)
    assert done.returncode == 0, done.stderr
    (offline,) = directory.glob("wandb/offline-run-*")
    records = inspect(offline)
    config, summary = {}, {}
    for record in records:
        config |= record.get("run", {}).get("config", {}).get("update", {})
        config |= record.get("config", {}).get("update", {})
        summary |= record.get("summary", {}).get("update", {})
    config = {key: value for key, value in config.items() if not key.startswith("_wandb")}  # the client's own
    summary = nested(summary)
    tables = {each["path"] for each in summary.values() if isinstance(each, dict) and each.get("_type") == "table-file"}
    files = {path: json.loads((offline / "files" / path).read_text()) for path in tables}
    return directory, config, summary, [nested(row) for row in history(records)], files


def test_every_panel_and_column_reads_what_this_run_has_logged(trained):
    _, config, summary, rows, files = trained
    tables = {key: value for key, value in summary.items() if isinstance(value, dict) and value.get("path") in files}
    columns = {column for value in tables.values() for column in files[value["path"]]["columns"]}
    logged = {
        "summary": set(summary),
        "history": set.intersection(*({*row} for row in rows if "val/top1" in row)),
        "table": set(tables),
        "column": columns,
    }
    for metric in ("val_top1", "latency_seconds"):
        workspace = workspace_spec("lab", "zoo", ["a"], metric, datetime.now(UTC))._to_model()
        spec = json.loads(workspace.spec.model_dump_json(by_alias=True, exclude_none=True))
        for panel in workspace_panels({"spec": spec}):
            for section, key in keys_read(panel):
                assert key in logged[section], panel
        for column in spec["section"]["runSets"][0]["runFeed"]["columnOrder"]:
            section, _, key = column.partition(":")
            assert section in ("run", "config") or key in summary, column
    for key in (*GROUPED_BY, DATASET, SEED):
        first, _, rest = key.partition(".")
        assert first in config and (not rest or rest in config[first]), key
    missing = {key for key in METRICS if key not in summary}
    assert missing == {"test_top1", "test_top5", "test_loss", "published_top1"}  # digits have no test split


def test_read_back_from_the_server_it_is_the_run_of_the_directory(trained, tmp_path):
    directory, config, summary, rows, files = trained
    local = read_run(directory, pytest.fail)
    server = Server([run_node("abc", local.name, "finished", config, summary, rows)], files)
    try:
        outcome = call(tmp_path, server.url, READ)
    finally:
        server.close()
    (remote,) = outcome["result"]
    assert outcome["messages"] == [] and remote["status"] == local.status == "finished"
    assert remote["history"] == local.history and len(local.history["epoch"]) == 2
    classes = local.evaluation
    assert remote["evaluation"]["classes"] == list(classes.classes)
    assert remote["evaluation"]["confusion"] == [list(cell) for cell in classes.confusion]
    assert CONFUSION_TABLE in summary and len(classes.classes) == 10
    described = ("model", "family", "groups", "dataset", "seed", "epochs_planned", "config")
    assert set(MADE_WITH) <= set(local.result) and local.result["data"]["builder"] == "digits/1.0.0"
    assert {key: local.result[key] for key in ("commit", "dirty", "changes")} == source(ROOT)
    for key in (*METRICS, *described, *MADE_WITH):
        assert remote["result"].get(key) == local.result.get(key), key
    assert remote["result"]["family"] == "mobilenet_v1" and remote["result"]["groups"] == 2
    assert not os.path.exists(tmp_path / "wandb")
