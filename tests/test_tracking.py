"""Runs with the real W&B client: against no server, broken ones, and one that answers what a run needs."""

import json
import os
import pty
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.wandb_server import Server

ROOT = Path(__file__).parents[1]
WANDB = [sys.executable, "-m", "wandb"]
KEY = "0123456789abcdef" * 3  # well formed and nobody's
TIMEOUT = 2.0  # seconds, for servers that will not answer

# Runs in a process of its own: W&B reads the environment once a process. argv: directory, mode, what happens,
# how many runs, the timeouts.
SCRIPT = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from zoo.tracking.run import open_run
from zoo.tracking.config import TrackingConfig

directory, mode, event = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
waits = dict(init_timeout_seconds=float(sys.argv[5]), finish_timeout_seconds=float(sys.argv[6]))
config = TrackingConfig(mode=mode, **waits)
key = os.environ.get("WANDB_API_KEY") or os.environ.get("LEAKED", "")

def one(index):
    told, slowest, opening = dict(index=index), 0.0, time.monotonic()
    resolved = dict(model=dict(name="resnext", depths=[3, 4]), command="train --key=" + key, secrets=[key])
    try:
        with open_run(config, name=f"run{index}", group="digits", resolved=resolved,
                      directory=directory / str(index)) as tracker:
            told.update(opened=time.monotonic() - opening, mode=tracker.mode, url=tracker.url, id=tracker.id,
                        directory=str(tracker.directory), offline=str(tracker.offline_directory))
            for epoch in range(3):
                began = time.monotonic()
                top1 = epoch + index / 10 if epoch else None
                metrics = {"train/loss": 1 / (epoch + 1), "val/loss": float("nan"), "val/top1": top1}
                tracker.log({"epoch": epoch, **metrics}, step=epoch)
                slowest = max(slowest, time.monotonic() - began)
                if epoch == 0 and event == "break":
                    print("break", flush=True)
                    sys.stdin.readline()
                if epoch == 0 and index == 0 and event == "kill":
                    me = str(os.getpid())
                    os.kill(int(subprocess.check_output(["pgrep", "-P", me, "wandb-core"]).split()[0]), 9)
                    time.sleep(0.5)
            if event == "killed":
                time.sleep(1.5)
                os.kill(os.getpid(), 9)
            tracker.summarise({"parameters": 25_028_904})
            if event == "ends":
                if index == 1:
                    raise RuntimeError("boom")
                if index == 2:
                    signal.raise_signal(signal.SIGINT)
            closing = time.monotonic()
    except BaseException as error:
        told["raised"] = type(error).__name__
    else:
        told["closed"] = time.monotonic() - closing
    print(json.dumps(dict(told, slowest=slowest)), flush=True)

for index in range(int(sys.argv[4])):
    one(index)
"""


@pytest.fixture
def server(request):
    server = Server(getattr(request, "param", "well"))
    yield server
    server.http.shutdown()
    server.http.server_close()


def environment(home, **variables):
    home.mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return clean | {"HOME": str(home), "NETRC": str(home / "netrc"), "PYTHONPATH": str(ROOT)} | variables


def command(tmp_path, mode, event="", count=1, init_timeout=60, finish_timeout=60):
    arguments = [tmp_path / "run", mode, event, count, init_timeout, finish_timeout]
    return [sys.executable, "-c", SCRIPT, *map(str, arguments)]


def start(command, tmp_path, **variables):
    pipe = subprocess.PIPE
    env = environment(tmp_path / "home", **variables)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=env)


def ended(process, tmp_path):
    """What the script told, and what it printed to standard error; nothing anywhere holds the key."""
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in out + err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], err


def inspect(directory):
    """The records of a run as W&B's own reader prints them."""
    reader = [*WANDB, "leet", "inspect", "--json", str(directory)]
    variables = environment(Path(directory) / "home")
    done = subprocess.run(reader, capture_output=True, text=True, check=True, env=variables)
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(records):
    """The rows of the epochs; those of tables are left out."""
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    return [row for row in rows if not any(key.endswith("._type") for key in row)]


def assert_kept_offline(told, err, reason):
    assert told["mode"] == "offline" and told["url"] is None
    assert err.count("\n") == 1 and reason in err, err
    directory = Path(told["offline"])
    relative = directory.relative_to(directory.parents[3])
    assert f"`wandb sync {relative}`" in err and f"`wandb leet {relative}`" in err
    assert [row["epoch"] for row in history(inspect(directory))] == [0, 1, 2]
    assert [path.name for path in directory.parent.glob("*run-*")].count(directory.name) == 1
    assert not list(directory.parent.glob("run-*"))


def test_a_run_without_a_key_is_kept_offline_and_asks_nobody(tmp_path):
    ours, theirs = pty.openpty()  # W&B asks for a key where it sees a terminal
    variables = environment(tmp_path / "home", TERM="xterm")
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    subprocess.run(command(tmp_path, "online"), **terminal, cwd=tmp_path, env=variables, timeout=30)
    printed = os.read(ours, 65536).decode().replace("\r", "")
    os.close(ours), os.close(theirs)
    err, told = printed.strip().split("\n")
    assert_kept_offline(json.loads(told), err + "\n", "no API key is configured")


