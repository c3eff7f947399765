"""A worker that is lost in the middle of a training: what TensorFlow raises in the others, in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.distribution.cluster import Cluster
from zoo.errors import UserError

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may start the job again
ABORTED = "Collective ops is aborted"
HEARTBEAT = "CoordinationService/"  # the chief runs it
TASK = re.compile(r"/job:worker/(?:replica:0/)?task:(\d+)")


class LostWorkerError(UserError):
    """A worker of the training has ended, hangs or cannot be reached any more; the program's exit code is 75.

    Example:
        >>> from zoo.distribution.lost import LostWorkerError
        >>> LostWorkerError("Worker 1 is lost.").exit_code
        75
    """

    exit_code = TEMPORARY_FAILURE


def lost_workers(message: str, cluster: Cluster) -> list[int]:
    """The workers, other than this one, that an error of TensorFlow's collectives is about.

    Example:
        >>> from zoo.distribution.cluster import Cluster
        >>> from zoo.distribution.lost import lost_workers
        >>> message = "Error reported from /job:worker/task:1: The following tasks are unhealthy"
        >>> lost_workers(message, Cluster(("a:1", "b:1"), 0))
        [1]
    """
    named = {int(number) for number in TASK.findall(message)} - {cluster.index}
    if not named and HEARTBEAT in message and not cluster.is_chief:
        named = {0}
    return sorted(each for each in named if each < len(cluster.addresses))


@contextmanager
def naming_lost_workers(cluster: Cluster) -> Iterator[None]:
    """Raise LostWorkerError in place of TensorFlow's error, where the block fails for lack of a worker."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        message = str(error)
        lost = lost_workers(message, cluster)
        broken = isinstance(error, tf.errors.UnavailableError | tf.errors.DeadlineExceededError)
        if ABORTED not in message and not (lost and broken):
            raise
        raise LostWorkerError(_sentence(lost, cluster)) from error


def _sentence(lost: list[int], cluster: Cluster) -> str:
    named = " and ".join(f"worker {worker} ({cluster.addresses[worker]})" for worker in lost)
    if lost:
        what = f"The training has lost {named}: ended, stopped or out of reach"
    else:
        what = f"Worker {cluster.index} ({cluster.addresses[cluster.index]}) has lost all others"
    return f"{what}. Start all workers again with resume=auto to go on from the last checkpoint."
