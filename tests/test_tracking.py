"""Runs with the real W&B client: against no server, broken ones, and one that answers what a run needs."""

import json
import os
import pty
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

from helpers.tracked_runs import TIMEOUT, assert_kept_offline, command, finish, start
from helpers.wandb_client import KEY, WANDB, environment, history, inspect
from helpers.wandb_server import Server


@pytest.fixture
def server(request):
    server = Server(getattr(request, "param", "well"))
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_run_without_a_key_is_kept_offline_and_asks_nobody(tmp_path):
    ours, theirs = pty.openpty()  # W&B asks for a key where it sees a terminal
    variables = environment(tmp_path / "home", TERM="xterm")
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    subprocess.run(command(tmp_path, "online"), **terminal, cwd=tmp_path, env=variables, timeout=30)
    printed = os.read(ours, 65536).decode().replace("\r", "")
    os.close(ours), os.close(theirs)
    err, outcome = printed.strip().split("\n")
    assert_kept_offline(json.loads(outcome), err + "\n", "no API key is configured")


def test_each_run_of_a_process_is_its_own_and_ends_as_it_ended(tmp_path):
    runs, err = finish(start(command(tmp_path, "offline", "ends", count=3), tmp_path), tmp_path)
    assert len({run["id"] for run in runs}) == 3
    assert [run.get("raised") for run in runs] == [None, "RuntimeError", "KeyboardInterrupt"]
    assert "Traceback" not in err and err.count("\n") == 3
    for run, exit_code in zip(runs, (0, 1, 1), strict=True):
        records = inspect(run["directory"])
        assert records[-1]["exit"]["exit_code"] == exit_code  # beside whole seconds of "runtime", where it took one
        (opened,) = [record["run"] for record in records if record["type"] == "run"]
        assert (opened["display_name"], opened["run_group"]) == (f"run{run['index']}", "digits")
        assert opened["config"]["update"]["model"] == {"name": "resnext", "depths": [3, 4]}
        assert {"commit", "dirty", "versions"} <= opened["config"]["update"].keys()
        summaries = [record["summary"]["update"] for record in records if record["type"] == "summary"]
        assert {"parameters": 25_028_904} in summaries
        assert [record for record in records if record.get("metric", {}).get("step_metric") == "epoch"]
        rows = history(records)
        assert [row["train/loss"] for row in rows] == pytest.approx([1, 1 / 2, 1 / 3])
        assert [row.get("val/top1", 0) - run["index"] / 10 for row in rows[1:]] == pytest.approx([1, 2])
        assert "val/top1" not in rows[0]
        assert [row["val/loss"] for row in rows] == ["NaN"] * 3
        assert [row["_step"] for row in rows] == [row["epoch"] for row in rows] == [0, 1, 2]


