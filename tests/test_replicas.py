"""One training by several replicas: on parts of the CPU, and by two processes that meet on loopback."""

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers.hosts import two_hosts
from helpers.paths import ROOT
from helpers.processes import process_environment
from helpers.replica_training import RECIPES, trained
from helpers.training import TINY, command, read_run
from zoo.training.local_workers import free_addresses

PROGRAM = ROOT / "tests" / "helpers" / "replica_training.py"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


@pytest.fixture(scope="module")
def alone():
    """kind -> what one process trains."""
    return {kind: trained(kind) for kind in RECIPES} | {"poisoned": trained("normalised", poisoned=True)}


def ended(processes):
    for process in processes:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors[-3000:]


def compare(actual, expected, loss=1e-4):
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        if name == "steps":
            np.testing.assert_array_equal(actual[name][:, 1], values[:, 1])
            finite = values[:, 1] == 1  # the loss of another step depends on what makes a number of NaN
            np.testing.assert_allclose(actual[name][finite], values[finite], atol=loss, rtol=0)
        elif name.startswith("metric/"):
            np.testing.assert_allclose(actual[name], values, atol=loss if "loss" in name else 1e-6, err_msg=name)
        elif values.size:
            scale = max(np.abs(values).max(), 1e-3)
            np.testing.assert_allclose(actual[name] / scale, values / scale, atol=0.02, err_msg=name)


@pytest.mark.heavy
@pytest.mark.parametrize("devices", [2, 3])
def test_parts_of_the_cpu_train_as_one(alone, tmp_path, devices):
    env = process_environment(**ENVIRONMENT, TF_NUM_INTEROP_THREADS=str(devices))
    command = [sys.executable, str(PROGRAM), str(tmp_path / "m"), str(devices)]
    ended([subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)])
    for kind, expected in alone.items():
        compare(dict(np.load(tmp_path / f"m-{kind}.npz")), expected, 1e-4 if kind != "scaled" else 5e-3)
    skipped = alone["poisoned"]["steps"][:, 1]
    assert skipped.tolist() == [1, 1, 0, *[1] * (len(skipped) - 3)], (
        "a share that is no number changes nothing anywhere"
    )


def check_two_workers(alone, folder, hosts):
    """Two processes on two hosts, each an address and the command that runs a program there, train what one does."""
    addresses = [address for address, _ in hosts]
    processes = []
    for worker, (_, prefix) in enumerate(hosts):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}}
        env = process_environment(**ENVIRONMENT, TF_NUM_INTEROP_THREADS="1", TF_CONFIG=json.dumps(task))
        command = [*prefix, sys.executable, str(PROGRAM), str(folder / str(worker)), "0"]
        processes.append(
            subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    ended(processes)
    for kind in ("plain", "normalised", "poisoned"):
        first, second = (dict(np.load(folder / f"{worker}-{kind}.npz")) for worker in (0, 1))
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        compare(first, alone[kind])
    assert len(alone["plain"]["steps"]) == 50


def test_two_workers_train_as_one(alone, tmp_path):
    check_two_workers(alone, tmp_path, [(address, []) for address in free_addresses(2)])


@pytest.mark.heavy
def test_two_workers_on_two_hosts_train_as_one(alone, tmp_path):
    with two_hosts() as hosts:
        check_two_workers(alone, tmp_path, hosts)


@pytest.mark.heavy
def test_the_command_trains_on_parts_of_the_cpu(data_dir, tmp_path):
    options = [*TINY, "tracking=disabled", "recipe.epochs=2", "limit_steps=4", "recipe.warmup_epochs=0"]
    options += ["distribution=mirrored", "distribution.devices=2", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(command(data_dir, *options), cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    rows, result = read_run(tmp_path / "run")
    assert len(rows) == 2 and result["status"] == "finished"
    assert (tmp_path / "run" / "model.keras").exists()
