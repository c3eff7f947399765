"""The copies of a network that train together, and what they sum over all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.distribution.alarm import bounded
from zoo.distribution.cluster import TF_CONFIG, Cluster
from zoo.distribution.config import MIRRORED, DistributionConfig
from zoo.distribution.internals import configure_heartbeats

PACK = 2**22  # entries that are summed in one operation: few enough to begin before all gradients are there

CONNECTING_SECONDS = 60.0  # for workers that have met


@dataclass(frozen=True)
class Replicas:
    """One copy of the network on each device that trains it; without a strategy there is one, as usual.

    Each keeps variables of its own, which stay equal bit for bit: all begin with the same values, and each is changed
    by sums over all replicas. A step runs in all of them at once, each with its share of a batch.

    Args:
        strategy: of several devices or workers; None for one.
        cluster: the workers, where there are several.

    Example:
        >>> from zoo.distribution.replicas import ALONE
        >>> ALONE.count, ALONE.is_chief, ALONE.share
        (1, True, (0, 1))
    """

    strategy: tf.distribute.Strategy | None = None
    cluster: Cluster | None = None

    @property
    def count(self) -> int:
        """How many there are in all workers."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    @property
    def local_count(self) -> int:
        """How many this process has."""
        return self.count // self.share[1]

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch this process makes, of how many."""
        return (0, 1) if self.cluster is None else (self.cluster.index, len(self.cluster.addresses))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files and says what happens."""
        return self.cluster is None or self.cluster.is_chief

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within this context variables are created on every device, and workers begin with the chief's values."""
        if self.strategy is None:
            yield
            return
        with self.strategy.scope(), tf.variable_creator_scope(_without_aggregation):
            yield

    def over_batches(self, step: Callable[[Any], dict[str, tf.Tensor]]) -> Callable[[Any], dict[str, tf.Tensor]]:
        """A function of an iterator over batches: runs `step` in every replica with its share of the next one.

        The shares follow each other in the batch, and differ by one image at most. What `step` returns must be the same
        in all replicas.
        """
        strategy, count = self.strategy, self.local_count
        assert strategy is not None  # else Keras's own function is used

        def in_replica(shares: list[Any]) -> dict[str, tf.Tensor]:
            return step(shares[self.number() % count])

        @tf.function(reduce_retracing=True, autograph=False)
        def on_batch(batch: Any) -> dict[str, tf.Tensor]:
            results = strategy.run(in_replica, args=(_shares(batch, count),))
            return {name: strategy.experimental_local_results(value)[0] for name, value in results.items()}

        return lambda iterator: on_batch(next(iterator))

    def number(self) -> int:
        """Of the replica that this is called in."""
        number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        assert number is not None  # a constant of the graph of each replica
        return int(number)

    def sums(self, tensors: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """The sum over all replicas of each tensor, which has the same shape in all; None stays None.

        Many small ones are summed as one, for each sum takes a message to and fro.
        """
        context = tf.distribute.get_replica_context()
        given = {index: tf.convert_to_tensor(each) for index, each in enumerate(tensors) if each is not None}
        results: dict[int, tf.Tensor] = {}
        for pack in _packs({index: (each.dtype, each.shape.num_elements()) for index, each in given.items()}):
            flat = tf.concat([tf.reshape(given[index], (-1,)) for index in pack], 0)
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
            parts = tf.split(summed, [given[index].shape.num_elements() for index in pack])
            results |= {index: tf.reshape(part, given[index].shape) for index, part in zip(pack, parts, strict=True)}
        return [results.get(index) for index in range(len(tensors))]

    def broadcast_file(self, source: Path | None, copy: Path) -> bool:
        """Write the chief's file to `copy` in all other workers, all of which call this; False where it has none."""
        strategy = self.strategy
        assert strategy is not None  # of several workers

        @tf.function(autograph=False)
        def everywhere(part: tf.Tensor) -> tf.Tensor:
            def in_replica() -> tf.Tensor:
                own = tf.identity(part) if self.number() == 0 else tf.zeros_like(part)
                return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

            return strategy.experimental_local_results(strategy.run(in_replica))[0]

        size = source.stat().st_size if source is not None and self.is_chief else -1
        size = int(everywhere(tf.constant([size + 1], tf.int64))[0]) - 1
        if size < 0:
            return False
        with (source if self.is_chief and source else copy).open("rb" if self.is_chief else "wb") as file:
            for first in range(0, size, 8 * PACK):
                length = min(8 * PACK, size - first)
                words = np.zeros(-(-length // 8), np.int64)
                if self.is_chief:
                    words.view(np.uint8)[:length] = np.frombuffer(file.read(length), np.uint8)
                received = everywhere(tf.constant(words)).numpy()
                if not self.is_chief:
                    file.write(received.view(np.uint8)[:length].tobytes())
        return True


ALONE = Replicas()


def open_replicas(config: DistributionConfig, cluster: Cluster | None = None) -> Replicas:
    """The replicas of `config`: of several workers, all have to call this at the same time.

    Args:
        cluster: of multi_worker.

    Raises:
        ValueError: this machine has not the devices, in one sentence.

    Example:
        >>> from zoo.distribution.config import DistributionConfig
        >>> from zoo.distribution.replicas import open_replicas
        >>> open_replicas(DistributionConfig()).count
        1
    """
    if config.strategy == MIRRORED:
        devices = _devices(config.devices)
        return Replicas(tf.distribute.MirroredStrategy(devices)) if len(devices) > 1 else ALONE
    if cluster is None:
        return ALONE
    os.environ[TF_CONFIG] = cluster.tf_config()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    configure_heartbeats(len(cluster.addresses), config.timeout_seconds)
    gone = f"The workers {', '.join(cluster.addresses)} have met, and one of them has ended before all were connected."
    with bounded(CONNECTING_SECONDS, gone):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for number, handler in handlers.items():
        if callable(handler):  # TensorFlow sets one of its own for SIGTERM, which lets nothing end
            signal.signal(number, handler)
    return Replicas(strategy, cluster)


def _devices(count: int | None) -> list[str]:
    """The names of the GPUs of this machine or, where it has none, of parts of the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if count is None:
            raise ValueError(
                "distribution=mirrored finds no GPU on this machine: use distribution=none or, to try it on parts of "
                "the CPU, distribution.devices=2."
            )
        try:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError:  # TensorFlow runs already: with as many, or it is too late
            if len(tf.config.list_logical_devices("CPU")) < count:
                raise ValueError(
                    f"distribution.devices={count} cannot be made once TensorFlow runs: start a new process."
                ) from None
        return [f"CPU:{number}" for number in range(count)]
    if count is not None and count > len(gpus):
        raise ValueError(f"distribution.devices={count} is not allowed: this machine has {len(gpus)} GPUs.")
    return [f"GPU:{number}" for number in range(count or len(gpus))]


def _packs(described: Mapping[int, tuple[Any, int]]) -> list[list[int]]:
    """The numbers of tensors that are summed as one: of the same type, up to `PACK` entries, or one that is larger."""
    packs: list[list[int]] = []
    for dtype in dict.fromkeys(dtype for dtype, _ in described.values()):
        room = -1
        for index, (own, entries) in described.items():
            if own != dtype:
                continue
            if entries > room:
                packs.append([])
                room = PACK
            packs[-1].append(index)
            room -= entries
    return packs


def _without_aggregation(create: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
    """Let each replica change its own copy: sums are made where they belong, and never by an assignment."""
    arguments["aggregation"] = tf.VariableAggregation.NONE
    arguments["synchronization"] = tf.VariableSynchronization.AUTO
    return create(**arguments)


def _shares(batch: Any, count: int) -> list[Any]:
    """The batch in `count` parts, one behind the other."""
    tensors = tf.nest.flatten(batch)
    size = tensors[0].shape[0]
    with tf.device("/CPU:0"):  # so that each device gets its own share, and not the batch
        size = tf.shape(tensors[0])[0] if size is None else size
        bounds = [size * number // count for number in range(count + 1)]
        cut = [[each[first:end] for each in tensors] for first, end in pairwise(bounds)]
    return [tf.nest.pack_sequence_as(batch, part) for part in cut]
