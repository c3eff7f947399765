"""What several replicas change of a run: its batch and learning rate, what it writes, and where it goes on from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.distribution.cluster import Cluster, cluster_of
from zoo.distribution.config import GLOBAL, MIRRORED, MULTI_WORKER, NONE, PER_REPLICA
from zoo.distribution.lost import naming_lost_workers
from zoo.distribution.rendezvous import meet
from zoo.errors import UserError
from zoo.training.checkpoints.resume import identity
from zoo.training.settings import Settings

if TYPE_CHECKING:
    from zoo.distribution.replicas import Replicas
    from zoo.weights.readers.training import CheckpointFile

SCALED = ("learning_rate", "head_learning_rate", "min_learning_rate")  # of the recipe; a warm-up begins where it did


def cluster_for(settings: Settings) -> Cluster | None:
    """The workers of a training by several processes, None for one.

    Raises:
        UserError: the environment names none, or what it says cannot be; Keras runs on another backend.
    """
    config = settings.distribution
    if config.strategy == NONE:
        return None
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(
            f"distribution={config.strategy} needs Keras on TensorFlow, not on {backend}, which has "
            "keras.distribution: see docs/cluster.md."
        )
    if config.strategy != MULTI_WORKER:
        return None
    try:
        return cluster_of(os.environ, config.port)
    except ValueError as error:
        raise UserError(str(error)) from error


def with_global_batch(
    settings: Settings, resolved: Mapping[str, Any], cluster: Cluster | None
) -> tuple[Settings, dict[str, Any]]:
    """Settings, and the configuration as plain values, whose batch is that of all replicas together.

    With `distribution.batch_size=per_replica` the recipe's is multiplied by their number, and so are its learning
    rates, unless `scale_learning_rate` is off.
    """
    config, values = settings.distribution, dict(resolved)
    if config.strategy == NONE or config.batch_size != PER_REPLICA:
        return settings, values
    count = _replicas_here(settings) * (1 if cluster is None else len(cluster.addresses))
    scaled: dict[str, Any] = {"batch_size": settings.recipe.batch_size * count}
    if config.scale_learning_rate:
        rates = {key: getattr(settings.recipe, key) for key in SCALED}
        scaled |= {key: rate * count for key, rate in rates.items() if rate is not None}
    values["recipe"] = {**values["recipe"], **scaled}
    values["distribution"] = {**values["distribution"], "batch_size": GLOBAL}
    return replace(settings, recipe=replace(settings.recipe, **scaled)), values


def _replicas_here(settings: Settings) -> int:
    config = settings.distribution
    if config.strategy == MIRRORED and config.devices is not None:
        return config.devices
    import tensorflow as tf

    return max(len(tf.config.list_physical_devices("GPU")), 1)


def replica_lines(settings: Settings, unscaled: Settings, replicas: Replicas) -> list[str]:
    """What the terminal says of the replicas, and of batch and learning rate."""
    if settings.distribution.strategy == NONE:
        return []
    recipe, count, workers = settings.recipe, replicas.count, replicas.share[1]
    where = f" in {workers} workers" if workers > 1 else ""
    small, large = recipe.batch_size // count, -(-recipe.batch_size // count)
    each = str(small) if small == large else f"{small} or {large}"
    lines = [f"distribution: {count} replicas{where}, batches of {recipe.batch_size} images, {each} each"]
    if unscaled.recipe.batch_size != recipe.batch_size:
        was, now = unscaled.recipe.learning_rate, recipe.learning_rate
        rate = (
            f"learning rate {now:g}, {count} times {was:g} (distribution.scale_learning_rate=false keeps it)"
            if now != was
            else f"learning rate {now:g}, not scaled"
        )
        lines.append(f"distribution: {recipe.batch_size} = {count} x {unscaled.recipe.batch_size} images; {rate}")
    return lines


def replica_facts(settings: Settings, replicas: Replicas) -> dict[str, Any]:
    """What `result.json` says of the replicas."""
    workers = None if replicas.cluster is None else list(replicas.cluster.addresses)
    return {"strategy": settings.distribution.strategy, "replicas": replicas.count, "workers": workers}


def without_files(settings: Settings) -> Settings:
    """The settings of a worker that is not the chief: it tracks nothing and writes no checkpoint."""
    return replace(
        settings,
        tracking=replace(settings.tracking, mode="disabled"),
        checkpoints=replace(settings.checkpoints, keep=0),
    )


@contextmanager
def opened_replicas(settings: Settings, cluster: Cluster | None) -> Iterator[Replicas]:
    """The replicas that train what `settings` say, once all workers are there.

    Raises:
        LostWorkerError: a worker is lost in the block.
        UserError: a worker does not come, or there are too few devices or images in a batch.
    """
    from zoo.distribution.replicas import open_replicas

    config = settings.distribution
    if cluster is not None:
        plain = json.dumps(identity(settings), sort_keys=True)
        meet(cluster, hashlib.sha256(plain.encode()).hexdigest(), config.start_timeout_seconds)
    try:
        replicas = open_replicas(config, cluster)
    except ValueError as error:
        raise UserError(str(error)) from error
    if settings.recipe.batch_size < replicas.count:
        raise UserError(
            f"recipe.batch_size={settings.recipe.batch_size} is not allowed with {replicas.count} replicas, each of "
            f"which needs an image: use at least {replicas.count}."
        )
    if cluster is None:
        yield replicas
        return
    with naming_lost_workers(cluster):
        yield replicas


@contextmanager
def shared_checkpoint(replicas: Replicas, checkpoint: CheckpointFile | None) -> Iterator[CheckpointFile | None]:
    """The chief's checkpoint in all workers, so that all go on from the same, whatever disks they see."""
    if replicas.cluster is None:
        yield checkpoint
        return
    from zoo.weights.readers.training import open_checkpoint

    with tempfile.TemporaryDirectory(prefix="zoo-worker-") as folder:
        copy = Path(folder, "checkpoint.safetensors")
        there = replicas.broadcast_file(checkpoint.path if checkpoint else None, copy)
        if replicas.is_chief:
            yield checkpoint
        else:
            yield open_checkpoint(copy) if there else None


def close_log_files() -> None:
    """Let a worker that is not the chief log to the terminal alone: `train.log` is the chief's."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, logging.FileHandler)]:
        root.removeHandler(handler)
