"""How long calls take: any in turns, and each layer of a network, called alone, beside the network as a whole.

Importing this imports no framework: the benchmarks time other frameworks by it, where neither Keras nor TensorFlow is.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from zoo.complexity import LayerCost

WARM_UP = 2  # calls before any is timed, beside the one that traces the graph


def call_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call, which returns when its result is there.

    Example:
        >>> from zoo.timing import call_seconds
        >>> call_seconds(lambda: sum(range(100))) >= 0
        True
    """
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated_seconds(call: Callable[[], object], budget: float, *, fewest: int = 3, most: int = 500) -> list[float]:
    """Seconds of each of several calls, one after the other: as many as fit in `budget` seconds, within the limits.

    Example:
        >>> from zoo.timing import repeated_seconds
        >>> len(repeated_seconds(lambda: None, budget=0.0, fewest=4))
        4
    """
    seconds: list[float] = []
    while len(seconds) < fewest or (len(seconds) < most and sum(seconds) < budget):
        seconds.append(call_seconds(call))
    return seconds


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The least of `seconds` that at least `percent` % of them do not exceed: the nearest rank.

    Raises ValueError where there are none.

    Example:
        >>> from zoo.timing import percentile
        >>> percentile([0.5, 0.1, 0.2, 0.3, 0.4], 90), percentile([0.1, 0.2, 0.3], 50)
        (0.5, 0.2)
    """
    if not seconds:
        raise ValueError("There is no percentile of no times.")
    return sorted(seconds)[max(1, math.ceil(percent / 100 * len(seconds))) - 1]


def least_seconds(
    clocks: Sequence[Callable[[], float]],
    repeats: int,
    *,
    warm_up: int,
    budget: float = math.inf,
    fewest: int = 1,
) -> list[float]:
    """Seconds of each of several calls: the least of the repeated ones, as other programs only add to one.

    All of them take turns, so that a moment in which the machine is busy does not fall on one alone.

    Args:
        clocks: each makes its call and gives the seconds of it, as `call_seconds` does.
        repeats: turns at most.
        warm_up: calls of each before any is timed.
        budget: seconds after which no further turn begins, once there have been `fewest`.

    Example:
        >>> from zoo.timing import least_seconds
        >>> readings = iter([9.0, 0.3, 0.2, 0.4])
        >>> least_seconds([lambda: next(readings)], repeats=3, warm_up=1)
        [0.2]
    """
    for clock in clocks:
        for _ in range(warm_up):
            clock()
    least = [math.inf] * len(clocks)
    end = time.perf_counter() + budget
    for turn in range(repeats):
        if turn >= fewest and time.perf_counter() >= end:
            break
        for index, clock in enumerate(clocks):
            least[index] = min(least[index], clock())
    return least


@dataclass(frozen=True)
class Times:
    """Seconds of computing for the whole batch, by `least_seconds`.

    Example:
        >>> from zoo.timing import Times
        >>> sum(Times(layers=(0.25, 0.5), network=0.7).layers)
        0.75
    """

    layers: tuple[float, ...]  # in the order of the rows
    network: float  # the whole network as one function, as it is used


def measure(model: keras.Model, rows: Sequence[LayerCost], batch: int = 1, repeats: int = 10) -> Times:
    """Time every call of `rows`, which are `profile_layers(model)`, and the model, on random images.

    Each call is a `tf.function` of its own on random inputs. All of them take turns, `repeats` times, so that a layer
    finds its weights in the caches no more often than in the network. TensorFlow joins layers of a whole network that
    it cannot join here, and computes branches side by side, so the layers together may take longer than the network.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow.
        ValueError: the inputs alone need more memory than the machine has, or the model's input size is dynamic.

    Example:
        >>> from zoo.complexity import profile_layers
        >>> from zoo.timing import measure
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), blocks.GroupedConv2D(8, 3, groups=2)])
        >>> times = measure(model, profile_layers(model), repeats=2)
        >>> len(times.layers), times.network >= 0
        (1, True)
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}, and layers are timed on TensorFlow alone.")
    if None in model.input_shape[1:]:
        shape = model.input_shape[1:]
        raise ValueError(f"{model.name} takes images of any size, {shape}: create it with one to time it.")
    check_memory(rows, batch)
    import tensorflow as tf

    clock = _outside if tf.config.list_physical_devices("GPU") else _inside
    pool = _Pool(batch)
    calls = [clock(lambda images: model(images, training=False), [pool.get(model.input_shape, "float32", 0)])]
    calls += [clock(*_replay(row, pool)) for row in rows]
    network, *layers = least_seconds(calls, repeats, warm_up=WARM_UP)
    return Times(tuple(layers), network)


