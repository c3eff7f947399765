"""Runs of a project on W&B, read with the real client from a server on this machine."""

import json
import socket
import time
from contextlib import closing

import pytest

from helpers.wandb_api_server import READ, TIMEOUT, Server, call, run_node
from helpers.wandb_client import KEY
from zoo import metrics
from zoo.comparison.wandb.connection import connect, split_project
from zoo.comparison.wandb.panels import CONFUSION_COLUMNS, CONFUSION_TABLE, PER_CLASS_TABLE
from zoo.errors import UserError

TABLE = "media/table/evaluation/confusion_matrix_table_3_abc.table.json"
CONFIG = {
    "family": "resnext",
    "network": "resnext50_32x4d",
    "groups": 32,
    "seed": 1,
    "dataset": {"name": "digits", "image_size": 8},
    "recipe": {"epochs": 4},
    "commit": "abc",
    "dirty": True,
    "versions": {"keras": "3.15"},
}
SUMMARY = {
    "val_top1": 0.75,
    "val_loss": "NaN",
    "parameters": 25_000_000,
    "latency_seconds": 0.012,
    "val/top1": 0.75,
    "_step": 3,
    CONFUSION_TABLE: {"_type": "table-file", "path": TABLE},
    metrics.LAYERS: {"_type": "table-file", "path": "media/table/layers.json"},
}
ROWS = [
    {"_step": 1, "epoch": 1, "seconds": 2.5, "val/top1": 0.5, "val/loss": 1.5, "peak_memory_bytes": 1000},
    {"_step": 3, "epoch": 3, "seconds": 7.5, "val/top1": 0.75, "val/loss": "NaN", "train/loss": "Infinity"},
    {"_step": 2, "epoch": 2, "seconds": 5, "val/top1": 1.5, "val/loss": 1.25},
    {"_step": 4, "epoch": 3, metrics.MISTAKES: {"_type": "table-file"}},
    {"_step": 0, "epoch": 0, metrics.LAYERS: {"_type": "table-file"}},
    {"_step": 5, metrics.LAYERS: {"_type": "table-file"}},
]
CELLS = [["cat", "cat", 3], ["cat", "dog", 1], ["dog", "cat", 0.0], ["dog", "dog", 2.0]]
MATRIX = {"columns": list(CONFUSION_COLUMNS), "data": CELLS}


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def test_a_run_is_what_its_directory_would_tell(tmp_path, server):
    server.runs = [run_node("r1", "a <b> run", "finished", CONFIG, SUMMARY, ROWS)]
    server.files[TABLE] = MATRIX
    outcome = call(tmp_path, server.url, READ)
    (run,) = outcome["result"]
    assert outcome["messages"] == ["lab/zoo/r1 (a <b> run): val/top1=1.5 is invalid and ignored in its epochs."]
    assert (run["path"], run["name"], run["status"]) == ("lab/zoo/r1", "a <b> run", "finished")
    assert run["result"] == {
        "status": "finished",
        "name": "a <b> run",
        "group": "sweep",
        "model": "resnext50_32x4d",
        "family": "resnext",
        "groups": 32,
        "dataset": "digits",
        "seed": 1,
        "commit": "abc",
        "dirty": True,
        "versions": {"keras": "3.15"},
        "config": {key: CONFIG[key] for key in ("groups", "seed", "dataset", "recipe")},
        "epochs_planned": 4,
        "wandb": {"mode": "online", "id": "r1", "url": f"{server.url}/lab/zoo/runs/r1"},
        "val_top1": 0.75,
        "parameters": 25_000_000,
        "latency_seconds": 0.012,
    }
    assert run["history"] == {
        "epoch": [1, 2, 3],
        "seconds": [2.5, 5, 7.5],
        "val/top1": [0.5, None, 0.75],
        "val/loss": [1.5, 1.25, None],
        "peak_memory_bytes": [1000, None, None],
        "train/loss": [None, None, None],
    }
    classes = {"split": "validation", "classes": ["cat", "dog"], "confusion": [[0, 0, 3], [0, 1, 1], [1, 1, 2]]}
    assert run["evaluation"] == classes
    assert list(tmp_path.rglob("r1")) == []  # the client's folders of runs


