"""What TensorFlow offers under no public name and a training on several machines needs: nothing else uses it.

Seen in TensorFlow 2.21; `tests/test_internals.py` says what another version lacks.
"""

from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager.context import context


def configure_heartbeats(workers: int, seconds: float) -> None:
    """Let the workers of the strategy that is made next tell each other that they live, and abort what waits for one
    that has not for so long. `MultiWorkerMirroredStrategy` takes what is configured, and has no argument for it.
    """
    context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=60_000,
        heartbeat_timeout_in_ms=int(1000 * seconds),
        shutdown_barrier_timeout_in_ms=1000,
        coordinated_jobs=[CoordinatedJob(name="worker", num_tasks=workers)],
    )
