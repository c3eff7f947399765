"""Which processes train together: `TF_CONFIG`, SLURM's variables, and how workers meet."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers.checks import refusal
from helpers.processes import process_environment
from helpers.training import compose_config
from zoo.distribution import slurm
from zoo.distribution.alarm import bounded
from zoo.distribution.cluster import Cluster, cluster_of
from zoo.distribution.config import DistributionConfig, check
from zoo.distribution.lost import lost_workers
from zoo.distribution.rendezvous import meet
from zoo.errors import UserError
from zoo.training.distributed import with_global_batch
from zoo.training.local_workers import free_addresses
from zoo.training.settings import as_dict
from zoo.training.settings import check as check_settings


def tf_config(cluster=None, task=None, **more):
    cluster = {"worker": ["a:2222", "b:2222"]} if cluster is None else cluster
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task or {"type": "worker", "index": 0}, **more})}


def test_tf_config_with_and_without_a_chief():
    assert cluster_of(tf_config(task={"type": "worker", "index": 1})) == Cluster(("a:2222", "b:2222"), 1)
    with_chief = {"chief": ["c:1"], "worker": ["a:1", "b:1"], "ps": []}
    assert cluster_of(tf_config(with_chief, {"type": "worker", "index": 1})) == Cluster(("c:1", "a:1", "b:1"), 2)
    assert cluster_of(tf_config(with_chief, {"type": "chief", "index": 0})).is_chief
    cluster = Cluster(("a:1", "b:1"), 1)
    assert cluster_of({"TF_CONFIG": cluster.tf_config()}) == cluster
    ipv6 = ["[::1]:5", "[fe80::1]:5"]
    assert cluster_of(tf_config({"worker": ipv6})).addresses == tuple(ipv6)


@pytest.mark.parametrize(
    "variables, words",
    [
        ({}, "finds no other worker"),
        ({"TF_CONFIG": ""}, "finds no other worker"),
        ({"TF_CONFIG": "{'cluster'"}, "is no JSON"),
        ({"TF_CONFIG": "[]"}, 'has no "cluster"'),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, 'has no "task"'),
        (tf_config({"worker": ["a:1", "b:1"], "ps": ["c:1"]}), "names ps"),
        (tf_config({"worker": "a:1"}), "must be a list"),
        (tf_config({"chief": ["a:1", "b:1"]}), "2 chiefs"),
        (tf_config({"worker": []}), "names no worker"),
        (tf_config({"worker": ["a:1", "b"]}), "'b' is no address"),
        (tf_config({"worker": ["a:1", "b:99999"]}), "'b:99999' is no address"),
        (tf_config({"worker": ["a:1", 7]}), "7 is no address"),
        (tf_config({"worker": ["a:1", "a:1"]}), "a:1 twice"),
        (tf_config({"worker": ["a:1"]}), "names one worker"),
        (tf_config(task={"type": "chief", "index": 0}), "is a 'chief'"),
        (tf_config(task={"type": "worker", "index": 2}), "index is 2"),
        (tf_config(task={"type": "worker", "index": -1}), "whole number"),
        (tf_config(task={"type": "worker", "index": True}), "whole number"),
        (tf_config(task={"type": "worker"}), "not None"),
    ],
)
def test_a_wrong_tf_config_is_one_sentence(variables, words):
    message = refusal(lambda: cluster_of(variables), ValueError)
    assert words in message and "\n" not in message


STEP = {"SLURM_JOB_ID": "12345", "SLURM_STEP_NODELIST": "node[01-03,07]", "SLURM_STEP_NUM_TASKS": "7"}
STEP |= {"SLURM_STEP_TASKS_PER_NODE": "2(x3),1", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"}


def test_slurm_names_the_tasks_of_a_step():
    cluster = cluster_of(STEP)
    assert cluster.index == 4
    first, second = 22345, 22346  # 20000 and the last four digits of the job's number
    of_two = [f"{node}:{port}" for node in ("node01", "node02", "node03") for port in (first, second)]
    assert cluster.addresses == (*of_two, f"node07:{first}")
    assert cluster_of(STEP, port=4000).addresses[:2] == ("node01:4000", "node01:4001")
    assert cluster_of({**STEP, **tf_config()}).addresses == ("a:2222", "b:2222"), "TF_CONFIG goes before"


def test_lists_of_nodes():
    assert slurm.hosts("a") == ["a"]
    assert slurm.hosts("gpu-[9-11]") == ["gpu-9", "gpu-10", "gpu-11"]
    assert slurm.hosts("n[1,03-04]x,m") == ["n1x", "n03x", "n04x", "m"]
    assert slurm.tasks_per_node("4(x2)", 2) == [4, 4]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"SLURM_STEP_NODELIST": "node[3-1]"}, "has the range '3-1'"),
        ({"SLURM_STEP_NODELIST": "node[a]"}, "has the range 'a'"),
        ({"SLURM_STEP_NODELIST": "node[1"}, "cannot be read"),
        ({"SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is missing"),
        ({"SLURM_PROCID": "x"}, "must be a whole number, not 'x'"),
        ({"SLURM_PROCID": "7"}, "contradict each other"),
        ({"SLURM_STEP_NUM_TASKS": "1"}, "contradict each other"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2,2"}, "tasks per node for 2"),
        ({"SLURM_STEP_TASKS_PER_NODE": "two"}, "should be like 2(x3),1"),
        ({"SLURM_LOCALID": "1"}, "--distribution=block"),
        ({"SLURM_JOB_ID": ""}, "SLURM_JOB_ID is missing"),
        (
            {
                "SLURM_STEP_NODELIST": "a",
                "SLURM_STEP_NUM_TASKS": "1",
                "SLURM_STEP_TASKS_PER_NODE": "1",
                "SLURM_PROCID": "0",
            },
            "names one worker",
        ),
    ],
)
def test_wrong_variables_of_slurm_are_one_sentence(change, words):
    message = refusal(lambda: cluster_of({**STEP, **change}), ValueError)
    assert words in message and "\n" not in message


@pytest.mark.parametrize(
    "values, words",
    [
        ({"strategy": "miror"}, "mean mirrored"),
        ({"strategy": "mirrored", "devices": 0}, "devices=0"),
        ({"devices": 2}, "with distribution=none"),
        ({"strategy": "multi_worker", "workers": 1}, "use at least 2"),
        ({"strategy": "multi_worker", "port": 70000}, "port=70000"),
        ({"batch_size": "replica"}, "per_replica"),
        ({"timeout_seconds": 0}, "timeout_seconds=0"),
        ({"start_timeout_seconds": float("inf")}, "start_timeout_seconds=inf"),
    ],
)
def test_wrong_settings(values, words):
    assert words in refusal(lambda: check(DistributionConfig(**values)), ValueError)


def test_settings_are_composed_and_older_runs_have_none():
    cfg = compose_config("distribution=mirrored", "distribution.devices=2")
    assert check_settings(cfg).distribution == DistributionConfig(strategy="mirrored", devices=2)
    del cfg.distribution
    assert check_settings(cfg).distribution == DistributionConfig()
    evaluated = compose_config("distribution=mirrored", "mode=evaluate", "checkpoint=x")
    assert "mode=evaluate uses one device" in refusal(lambda: check_settings(evaluated), ValueError)


def test_the_batch_of_each_replica_makes_the_global_one_and_its_rate():
    """Goyal et al. 2017, arXiv:1706.02677, section 2.1."""
    overrides = ["distribution=mirrored", "distribution.devices=4", "distribution.batch_size=per_replica"]
    overrides += ["recipe.batch_size=8", "recipe.learning_rate=0.1", "recipe.head_learning_rate=0.5"]
    cfg = compose_config(*overrides)
    settings, values = with_global_batch(check_settings(cfg), as_dict(cfg), None)
    assert (settings.recipe.batch_size, settings.recipe.learning_rate) == (32, 0.4)
    assert settings.recipe.head_learning_rate == 2.0 and settings.recipe.min_learning_rate is None
    assert values["recipe"]["learning_rate"] == 0.4 and values["distribution"]["batch_size"] == "global"
    cfg = compose_config(*overrides, "distribution.scale_learning_rate=false")
    settings, _ = with_global_batch(check_settings(cfg), as_dict(cfg), None)
    assert (settings.recipe.batch_size, settings.recipe.learning_rate) == (32, 0.1)
    cfg = compose_config(*overrides[:2], "recipe.batch_size=8")
    assert with_global_batch(check_settings(cfg), as_dict(cfg), None) == (check_settings(cfg), as_dict(cfg))


def met(clusters, identities, seconds=30.0):
    """What each worker's call of `meet` raised, or None; the last is started a little later than the others."""
    outcomes = [None] * len(clusters)

    def call(number):
        try:
            meet(clusters[number], identities[number], seconds)
        except UserError as error:
            outcomes[number] = str(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(clusters))]
    for thread in reversed(threads):
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    return outcomes


