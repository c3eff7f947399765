"""The runs of a sweep, each in a process of its own: figures of their own, and nothing left behind by a stop."""

import json
import os
import signal
import subprocess
import time

import pytest

from helpers.training import TINY, command, read_run


def sweep(data_dir, cwd, *options):
    """A sweep of two runs over seeds, its standard error open to read."""
    arguments = ["-m", *TINY, "tracking=disabled", "hydra.sweep.dir=sweep", "seed=0,1", "limit_steps=4", *options]
    return subprocess.Popen(command(data_dir, *arguments), stderr=subprocess.PIPE, text=True, cwd=cwd)


def read_until(process, text) -> str:
    """What the process has said up to the line that has `text`."""
    output = ""
    while text not in output:
        output += (line := process.stderr.readline())
        assert line, output
    return output


def result_in(directory):
    return json.loads((directory / "result.json").read_text())


def alive(pid) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.heavy
def test_ctrl_c_reaches_the_run_once_and_ends_the_sweep(data_dir, tmp_path):
    process = sweep(data_dir, tmp_path, "recipe.epochs=500", "recipe.warmup_epochs=0")
    output = read_until(process, "epoch   1/500")
    process.send_signal(signal.SIGINT)
    output += process.communicate(timeout=100)[1]
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in output, output
    assert output.count("saving the model") == 1
    rows, result = read_run(tmp_path / "sweep" / "0")
    assert result["status"] == "interrupted" and result["epochs"] == len(rows) >= 1
    assert (tmp_path / "sweep" / "0" / "model.keras").exists()
    assert not (tmp_path / "sweep" / "1" / "result.json").exists()


@pytest.mark.heavy
@pytest.mark.parametrize("killed", ["run", "sweep"])
def test_one_of_the_two_processes_is_killed(killed, data_dir, tmp_path):
    process = sweep(data_dir, tmp_path, "recipe.epochs=500", "recipe.warmup_epochs=0")
    read_until(process, "epoch   1/500")
    pid = result_in(tmp_path / "sweep" / "0")["process"]["pid"]
    if killed == "run":
        os.kill(pid, signal.SIGKILL)
        output = read_until(process, "This run failed, the sweep goes on")
        assert "ended by SIGKILL, which the system sends where memory is short" in output
        process.send_signal(signal.SIGINT)  # the second run, which has been started, is stopped before it trains
        assert process.wait(timeout=100) == 130
        assert not (tmp_path / "sweep" / "1" / "model.keras").exists()
    else:
        process.kill()
        process.wait()
        end = time.monotonic() + 60
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert not alive(pid)
        assert result_in(tmp_path / "sweep" / "0")["status"] == "interrupted"
    process.stderr.close()


@pytest.mark.heavy
def test_a_sweep_that_is_started_again_goes_on_with_what_is_not_finished(data_dir, tmp_path):
    options = ["recipe.epochs=12", "recipe.warmup_epochs=0", "resume=auto"]
    process = sweep(data_dir, tmp_path, *options)
    while not (tmp_path / "sweep" / "1" / "checkpoints" / "epoch-0001.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=100)[1]
    assert process.returncode in (143, -signal.SIGTERM) and "Traceback" not in err, err
    assert [result_in(tmp_path / "sweep" / run)["status"] for run in "01"] == ["finished", "interrupted"]
    first = (tmp_path / "sweep" / "0" / "result.json").read_bytes()
    process = sweep(data_dir, tmp_path, *options)
    err = process.communicate(timeout=200)[1]
    assert process.returncode == 0 and "sweep/0: this run is finished, and is not started again." in err, err
    assert "Goes on from" in err and (tmp_path / "sweep" / "0" / "result.json").read_bytes() == first
    rows, result = read_run(tmp_path / "sweep" / "1")
    assert [row["epoch"] for row in rows] == list(range(1, 13)) and result["status"] == "finished"