def test_a_server_that_is_not_there_costs_nothing(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    began = time.monotonic()
    (outcome,), err = finish(
        start(command(tmp_path, "auto", init_timeout=TIMEOUT), tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=url),
        tmp_path,
    )
    assert outcome["opened"] < TIMEOUT + 5
    assert time.monotonic() - began < TIMEOUT + 10  # leaving the process does not wait for it either
    assert_kept_offline(outcome, err, f"{url} could not be reached (connection refused)")


@pytest.mark.parametrize("server", ["nothing", pytest.param(500, marks=pytest.mark.heavy)], indirect=True)
def test_a_server_that_does_not_answer_costs_seconds_and_nothing_else(tmp_path, server):
    began = time.monotonic()
    script = command(tmp_path, "online", init_timeout=TIMEOUT)
    (outcome,), err = finish(start(script, tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url), tmp_path)
    assert outcome["opened"] < TIMEOUT + 5
    assert time.monotonic() - began < TIMEOUT + 10
    detail = "(HTTP 500): it has a fault of its own" if server.answer == 500 else "within 2 s (no answer)"
    assert_kept_offline(outcome, err, f"could not be reached {detail}")


@pytest.mark.parametrize("server", [401], indirect=True)
@pytest.mark.parametrize(
    "key, reason", [(KEY, "refused the run (denied"), (KEY[:30], "malformed")], ids=["refused", "short"]
)
def test_an_invalid_key_keeps_the_run_offline(tmp_path, server, key, reason):
    process = start(command(tmp_path, "online"), tmp_path, WANDB_API_KEY=key, WANDB_BASE_URL=server.url)
    (outcome,), err = finish(process, tmp_path)
    assert key not in err
    assert_kept_offline(outcome, err, reason)


def test_a_run_reaches_a_server_with_a_key_from_netrc(tmp_path, tmp_path_factory, server):
    netrc = tmp_path_factory.mktemp("key") / "netrc"
    netrc.write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
    variables = {"WANDB_BASE_URL": server.url, "NETRC": str(netrc), "LEAKED": KEY}
    (outcome,), err = finish(start(command(tmp_path, "auto"), tmp_path, **variables), tmp_path)
    assert outcome["mode"] == "online" and outcome["offline"] == "None"
    assert outcome["url"] == f"{server.url}/lab/grouped-convolutions/runs/{outcome['id']}"
    assert err == f"W&B: {outcome['url']}\n"
    assert [row["epoch"] for row in server.history] == [0, 1, 2]


@pytest.mark.heavy
@pytest.mark.parametrize("answer", ["nothing", 500])
def test_a_server_lost_midway_delays_no_epoch_and_the_run_can_be_uploaded_later(tmp_path, server, answer):
    script = command(tmp_path, "auto", "break", finish_timeout=TIMEOUT)
    process = start(script, tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    assert process.stdout.readline() == "break\n"
    server.answer = answer
    process.stdin.write("\n")
    (outcome,), err = finish(process, tmp_path)
    assert outcome["slowest"] < 1
    assert outcome["closed"] < TIMEOUT + 3
    line = err.splitlines()[-1]
    assert "not uploaded whole within 2 s" in line
    server.answer, server.history = "well", []
    advice = line.split("`")[1].split()
    assert advice[:2] == ["wandb", "sync"]
    variables = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    sync = [*WANDB, *advice[1:]]
    subprocess.run(sync, check=True, capture_output=True, cwd=tmp_path, env=variables, timeout=40)
    assert {row["epoch"] for row in server.history} == {0, 1, 2}


def test_a_killed_run_keeps_its_epochs(tmp_path):
    process = start(command(tmp_path, "offline", "killed"), tmp_path)
    process.communicate(timeout=40)
    assert process.returncode == -9
    (directory,) = tmp_path.glob("run/0/wandb/offline-run-*")
    assert [row["epoch"] for row in history(inspect(directory))] == [0, 1, 2]


@pytest.mark.heavy
def test_training_outlives_the_service_and_the_next_run_is_tracked(tmp_path):
    runs, err = finish(start(command(tmp_path, "offline", "kill", count=2), tmp_path), tmp_path)
    assert "no longer tracked" in err and "Traceback" not in err
    assert [run.get("raised") for run in runs] == [None, None]
    assert [row["epoch"] for row in history(inspect(runs[1]["directory"]))] == [0, 1, 2]


def test_the_environment_decides_in_mode_auto(tmp_path):
    process = start(command(tmp_path, "auto"), tmp_path, WANDB_MODE="offline", WANDB_API_KEY=KEY)
    (outcome,), err = finish(process, tmp_path)
    assert_kept_offline(outcome, err, "WANDB_MODE is offline")
    (outcome,), err = finish(start(command(tmp_path, "auto"), tmp_path, WANDB_MODE="off"), tmp_path)
    assert outcome["raised"] == "ValueError"


def test_disabled_tracking_and_the_modules_import_nothing_heavy(tmp_path):
    python, option, code, *arguments = command(tmp_path, "disabled")
    code = "import zoo.training.record, zoo.environment\n" + code
    code += "assert not {'wandb', 'tensorflow', 'keras'} & set(sys.modules)"
    variables = environment(tmp_path / "home")
    done = subprocess.run([python, option, code, *arguments], capture_output=True, text=True, env=variables)
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout)["mode"] == "disabled"
    assert not (tmp_path / "run").exists()


GOES_ON = """
import sys
from pathlib import Path
from zoo.tracking.config import TrackingConfig
from zoo.tracking.run import open_run

directory, run_id, first = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
with open_run(TrackingConfig(mode="online"), name="r", group="g", resolved={}, directory=directory,
              run_id=run_id) as tracker:
    for epoch in (first, first + 1):
        tracker.log({"epoch": epoch, "train/loss": 1 / epoch}, step=epoch)
    tracker.show(lambda: {"evaluation/images": epoch}, step=epoch + 1)
    print(tracker.id)
"""


def test_a_run_that_goes_on_is_the_same_run_and_loses_no_epoch(tmp_path, server):
    """Where it was stopped it has logged tables behind the last epoch."""
    variables = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)

    def goes_on(run_id, first):
        script = [sys.executable, "-c", GOES_ON, str(tmp_path / "run"), run_id, str(first)]
        done = subprocess.run(script, capture_output=True, text=True, check=True, env=variables, timeout=60)
        return done.stdout.strip()

    run_id = goes_on("", 1)
    assert goes_on(run_id, 3) == run_id and {run["name"] for run in server.runs} == {run_id}
    assert [row["epoch"] for row in server.history if "train/loss" in row] == [1, 2, 3, 4]
    steps = [row["_step"] for row in server.history]
    assert steps == sorted(set(steps)) and sum("evaluation/images" in row for row in server.history) == 2
