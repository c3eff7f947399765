"""Runs that save their models while whoever waits for them is stopped: by a user, by submitit, by W&B's agent."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from helpers.processes import process_environment
from zoo.training.subprocess_run import _wait

# A run as far as it matters here: a process of that module's name, which takes half a second to save.
SAVING = """
import os, signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    open(sys.argv[1], "w").write(signal.Signals(number).name)
    sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
os.write(1, b"runs\\n")
time.sleep(60)
"""


def test_what_a_signal_raises_is_raised_when_the_run_has_saved(tmp_path):
    """So submitit ends a job whose time is over; SLURM kills what it leaves behind."""
    line = [sys.executable, "-c", SAVING, str(tmp_path / "model")]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "runs\n"

    def over(number, frame):
        raise ValueError("The time is over.")

    before = signal.signal(signal.SIGUSR2, over)
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        with pytest.raises(ValueError, match="The time is over."):
            _wait(process, "{}")
    finally:
        signal.signal(signal.SIGUSR2, before)
    process.stdout.close()
    assert process.returncode == 0 and (tmp_path / "model").read_text() == "SIGTERM"


SWEEP = f"""
import subprocess, sys
from zoo.training.parallel_runs import RUN, go_behind
from zoo.training.signals import signal_of, stop_on_signals
stop_on_signals()
try:
    go_behind()
except KeyboardInterrupt as error:
    sys.exit(128 + signal_of(error))
if sys.argv[1] == "fails":
    sys.exit(3)
models = sys.argv[1:]
runs = [subprocess.Popen([sys.executable, "-c", {SAVING!r}, model, RUN], process_group=0) for model in models]
while True:
    try:
        runs[0].wait(), runs[1].wait()
    except KeyboardInterrupt:
        for run in runs:
            run.kill()  # as joblib does
"""


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "sweep.py").write_text(SWEEP)

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "sweep.py", *arguments], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
            env=process_environment(), start_new_session=True,
        )  # fmt: skip

    return start


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_sweep_of_several_at_a_time_stops_its_runs_first(name, sweep, tmp_path):
    """Ctrl-C reaches the whole process group of the terminal, SIGTERM the process that was started."""
    process = sweep("a", "b")
    assert [process.stdout.readline() for _ in "ab"] == ["runs\n"] * 2
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, getattr(signal, name))
    process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name)
    assert [(tmp_path / model).read_text() for model in "ab"] == [name] * 2


def test_a_sweep_of_several_at_a_time_ends_with_whoever_started_it(sweep, tmp_path):
    process = sweep("a", "b")
    assert [process.stdout.readline() for _ in "ab"] == ["runs\n"] * 2
    process.kill()
    process.communicate(timeout=30)  # until the runs and their workers have let go of standard output
    assert [(tmp_path / model).read_text() for model in "ab"] == ["SIGINT"] * 2


def test_its_exit_code_is_that_of_the_sweep(sweep):
    assert sweep("fails").wait(timeout=30) == 3


@pytest.mark.parametrize(("sweep_id", "expected"), [("abc", -signal.SIGTERM), (None, 128 + signal.SIGTERM)])
def test_w_and_bs_agent_does_not_take_a_stopped_run_for_a_failed_one(sweep_id, expected):
    """It counts exit codes above 0, and gives up after five."""
    code = """
import atexit, sys, time
from zoo.training.signals import signal_of, stop_on_signals
stop_on_signals()
atexit.register(print, "ended in order")
try:
    print("runs", flush=True)
    time.sleep(30)
except KeyboardInterrupt as error:
    sys.exit(128 + signal_of(error))
"""
    variables = {"WANDB_SWEEP_ID": sweep_id} if sweep_id else {}
    env = process_environment(without=("WANDB_",), **variables)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout.readline() == "runs\n"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "ended in order\n" and process.returncode == expected