def test_each_run_of_a_process_is_its_own_and_ends_as_it_ended(tmp_path):
    told, err = ended(start(command(tmp_path, "offline", "ends", count=3), tmp_path), tmp_path)
    assert len({run["id"] for run in told}) == 3
    assert [run.get("raised") for run in told] == [None, "RuntimeError", "KeyboardInterrupt"]
    assert "Traceback" not in err and err.count("\n") == 3
    for run, exit_code in zip(told, (0, 1, 1), strict=True):
        records = inspect(run["directory"])
        assert records[-1]["exit"] == {"exit_code": exit_code}
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


def test_a_server_that_cannot_be_reached_costs_the_timeout_and_nothing_else(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    began = time.monotonic()
    (told,), err = ended(
        start(command(tmp_path, "auto", init_timeout=TIMEOUT), tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=url),
        tmp_path,
    )
    assert TIMEOUT < told["opened"] < TIMEOUT + 5
    assert time.monotonic() - began < TIMEOUT + 10  # leaving the process does not wait for it either
    assert_kept_offline(told, err, f"{url} could not be reached within 2 s")


@pytest.mark.parametrize("server", ["nothing", 500], indirect=True)
def test_a_server_that_does_not_answer_costs_the_timeout_and_nothing_else(tmp_path, server):
    began = time.monotonic()
    script = command(tmp_path, "online", init_timeout=TIMEOUT)
    (told,), err = ended(start(script, tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url), tmp_path)
    assert TIMEOUT < told["opened"] < TIMEOUT + 5
    assert time.monotonic() - began < TIMEOUT + 10
    assert_kept_offline(told, err, "could not be reached within 2 s")
    assert ("(HTTP 500)" in err) == (server.answer == 500)


@pytest.mark.parametrize("server", [401], indirect=True)
@pytest.mark.parametrize(
    "key, reason", [(KEY, "refused the run (denied"), (KEY[:30], "malformed")], ids=["refused", "short"]
)
def test_an_invalid_key_keeps_the_run_offline(tmp_path, server, key, reason):
    process = start(command(tmp_path, "online"), tmp_path, WANDB_API_KEY=key, WANDB_BASE_URL=server.url)
    (told,), err = ended(process, tmp_path)
    assert key not in err
    assert_kept_offline(told, err, reason)


def test_a_run_reaches_a_server_with_a_key_from_netrc(tmp_path, tmp_path_factory, server):
    netrc = tmp_path_factory.mktemp("key") / "netrc"
    netrc.write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
    variables = {"WANDB_BASE_URL": server.url, "NETRC": str(netrc), "LEAKED": KEY}
    (told,), err = ended(start(command(tmp_path, "auto"), tmp_path, **variables), tmp_path)
    assert told["mode"] == "online" and told["offline"] == "None"
    assert told["url"] == f"{server.url}/lab/grouped-convolutions/runs/{told['id']}"
    assert err == f"W&B: {told['url']}\n"
    assert [row["epoch"] for row in server.history] == [0, 1, 2]


@pytest.mark.parametrize("answer", ["nothing", 500])
def test_a_server_lost_midway_delays_no_epoch_and_the_run_can_be_uploaded_later(tmp_path, server, answer):
    script = command(tmp_path, "auto", "break", finish_timeout=TIMEOUT)
    process = start(script, tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    assert process.stdout.readline() == "break\n"
    server.answer = answer
    process.stdin.write("\n")
    (told,), err = ended(process, tmp_path)
    assert told["slowest"] < 1
    assert told["closed"] < TIMEOUT + 3
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


def test_training_outlives_the_service_and_the_next_run_is_tracked(tmp_path):
    told, err = ended(start(command(tmp_path, "offline", "kill", count=2), tmp_path), tmp_path)
    assert "no longer tracked" in err and "Traceback" not in err
    assert [run.get("raised") for run in told] == [None, None]
    assert [row["epoch"] for row in history(inspect(told[1]["directory"]))] == [0, 1, 2]


def test_the_environment_decides_in_mode_auto(tmp_path):
    process = start(command(tmp_path, "auto"), tmp_path, WANDB_MODE="offline", WANDB_API_KEY=KEY)
    (told,), err = ended(process, tmp_path)
    assert_kept_offline(told, err, "WANDB_MODE is offline")
    (told,), err = ended(start(command(tmp_path, "auto"), tmp_path, WANDB_MODE="off"), tmp_path)
    assert told["raised"] == "ValueError"


def test_disabled_tracking_and_the_modules_import_nothing_heavy(tmp_path):
    python, option, code, *arguments = command(tmp_path, "disabled")
    code = "import zoo.training.record, zoo.environment\n" + code
    code += "assert not {'wandb', 'tensorflow', 'keras'} & set(sys.modules)"
    variables = environment(tmp_path / "home")
    done = subprocess.run([python, option, code, *arguments], capture_output=True, text=True, env=variables)
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout)["mode"] == "disabled"
    assert not (tmp_path / "run").exists()
