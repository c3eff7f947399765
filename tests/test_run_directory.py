"""A run takes a directory for itself alone, and only where nothing that another has learnt would be replaced."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from helpers.paths import ROOT
from helpers.processes import process_environment
from zoo.training.files import RecordError
from zoo.training.run_directory import LOCK_FILE, claimed

ROW = "epoch,train/loss,val/loss\n1,2.5,nan\n"
DIVERGED = "epoch,train/loss,val/loss\n1,nan,\n2,inf,\n"


def status(text):
    return {"result.json": json.dumps({"status": text})}


def fill(directory, files):
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def refused(directory, match):
    composition = {"config.yaml": "seed: 1"}
    with pytest.raises(RecordError, match=match), claimed(directory, composition):
        pytest.fail("the directory was claimed")


def contents(directory):
    return {path.name: path.read_text() for path in directory.iterdir()}


@pytest.mark.parametrize(
    "files, named",
    [
        ({**status("finished"), "model.keras": "m", "metrics.csv": ROW}, "model.keras and metrics.csv .* (finished)"),
        ({**status("interrupted"), "model.keras": "m"}, "model.keras .* (interrupted)"),
        ({**status("failed"), "metrics.csv": ROW}, "metrics.csv .* (failed)"),
        ({**status("running"), "metrics.csv": ROW}, "metrics.csv .* that was killed"),
        (status("finished"), "result.json .* (finished)"),
        ({"model.keras": "m"}, "model.keras of an earlier run,"),
        ({"evaluation.json": "{}", **status("running")}, "evaluation.json of an earlier run that was killed"),
        ({"metrics.csv": "no table"}, "metrics.csv of an earlier run,"),
        ({"metrics.csv": "epoch,train/loss\n1"}, "metrics.csv of an earlier run,"),  # cut off
        ({"result.json": '{"sta'}, "result.json of an earlier run,"),
        ({"result.json": '["of another program"]'}, "result.json of an earlier run,"),
        ({**status("finished"), "part.model.keras": "half", ".hydra": "kept"}, "result.json .* (finished)"),
    ],
)
def test_what_has_been_learnt_stays_to_the_last_byte(tmp_path, files, named):
    fill(tmp_path, files)
    expected = named.replace("(", r"\(").replace(")", r"\)")
    refused(tmp_path, rf"holds {expected}.* hydra.run.dir=PATH .*, or remove it first\.$")
    assert contents(tmp_path) == files


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"notes.txt": "mine", "model.h5": "mine"},
        status("failed"),
        status("interrupted"),
        status("running"),
        {**status("failed"), "metrics.csv": DIVERGED},
        {**status("running"), "metrics.csv": "epoch,train/loss\n"},
    ],
)
def test_a_run_that_has_learnt_nothing_makes_room(tmp_path, files):
    parts = {f"part.{name}": "half" for name in ("model.keras", "result.json", "metrics.csv", "evaluation.json")}
    fill(tmp_path, {**files, **parts})
    with claimed(tmp_path, {"config.yaml": "seed: 1"}):
        assert (tmp_path / ".hydra" / "config.yaml").read_text() == "seed: 1"
        (tmp_path / ".hydra" / "config.yaml").unlink()
        (tmp_path / ".hydra").rmdir()
        assert {name: text for name, text in contents(tmp_path).items() if name != LOCK_FILE} == files
        (tmp_path / "model.keras").write_text("learnt")
    assert LOCK_FILE not in contents(tmp_path)
    refused(tmp_path, "holds model.keras")


def test_a_directory_in_use_names_the_process_until_that_is_killed(tmp_path):
    code = f"""if True:
        import sys
        from pathlib import Path
        from zoo.training.run_directory import claimed
        with claimed(Path({str(tmp_path / "run")!r})):
            print("claimed", flush=True)
            sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=process_environment(),
    )  # fmt: skip
    assert other.stdout.readline() == "claimed\n"
    expected = (
        rf"run is in use by another run \(process {other.pid} on {socket.gethostname()}, since 20.*hydra.run.dir="
    )
    with pytest.raises(RecordError, match=expected), claimed(tmp_path / "run"):
        pytest.fail("the directory was claimed twice")
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with claimed(tmp_path / "run"):
        refused(tmp_path / "run", f"process {os.getpid()} ")


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "run", r"^Cannot write .*file/run: Not a directory; .*run.dir=PATH.$")
    if os.geteuid():  # root may write everywhere
        tmp_path.chmod(0o500)
        refused(tmp_path, "Permission denied")
        tmp_path.chmod(0o700)


def test_a_refused_command_changes_no_file_of_hydra_either(tmp_path):
    fill(tmp_path, {**status("finished"), "model.keras": "m", "metrics.csv": ROW, "train.log": "old\n"})
    fill(tmp_path / ".hydra", {"config.yaml": "seed: 7", "hydra.yaml": "", "overrides.yaml": ""})
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    for options in (["seed=2"], ["seed=-1"], ["-m", "seed=2,3", "hydra.sweep.subdir=."]):
        place = "hydra.sweep.dir" if "-m" in options else "hydra.run.dir"
        command = [sys.executable, str(ROOT / "train.py"), "debug=fast", f"{place}={tmp_path}", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=process_environment())
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert (
            "seed=-1 is not allowed" if "seed=-1" in options else "holds model.keras and metrics.csv"
        ) in done.stderr
        after = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
        assert {path: text for path, text in after.items() if path.name != "multirun.yaml"} == before