def test_classes_of_which_not_every_pair_is_told_and_a_sections_place_taken_by_a_sweep(tmp_path, server):
    path = "classes.json"
    swept = CONFIG | {"model": "resnext", "model_settings": {"family": "resnext", "depth": 50}, "dataset": "digits"}
    swept["dataset_settings"] = CONFIG["dataset"]
    tables = {key: {"_type": "table-file", "path": each} for key, each in
              ((CONFUSION_TABLE, TABLE), (PER_CLASS_TABLE, path))}  # fmt: skip
    server.runs = [run_node("r1", "run", "finished", swept, tables)]
    server.files[TABLE] = {"columns": list(CONFUSION_COLUMNS), "data": [["dog", "emu", 5], ["cat", "cat", 1]]}
    server.files[path] = {"columns": ["class", "accuracy"], "data": [["cat", 1], ["dog", 0], ["emu", None]]}
    (run,) = call(tmp_path, server.url, READ)["result"]
    assert run["evaluation"]["classes"] == ["cat", "dog", "emu"]
    assert run["evaluation"]["confusion"] == [[0, 0, 1], [1, 2, 5]]
    assert run["result"]["config"]["model"] == {"family": "resnext", "depth": 50}
    assert run["result"]["config"]["dataset"] == CONFIG["dataset"] and run["result"]["dataset"] == "digits"
    assert not [key for key in run["result"]["config"] if key.endswith("_settings")]


def test_every_state_and_a_project_of_several_pages(tmp_path, server):
    states = {
        "running": "running",
        "finished": "finished",
        "failed": "failed",
        "crashed": "crashed",
        "killed": "interrupted",
        "preempted": "interrupted",
    }
    server.runs = [run_node(f"r{state}", state, state, CONFIG, {"val_top1": 0.5}, ROWS[:1]) for state in states]
    server.runs.append(run_node("stopped", "stopped", "failed", CONFIG, {"status": "interrupted"}, ROWS[:1]))
    server.runs.append(run_node("waits", "waits", "pending", CONFIG))
    outcome = call(tmp_path, server.url, READ)
    assert {run["name"]: run["status"] for run in outcome["result"]} == states | {"stopped": "interrupted"}
    assert server.asked.count("Runs") == 4
    waits = "lab/zoo/waits (waits): W&B calls it pending, and it has nothing to compare; this run is left out."
    assert outcome["messages"] == [waits]


def test_what_lacks_or_is_wrong_is_named_and_left_out(tmp_path, server):
    matrix = {CONFUSION_TABLE: {"_type": "table-file", "path": "wrong.json"}}
    server.runs = [
        run_node("other", "of another program", "finished", {"lr": 0.1}, {"loss": 3}, [{"_step": 0, "loss": 3}]),
        run_node("bare", None, "running", {"family": "resnext"}),
        run_node("odd", "odd", "finished", {"seed": "no", "dataset": "digits"}, {"val_top1": 7, "macs": 5}),
        run_node("gone", "gone", "finished", CONFIG, SUMMARY),
        run_node("lost", "lost", "finished", CONFIG, {CONFUSION_TABLE: {"_type": "table-file", "path": "lost.json"}}),
        run_node("wrong", "wrong", "finished", CONFIG, matrix),
        run_node("cut", "cut\x1b[2J", "finished", CONFIG, {"macs": 1}, ROWS[:3]),
    ]
    server.files["wrong.json"] = {"columns": list(CONFUSION_COLUMNS), "data": [["cat", "cat", -1]]}
    server.files["lost.json"], server.answers["lost.json"] = MATRIX, 404
    server.rows_given = 2
    outcome = call(tmp_path, server.url, READ)
    runs = {run["path"].removeprefix("lab/zoo/"): run for run in outcome["result"]}
    assert set(runs) == {"bare", "odd", "gone", "lost", "wrong", "cut"}
    assert runs["bare"]["name"] == "bare" and runs["bare"]["history"] == {}
    assert runs["odd"]["result"]["dataset"] == "digits" and runs["odd"]["result"]["macs"] == 5
    assert not {"val_top1", "seed"} & runs["odd"]["result"].keys()
    assert all(run["evaluation"] is None for run in runs.values())
    messages = "\n".join(outcome["messages"])
    for part in (
        "other (of another program): it has neither epochs nor figures of the zoo; this run is left out.",
        "odd (odd): seed='no', val_top1=7 are invalid and ignored",
        f"gone (gone): its confusion matrix cannot be read (W&B has no file {TABLE}); the run is shown without",
        "lost (lost): its confusion matrix cannot be read (HTTP 404); the run is shown without its classes.",
        "wrong (wrong): its confusion matrix cannot be read (confusion has [0, 0, -1], which is no",
        "cut (cut\ufffd[2J): W&B gave 2 of 3 rows of its history.",
    ):
        assert part in messages
    assert len(outcome["messages"]) == 6