def test_workers_wait_for_each_other():
    addresses = free_addresses(3)
    assert met([Cluster(addresses, number) for number in range(3)], ["same"] * 3) == [None] * 3


def test_workers_that_are_missing_are_named():
    addresses = free_addresses(3)
    of_chief, of_worker = met([Cluster(addresses, number) for number in (0, 1)], ["same"] * 2, 1.0)
    assert of_chief.startswith(f"Worker 2 ({addresses[2]}) did not come within 1 s")
    assert of_worker == of_chief, "the chief tells the others why"
    (alone,) = met([Cluster(addresses, 1)], ["same"], 0.5)
    assert alone.startswith(f"Worker 0 ({addresses[0]}) did not come") and "refused" in alone


def test_workers_that_differ_are_refused():
    addresses = free_addresses(3)
    clusters = [Cluster(addresses, number) for number in range(3)]
    outcomes = met(clusters, ["same", "other", "same"], 3.0)
    assert all("Worker 1" in each and "other settings" in each for each in outcomes[:2])
    fewer = [Cluster(addresses[:2], 0), Cluster(addresses, 1)]
    assert "knows of 3 workers, and worker 0 of 2" in met(fewer, ["same"] * 2, 3.0)[0]
    with socket.create_server(("", int(addresses[0].rpartition(":")[2]))):
        assert "cannot listen at its address" in met(clusters[:1], ["same"], 0.5)[0]


