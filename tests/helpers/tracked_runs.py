"""Runs that are tracked with the real W&B client, each set of them in a process of its own, and how they end."""

import json
import subprocess
import sys
from pathlib import Path

from helpers.wandb_client import KEY, environment, history, inspect

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
    outcome, slowest, opening = dict(index=index), 0.0, time.monotonic()
    resolved = dict(model=dict(name="resnext", depths=[3, 4]), command="train --key=" + key, secrets=[key])
    try:
        with open_run(config, name=f"run{index}", group="digits", resolved=resolved,
                      directory=directory / str(index)) as tracker:
            outcome.update(opened=time.monotonic() - opening, mode=tracker.mode, url=tracker.url, id=tracker.id,
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
        outcome["raised"] = type(error).__name__
    else:
        outcome["closed"] = time.monotonic() - closing
    print(json.dumps(dict(outcome, slowest=slowest)), flush=True)

for index in range(int(sys.argv[4])):
    one(index)
"""


def command(tmp_path, mode, event="", count=1, init_timeout=60, finish_timeout=60):
    arguments = [tmp_path / "run", mode, event, count, init_timeout, finish_timeout]
    return [sys.executable, "-c", SCRIPT, *map(str, arguments)]


def start(command, tmp_path, **variables):
    pipe = subprocess.PIPE
    env = environment(tmp_path / "home", **variables)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=env)


def finish(process, tmp_path):
    """What the script told, and what it printed to standard error; nothing anywhere holds the key."""
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in out + err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], err


def assert_kept_offline(outcome, err, reason):
    assert outcome["mode"] == "offline" and outcome["url"] is None
    assert err.count("\n") == 1 and reason in err, err
    directory = Path(outcome["offline"])
    relative = directory.relative_to(directory.parents[3])
    assert f"`wandb sync {relative}`" in err and f"`wandb leet {relative}`" in err
    assert [row["epoch"] for row in history(inspect(directory))] == [0, 1, 2]
    assert [path.name for path in directory.parent.glob("*run-*")].count(directory.name) == 1
    assert not list(directory.parent.glob("run-*"))
