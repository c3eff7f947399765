"""How many examples tf.data computes at a time: as many as this process has processors, and no tuner decides.

An iterator of tf.data that is destroyed waits for the thread of the autotuner, which may miss that it is to end and go
on sleeping: in TensorFlow 2.21 for up to as long as the iterator has lived, or a minute. So a long training seemed to
hang at its end, now and then.
"""

from typing import Any

import tensorflow as tf

from zoo.hardware import cores

AHEAD = 2  # batches that are ready before they are asked for


def in_parallel() -> dict[str, Any]:
    """The arguments of `Dataset.map` for what takes most of the time: as many calls as processors, in order."""
    return {"num_parallel_calls": cores(), "deterministic": True}


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`dataset`, with all that it is made of, without the autotuner."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