def test_the_entity_of_the_key_and_a_project_that_is_not_there(tmp_path, server):
    outcome = call(tmp_path, server.url, READ.replace("lab/zoo", "zoo"))
    assert "There is no run to compare in lab/zoo" in outcome["error"] and "it is empty" in outcome["error"]
    outcome = call(tmp_path, server.url, READ.replace("lab/zoo", "lab/zo"))
    assert outcome["error"].startswith(f"There is no project lab/zo on {server.url} that this API key may read")
    server.entity = None
    outcome = call(tmp_path, server.url, READ.replace("lab/zoo", "zoo"))
    assert outcome["error"].endswith("name the project as ENTITY/zoo.")


def test_a_name_that_is_no_project_asks_nobody():
    assert split_project("lab/my zoo+") == ("lab", "my zoo+") and split_project("zoo") == (None, "zoo")
    for text in ("", "a/b/c", "lab/", "/zoo", "lab/z#", "lab/ zoo", "lab/z\x1boo"):
        with pytest.raises(UserError, match=" names no project on W&B: write ENTITY/PROJECT") as error:
            split_project(text)
        assert "\x1b" not in str(error.value)
    with pytest.raises(UserError, match="lab/zoo for instance"):
        split_project("https://wandb.ai/lab/zoo")


@pytest.mark.parametrize(
    "operation, answer, sentence",
    [
        pytest.param("*", 401, "refuses logging in (HTTP 401: denied)", marks=pytest.mark.heavy),
        ("Runs", 403, "refuses reading lab/zoo (HTTP 403: denied)"),
        pytest.param("Runs", 500, "answers HTTP 500 (reading lab/zoo)", marks=pytest.mark.heavy),
        ("RunFullHistory", "nothing", "did not answer within 4 s (reading the history of lab/zoo/r0)"),
        pytest.param("file", "nothing", "(reading the confusion matrix of lab/zoo/r0)", marks=pytest.mark.heavy),
    ],
)
def test_a_server_that_refuses_or_fails_ends_in_a_sentence_and_in_time(tmp_path, server, operation, answer, sentence):
    server.runs = [run_node("r0", "run", "finished", CONFIG, SUMMARY, ROWS)]
    server.files[TABLE] = MATRIX
    server.answers[operation] = answer
    began = time.monotonic()
    outcome = call(tmp_path, server.url, READ, timeout=TIMEOUT)
    assert outcome["error"].startswith(server.url) and sentence in outcome["error"]
    assert outcome["error"].count("\n") == 0 and not outcome["chained"]
    assert time.monotonic() - began < 3 * TIMEOUT + 10  # leaving the process does not wait for the server either


def test_a_server_that_is_not_there(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    outcome = call(tmp_path, url, READ, timeout=TIMEOUT)
    assert outcome["error"] == f"{url} cannot be reached (logging in): connection refused."


def test_a_time_that_is_none(monkeypatch):
    for text in ("soon", "0", "-1", "1.5"):
        monkeypatch.setenv("WANDB_HTTP_TIMEOUT", text)
        with pytest.raises(UserError, match=f"WANDB_HTTP_TIMEOUT='{text}' is not allowed: it is in whole seconds, 20"):
            connect()


@pytest.mark.parametrize(
    "variables, sentence",
    [
        ({"WANDB_API_KEY": None}, "needs an API key: set one with `wandb login` or WANDB_API_KEY."),
        ({"WANDB_API_KEY": KEY[:30]}, "The API key of W&B is malformed"),
        ({"WANDB_BASE_URL": "nowhere"}, "A WANDB_* variable or W&B's settings file is not valid"),
    ],
)
def test_settings_that_cannot_be_ask_nobody(tmp_path, server, variables, sentence):
    outcome = call(tmp_path, variables.pop("WANDB_BASE_URL", server.url), READ, **variables)
    assert sentence in outcome["error"] and server.asked == []
    assert KEY[:30] not in json.dumps(outcome)


def test_offline_mode_is_about_logging_alone(tmp_path, server):
    server.runs = [run_node("r1", "run", "finished", CONFIG, {"val_top1": 0.5})]
    assert len(call(tmp_path, server.url, READ, WANDB_MODE="offline")["result"]) == 1
