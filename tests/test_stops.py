"""Whole runs that end early: the model so far is saved whole, whatever ends them and however often."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import pytest

import blocks  # noqa: F401  (saved models hold its layers)
from helpers.paths import ROOT
from helpers.training import QUICK, command, config_with_data, read_run
from train import train


@pytest.mark.heavy
def test_a_scheduler_that_sends_its_signal_again_and_again_and_a_user_who_presses_ctrl_c_too(data_dir, tmp_path):
    options = [*QUICK, "recipe.epochs=500", "hydra.run.dir=run"]
    process = subprocess.Popen(command(data_dir, *options), stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    err = ""
    while "epoch   1/500" not in err:
        err += (line := process.stderr.readline())
        assert line, err
    later = itertools.cycle([signal.SIGINT, signal.SIGTERM])
    process.send_signal(signal.SIGTERM)  # the first one counts: its exit code, its name
    while "Stopped: saving" not in err:  # of signals that arrive within one operation Python handles Ctrl-C's first
        err += (line := process.stderr.readline())
        assert line, err
    while process.poll() is None:  # to its very end, which takes a second or two
        time.sleep(0.01)
        process.send_signal(next(later))
    err += process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "Traceback" not in err, err
    assert "Stopped: saving the model." in err and err.endswith("Stopped by SIGTERM.\n")
    assert "The same command with resume=auto hydra.run.dir=run goes on with it." in err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "interrupted" and result["epochs"] >= 1 and result["val_top1"] is not None
    assert keras.models.load_model(tmp_path / "run" / "model.keras").count_params() > result["parameters"]
    assert not list(tmp_path.glob("run/*part*"))


def test_the_exit_code_of_what_is_complete_is_no_failures(tmp_path):
    """A scheduler's signal may come while Python ends."""
    late = """if True:
        import os, runpy, signal, sys
        sys.argv = [sys.argv[1], "--cfg", "job"]
        runpy.run_path(sys.argv[0], run_name="__main__")
        os.kill(os.getpid(), signal.SIGTERM)
    """
    done = subprocess.run([sys.executable, "-c", late, ROOT / "train.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "model:" in done.stdout, done.stderr


def test_an_error_in_training_costs_nothing_that_was_learnt(data_dir, tmp_path):
    def fail(number, frame):
        raise MemoryError("none is left")

    def wait():
        path = tmp_path / "run" / "metrics.csv"
        while not path.exists() or path.read_text().count("\n") < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, fail)
    threading.Thread(target=wait, daemon=True).start()
    try:
        with pytest.raises(MemoryError):
            train(config_with_data(data_dir, *QUICK, "recipe.epochs=2000"), tmp_path / "run")
    finally:
        signal.signal(signal.SIGALRM, before)
    rows, result = read_run(tmp_path / "run")
    assert len(rows) >= 1 and (result["status"], result["error"]) == ("failed", "MemoryError: none is left")
    keras.models.load_model(tmp_path / "run" / "model.keras")
