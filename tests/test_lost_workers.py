"""Whole trainings by several processes: what they write, a worker that is lost, and going on with another number."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.checks import refusal
from helpers.processes import process_environment
from helpers.training import command, compose_config, read_run
from zoo.distribution.lost import LostWorkerError
from zoo.errors import UserError
from zoo.training.local_workers import free_addresses
from zoo.training.messages import exit_code
from zoo.training.start import start

STEPS = 12  # of an epoch
# A network without batch normalisation: with it, those on images of 8 pixels are so ill-conditioned that a batch in
# reverse order has other losses in one process, in the third digit after two steps.
SETTINGS = [
    "model=named",
    "model.variant=convnext_atto",
    "tracking=disabled",
    "recipe.epochs=2",
    f"limit_steps={STEPS}",
    "recipe.batch_size=31",
]
SETTINGS += ["recipe.warmup_epochs=0", "deterministic=true", "checkpoints.every_steps=3", "recipe.optimizer=sgd"]
SETTINGS += ["recipe.learning_rate=0.005"]
WORKERS = ["distribution=multi_worker", "distribution.synchronise_statistics=true", "distribution.timeout_seconds=20"]


@pytest.mark.parametrize(
    "overrides, variables, words",
    [
        (["distribution=multi_worker"], {}, "finds no other worker"),
        (["distribution=multi_worker"], {"TF_CONFIG": "{"}, "is no JSON"),
        (["distribution=mirrored"], {"KERAS_BACKEND": "jax"}, "see docs/cluster.md"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, monkeypatch, overrides, variables, words):
    for name in ("TF_CONFIG", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    message = refusal(lambda: start(compose_config(*overrides), tmp_path / "run"), UserError)
    assert words in message and not (tmp_path / "run").exists()


def test_a_scheduler_knows_a_lost_worker_by_the_exit_code():
    assert (exit_code(LostWorkerError("")), exit_code(UserError(""))) == (75, 1)


def started(data_dir, directory, count, *more):
    """The processes of `count` workers, or of one without a strategy."""
    addresses = free_addresses(count)
    processes = []
    for worker in range(max(count, 1)):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}}
        variables = {"TF_CONFIG": json.dumps(task)} if count else {}
        settings = [*SETTINGS, f"hydra.run.dir={directory}", *(WORKERS if count else []), *more]
        environment = process_environment(("TF_CONFIG", "SLURM"), **variables)
        with Path(f"{directory}.{worker}.log").open("w") as log:
            processes.append(subprocess.Popen(command(data_dir, *settings), env=environment, stdout=log, stderr=log))
    return processes


def ended(processes, seconds=600):
    return [process.wait(seconds) for process in processes]


def said(directory, worker=0):
    return Path(f"{directory}.{worker}.log").read_text()


def wait_for_checkpoint(directory, seconds=400):
    end = time.monotonic() + seconds
    while not list(directory.glob("checkpoints/epoch-0000-step-000006*")):
        assert time.monotonic() < end, said(directory)
        time.sleep(0.05)


def weights(directory):
    return keras.models.load_model(directory / "model.keras", compile=False).get_weights()


def figures(directory):
    keys = ("epoch", "train/loss", "train/top1", "val/loss", "val/top1")
    return [[row[key] for key in keys] for row in read_run(directory)[0]]


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("workers") / "run"
    assert ended(started(data_dir, directory, 2)) == [0, 0], said(directory)
    return directory


@pytest.mark.heavy
def test_two_workers_leave_what_one_process_leaves(data_dir, undisturbed, tmp_path):
    assert ended(started(data_dir, tmp_path / "one", 0)) == [0]
    np.testing.assert_allclose(figures(undisturbed), figures(tmp_path / "one"), atol=1e-4)
    names = {path.name for path in undisturbed.iterdir()} - {"train.log"}  # which is there where something was logged
    assert names == {path.name for path in (tmp_path / "one").iterdir()} - {"train.log"}
    assert "epoch" not in said(undisturbed, 1), "the chief alone says what happens"
    _, result = read_run(undisturbed)
    assert result["distribution"]["replicas"] == 2 and result["val_top1"] == figures(undisturbed)[-1][-1]


@pytest.mark.heavy
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_worker_ends_the_other_and_the_training_goes_on(data_dir, undisturbed, tmp_path, worker, number):
    directory = tmp_path / "run"
    processes = started(data_dir, directory, 2)
    wait_for_checkpoint(directory)
    processes[worker].send_signal(number)
    began = time.monotonic()
    assert processes[1 - worker].wait(100) == 75
    assert time.monotonic() - began < 60
    assert f"The training has lost worker {worker} (127.0.0.1:" in said(directory, 1 - worker)
    processes[worker].kill()
    processes[worker].wait()
    assert ended(started(data_dir, directory, 2, "resume=auto")) == [0, 0], said(directory)
    for own, expected in zip(weights(directory), weights(undisturbed), strict=True):
        np.testing.assert_array_equal(own, expected)
    assert figures(directory) == figures(undisturbed)


@pytest.mark.heavy
def test_sigterm_ends_all_workers_and_one_process_goes_on(data_dir, undisturbed, tmp_path):
    directory = tmp_path / "run"
    processes = started(data_dir, directory, 2)
    wait_for_checkpoint(directory)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert ended(processes, 100) == [143, 143], said(directory)
    assert ended(started(data_dir, directory, 0, "resume=auto")) == [0], said(directory)
    np.testing.assert_allclose(figures(directory), figures(undisturbed), atol=1e-3)


@pytest.mark.heavy
def test_workers_of_this_machine_are_started_by_the_chief(data_dir, tmp_path):
    directory = tmp_path / "run"
    os.environ.pop("TF_CONFIG", None)
    more = ["distribution=multi_worker", "distribution.workers=2", "distribution.batch_size=per_replica"]
    assert ended(started(data_dir, directory, 0, *more)) == [0], said(directory)
    assert "learning rate 0.01, 2 times 0.005" in said(directory)
    _, result = read_run(directory)
    assert result["config"]["recipe"]["batch_size"] == 62
