"""A SavedModel in a process of TensorFlow alone: what it computes, and how fast.

Run as a script by `zoo.exporting.savedmodel`, with Python's -I: of the project, nothing can be imported here. One line
of JSON comes on standard input; the outputs go to the file that it names.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

WARM_UP = 3  # calls before any is timed: the first ones trace the graph and fill caches
FEWEST, MOST = 5, 100  # timed calls
SECONDS = 0.5  # what all timed calls take together, once there have been the fewest


def median_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call: the median of repeated ones."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    request = json.loads(sys.stdin.readline())
    sys.path += request["packages"]  # where TensorFlow lies, if -I has left that out
    for name in ("blocks", "zoo"):
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it raises
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    serving = tf.saved_model.load(request["path"]).signatures[request["signature"]]
    with np.load(request["inputs"], allow_pickle=False) as arrays:
        batches = [
            {name: tf.constant(arrays[f"{batch}.{place}"]) for place, name in enumerate(request["input_names"])}
            for batch in range(request["batches"])
        ]
    outputs = {}
    for number, batch in enumerate(batches):
        results = serving(**batch)
        for place, name in enumerate(request["output_names"]):
            outputs[f"{number}.{place}"] = results[name].numpy()
    seconds = median_seconds(lambda: [value.numpy() for value in serving(**batches[0]).values()])
    np.savez(request["outputs"], seconds=seconds, **outputs)


if __name__ == "__main__":
    main()