def check_memory(rows: Sequence[LayerCost], batch: int) -> None:
    """Raise ValueError, with the largest batch, where the inputs that are kept are more than the machine's memory.

    Without the check the operating system would end the program and say nothing.

    Example:
        >>> from zoo.complexity import profile_layers
        >>> from zoo.timing import check_memory
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), blocks.GroupedConv2D(8, 3, groups=2)])
        >>> check_memory(profile_layers(model), batch=64)
    """
    input_shapes = {(place, shape) for row in rows for place, shape in enumerate(row.inputs)}
    image = 4 * sum(math.prod(shape[1:]) for _, shape in input_shapes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if image * batch > memory:
        most = memory // image
        advice = f"at most {most} fit" if most else "smaller images might fit"
        raise ValueError(
            f"A batch of {batch} needs {image * batch / 1e9:,.0f} GB for the layers' inputs alone, and the machine has "
            f"{memory / 1e9:,.0f} GB: {advice}."
        )


class _Pool:
    """Random tensors, one for every shape, type and place among a call's inputs."""

    def __init__(self, batch: int) -> None:
        import numpy as np

        self.batch, self.random = batch, np.random.default_rng(0)
        self.held: dict[tuple[Any, ...], Any] = {}

    def get(self, shape: tuple[Any, ...], dtype: str, place: int) -> Any:
        import tensorflow as tf

        key = shape, dtype, place
        if key not in self.held:
            values = self.random.standard_normal((self.batch, *shape[1:]), "float32")
            self.held[key] = tf.cast(tf.constant(values), dtype)
        return self.held[key]


def _replay(row: LayerCost, pool: _Pool) -> tuple[Callable[..., Any], list[Any]]:
    """The call of one row as a function of its tensors, all else being as in the graph, and values for them."""
    symbols = row.arguments.keras_tensors
    values = [pool.get(tuple(each.shape), each.dtype, place) for place, each in enumerate(symbols)]

    def again(*given: Any) -> Any:
        args, kwargs = row.arguments.fill_in({id(symbol): value for symbol, value in zip(symbols, given, strict=True)})
        return row.layer(*args, **kwargs)

    return again, values


def _inside(function: Callable[..., Any], values: list[Any]) -> Callable[[], float]:
    """Calls the function and gives its seconds, by a clock that the graph itself reads before and after it.

    What Python needs to call a graph, a tenth of a millisecond, is not in it: many layers take less than that.
    """
    import tensorflow as tf

    def clocked(*given: Any) -> tuple[Any, Any]:
        start = tf.timestamp()
        with tf.control_dependencies([start]):
            outputs = function(*map(tf.identity, given))
        with tf.control_dependencies(tf.nest.flatten(outputs)):
            return tf.timestamp() - start, outputs  # TensorFlow would not compute what is unfetched

    traced = tf.function(clocked, autograph=False).get_concrete_function(*values)
    return lambda: max(0.0, float(traced(*values)[0]))


def _outside(function: Callable[..., Any], values: list[Any]) -> Callable[[], float]:
    """Calls the function and gives its seconds until the GPU is done, which a clock in the graph would not wait for."""
    import tensorflow as tf

    traced = tf.function(function, autograph=False).get_concrete_function(*values)

    def call() -> None:
        traced(*values)
        tf.test.experimental.sync_devices()

    return lambda: call_seconds(call)
