"""How a training is distributed: the `distribution` group of the configuration. Needs no TensorFlow."""

import math
from dataclasses import dataclass

from zoo.checks import close_matches

NONE, MIRRORED, MULTI_WORKER = "none", "mirrored", "multi_worker"
STRATEGIES = (NONE, MIRRORED, MULTI_WORKER)
GLOBAL, PER_REPLICA = "global", "per_replica"


@dataclass
class DistributionConfig:
    """Which devices share each training batch. A replica is a copy of the network on one device.

    Example:
        >>> from zoo.distribution.config import DistributionConfig
        >>> DistributionConfig(strategy="mirrored", devices=2).batch_size
        'global'
    """

    strategy: str = NONE  # none: one device; mirrored: those of this machine; multi_worker: those of several processes
    devices: int | None = None  # of mirrored: the first so many GPUs, or parts of the CPU; None is all GPUs
    workers: int | None = None  # of multi_worker: so many processes are started here; None reads TF_CONFIG or SLURM
    port: int | None = None  # of multi_worker under SLURM: of the first task of a node; None follows from the job
    batch_size: str = GLOBAL  # what recipe.batch_size is: of all replicas together, or of each
    scale_learning_rate: bool = True  # with batch_size=per_replica: the rate grows with the global batch
    synchronise_statistics: bool = False  # normalise by the statistics of the global batch, not of each replica's share
    timeout_seconds: float = 20.0  # after which a worker without a sign of life is lost
    start_timeout_seconds: float = 300.0  # how long workers wait for each other at the start


def check(config: DistributionConfig) -> None:
    """Raise ValueError, in one sentence, for the first invalid value.

    Example:
        >>> from zoo.distribution.config import DistributionConfig, check
        >>> check(DistributionConfig(strategy="mirrored", devices=0))
        Traceback (most recent call last):
            ...
        ValueError: distribution.devices=0 is not allowed: use at least 1, or null for all GPUs.
    """
    for key, allowed in (("strategy", STRATEGIES), ("batch_size", (GLOBAL, PER_REPLICA))):
        value = getattr(config, key)
        if value not in allowed:
            raise ValueError(f"distribution.{key}={value!r} is not allowed: {close_matches(value, allowed)}")
    if config.devices is not None and config.devices < 1:
        raise ValueError(f"distribution.devices={config.devices} is not allowed: use at least 1, or null for all GPUs.")
    if config.workers is not None and config.workers < 2:
        raise ValueError(
            f"distribution.workers={config.workers} is not allowed: use at least 2, null for those that TF_CONFIG or "
            "SLURM name, or distribution=none for one process."
        )
    if config.port is not None and not 0 < config.port < 2**16:
        raise ValueError(
            f"distribution.port={config.port} is not allowed: use a number from 1 to {2**16 - 1}, or null."
        )
    for key in ("timeout_seconds", "start_timeout_seconds"):
        value = getattr(config, key)
        if not (math.isfinite(value) and value >= 1):
            raise ValueError(f"distribution.{key}={value:g} is not allowed: use a finite number of at least 1.")
    for key, of in (("devices", MIRRORED), ("workers", MULTI_WORKER), ("port", MULTI_WORKER)):
        if getattr(config, key) is not None and config.strategy != of:
            raise ValueError(
                f"distribution.{key}={getattr(config, key)} is not allowed with distribution={config.strategy}: "
                f"use distribution={of}, or null."
            )
