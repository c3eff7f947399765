"""Which processes train together, from what a scheduler says in the environment. Needs no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.distribution import slurm

TF_CONFIG = "TF_CONFIG"
CHIEF, WORKER = "chief", "worker"
EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """Workers by their addresses, host:port, and which of them this process is. Worker 0 is the chief.

    Example:
        >>> from zoo.distribution.cluster import Cluster
        >>> Cluster(("a:2222", "b:2222"), 1).tf_config()
        '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}'
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def tf_config(self) -> str:
        """The value of `TF_CONFIG` that says this."""
        cluster = {"cluster": {WORKER: list(self.addresses)}, "task": {"type": WORKER, "index": self.index}}
        return json.dumps(cluster)


def cluster_of(environment: Mapping[str, str], port: int | None = None) -> Cluster:
    """The cluster that `TF_CONFIG` or, without it, SLURM's variables describe.

    Args:
        port: under SLURM, of the first task of each node.

    Raises:
        ValueError: one sentence: neither is there, or what they say cannot be.

    Example:
        >>> from zoo.distribution.cluster import cluster_of
        >>> variables = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_NODELIST": "gpu[08-09]"}
        >>> cluster_of(variables)
        Cluster(addresses=('gpu08:20007', 'gpu09:20007'), index=1)
    """
    if environment.get(TF_CONFIG):
        cluster = _of_tf_config(environment[TF_CONFIG])
        source = TF_CONFIG
    elif "SLURM_PROCID" in environment:
        cluster = Cluster(*slurm.addresses(environment, port))
        source = "SLURM"
    else:
        raise ValueError(
            "distribution=multi_worker finds no other worker: set TF_CONFIG in each process "
            f"({EXAMPLE}), start the command with srun, or give distribution.workers=2 to try it on this machine."
        )
    if len(cluster.addresses) < 2:
        how = "start more tasks (srun --ntasks=2)" if source == "SLURM" else "name all workers"
        raise ValueError(
            f"{source} names one worker, {cluster.addresses[0]}: {how}, or use distribution=none or mirrored."
        )
    return cluster


def _of_tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"TF_CONFIG is no JSON ({error}): {_shown(text)}; it should be like {EXAMPLE}.") from None
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        missing = "cluster" if not isinstance(cluster, dict) else "task"
        raise ValueError(f'TF_CONFIG has no "{missing}": {_shown(text)}; it should be like {EXAMPLE}.')
    jobs = {job: addresses for job, addresses in cluster.items() if addresses}
    if unknown := [job for job in jobs if job not in (CHIEF, WORKER)]:
        raise ValueError(f'TF_CONFIG names {", ".join(unknown)}, and a training here has "chief" and "worker" alone.')
    for job, addresses in jobs.items():
        if not isinstance(addresses, list):
            raise ValueError(f'TF_CONFIG: "{job}" must be a list of addresses such as "host1:2222", not {addresses!r}.')
    if len(jobs.get(CHIEF, [])) > 1:
        raise ValueError(f"TF_CONFIG names {len(jobs[CHIEF])} chiefs, and there may be one: make the others workers.")
    listed = [*jobs.get(CHIEF, []), *jobs.get(WORKER, [])]
    if not listed:
        raise ValueError(f"TF_CONFIG names no worker: {_shown(text)}; it should be like {EXAMPLE}.")
    for address in listed:
        _check_address(address)
    if repeated := sorted({address for address in listed if listed.count(address) > 1}):
        raise ValueError(f"TF_CONFIG names {', '.join(repeated)} twice: each worker needs an address of its own.")
    return Cluster(tuple(listed), _index(task, jobs))


def _index(task: Mapping[str, object], jobs: Mapping[str, list[str]]) -> int:
    job, index = task.get("type"), task.get("index")
    if job not in jobs:
        raise ValueError(f"TF_CONFIG: the task is a {job!r}, and the cluster has {' and '.join(map(repr, jobs))}.")
    if isinstance(index, bool) or not isinstance(index, int | str) or not str(index).isdecimal():
        raise ValueError(f"TF_CONFIG: the task's index must be a whole number from 0, not {index!r}.")
    count = len(jobs[str(job)])
    if int(index) >= count:
        raise ValueError(
            f"TF_CONFIG: the task's index is {index}, and there are {count} of {job!r}: use 0 to {count - 1}."
        )
    return int(index) + (len(jobs.get(CHIEF, [])) if job == WORKER else 0)


def _check_address(address: object) -> None:
    host, _, port = str(address).rpartition(":")
    if not isinstance(address, str) or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"TF_CONFIG: {address!r} is no address: it must be host:port, such as host1:2222.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