def test_two_workers_of_one_index_are_refused():
    addresses = free_addresses(3)
    twice = (
        Cluster((addresses[0], addresses[1], addresses[2]), 1),
        Cluster((addresses[0], addresses[2], addresses[1]), 1),
    )
    outcomes = met([Cluster(addresses, 0), *twice], ["same"] * 3)
    assert all("call themselves worker 1 of 3" in each for each in outcomes)


def test_strangers_do_not_disturb():
    addresses = free_addresses(2)

    def knock():
        time.sleep(0.05)
        host, _, port = addresses[0].rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.1\n")

    clusters = [Cluster(addresses, number) for number in range(2)]
    stranger = threading.Timer(0.15, knock)
    stranger.start()
    assert met(clusters, ["same"] * 2) == [None, None]


HEARTBEAT = "Collective ops is aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"


@pytest.mark.parametrize(
    "message, index, lost",
    [
        ("tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\n", 0, [1]),
        (
            "Error reported from /job:worker/task:2: /job:worker/replica:0/task:2 /job:worker/replica:0/task:1",
            0,
            [1, 2],
        ),
        ("from remote target /job:worker/replica:0/task:0 while calling /tensorflow.WorkerService", 1, [0]),
        (HEARTBEAT, 1, [0]),
        (HEARTBEAT, 0, []),
        ("task:1", 0, []),
    ],
)
def test_the_lost_worker_is_named(message, index, lost):
    assert lost_workers(message, Cluster(("a:1", "b:1", "c:1"), index)) == lost


def test_what_holds_python_is_ended_from_outside():
    code = "import re\nfrom zoo.distribution.alarm import bounded\n"
    code += "with bounded(1, 'Too long.'): re.match('(a*)*b', 'a' * 40)"  # within one call of C
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=process_environment())
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "Too long.\n")
    with bounded(100, "never"):
        pass
