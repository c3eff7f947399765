"""The tasks of a SLURM step and their addresses, from the variables that srun sets.

TensorFlow's own `SlurmClusterResolver` runs `scontrol`, which containers lack, and gives every node the port 8888.
"""

import re
from collections.abc import Mapping

FIRST_PORT, PORTS = 20000, 10000  # below those that Linux hands out itself
NODES = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")
PER_NODE = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
PART = re.compile(r"([^,\[\]]*)(?:\[([^\]]*)\])?([^,\[\]]*)(?:,|$)")


def hosts(nodes: str) -> list[str]:
    """The hosts of a list of nodes in SLURM's notation.

    Raises:
        ValueError: one sentence, where it cannot be read.

    Example:
        >>> from zoo.distribution.slurm import hosts
        >>> hosts("login,node[01-03,07]-ib")
        ['login', 'node01-ib', 'node02-ib', 'node03-ib', 'node07-ib']
    """
    expanded: list[str] = []
    position, text = 0, nodes.strip()
    while position < len(text):
        part = PART.match(text, position)
        if part is None or part.end() == position or not part[0].strip(","):
            raise ValueError(f"SLURM's list of nodes cannot be read: {nodes!r}; it should be like node[01-03,07].")
        before, numbers, behind = part.groups()
        if numbers is None:
            expanded.append(before + behind)
        else:
            expanded += [f"{before}{number}{behind}" for number in _numbers(numbers, nodes)]
        position = part.end()
    return expanded


def _numbers(ranges: str, nodes: str) -> list[str]:
    numbers: list[str] = []
    for each in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", each)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"SLURM's list of nodes cannot be read: {nodes!r} has the range {each!r}.")
        first, last = match[1], match[2] or match[1]
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return numbers


def tasks_per_node(text: str, nodes: int) -> list[int]:
    """How many tasks each node has, from SLURM's notation.

    Raises:
        ValueError: one sentence, where it cannot be read or is of another number of nodes.

    Example:
        >>> from zoo.distribution.slurm import tasks_per_node
        >>> tasks_per_node("2(x3),1", 4)
        [2, 2, 2, 1]
    """
    counts: list[int] = []
    for each in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", each)
        if match is None:
            raise ValueError(f"SLURM's tasks per node cannot be read: {text!r}; they should be like 2(x3),1.")
        counts += [int(match[1])] * int(match[2] or 1)
    if len(counts) != nodes:
        raise ValueError(f"SLURM names {nodes} nodes, and tasks per node for {len(counts)} ({text!r}).")
    return counts


def addresses(variables: Mapping[str, str], port: int | None = None) -> tuple[tuple[str, ...], int]:
    """host:port of every task, in the order of their ranks, and the rank of this one.

    Args:
        port: of the first task of a node, the next of which have the next ones; None derives it from the job's number.

    Raises:
        ValueError: one sentence, for variables that are missing or contradict each other.

    Example:
        >>> from zoo.distribution.slurm import addresses
        >>> step = {"SLURM_STEP_NODELIST": "a,b", "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_TASKS_PER_NODE": "2,1"}
        >>> addresses({**step, "SLURM_PROCID": "2", "SLURM_JOB_ID": "12345"})
        (('a:22345', 'a:22346', 'b:22345'), 2)
    """
    nodes = hosts(_first(variables, NODES))
    rank, count = _number(variables, ("SLURM_PROCID",)), _number(variables, TASKS)
    if any(name in variables for name in PER_NODE):
        per_node = tasks_per_node(_first(variables, PER_NODE), len(nodes))
    elif count % len(nodes):
        raise ValueError(f"SLURM names {count} tasks on {len(nodes)} nodes, and not how many each has.")
    else:
        per_node = [count // len(nodes)] * len(nodes)
    if sum(per_node) != count or rank >= count:
        raise ValueError(
            f"SLURM's variables contradict each other: task {rank} of {count} ({TASKS[0]}), with {sum(per_node)} tasks "
            f"on {len(nodes)} nodes ({PER_NODE[0]}); start the workers by srun, not by sbatch alone."
        )
    if port is None:
        port = FIRST_PORT + _number(variables, ("SLURM_JOB_ID", "SLURM_JOBID")) % PORTS
    placed = [(node, place) for node, tasks in zip(nodes, per_node, strict=True) for place in range(tasks)]
    here = int(variables.get("SLURM_LOCALID", placed[rank][1]))
    if here != placed[rank][1]:
        raise ValueError(
            f"SLURM runs task {rank} as the task {here} of its node, and in the order of the nodes it would be "
            f"{placed[rank][1]}: start the workers by srun --distribution=block."
        )
    return tuple(f"{node}:{port + place}" for node, place in placed), rank


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if variables.get(name):
            return variables[name]
    raise ValueError(f"SLURM's variable {names[0]} is missing: start the workers by srun, or set TF_CONFIG.")


def _number(variables: Mapping[str, str], names: tuple[str, ...]) -> int:
    text = _first(variables, names)
    if not text.isdecimal():
        raise ValueError(f"SLURM's variable {names[0]} must be a whole number, not {text!r}.")
    return int(text)
