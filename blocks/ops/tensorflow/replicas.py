"""Statistics of a batch whose images lie in several replicas of `tf.distribute`."""

from collections.abc import Sequence

import tensorflow as tf

from blocks.typing import Tensor


def moments_of_all(inputs: Tensor, around: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (C,) of `inputs` of all replicas together over `axes`, and the number of positions (), float.

    One sum over the replicas each way: of the positions, the values and their squares, both taken from `around`, (C,).
    That is the running mean, near which the squares cancel little. Replicas may have different numbers of positions.

    Source: Chan et al. 1983, Algorithms for Computing the Sample Variance; PyTorch's `SyncBatchNorm`.
    """
    shape = [1 if axis in axes else inputs.shape[axis] for axis in range(len(inputs.shape))]
    around = tf.stop_gradient(tf.cast(around, inputs.dtype))
    centred = inputs - tf.reshape(around, shape)
    count = tf.cast(tf.reduce_prod(tf.gather(tf.shape(inputs), list(axes))), inputs.dtype)
    sums = [tf.reduce_sum(centred, axes), tf.reduce_sum(tf.square(centred), axes), tf.reshape(count, (1,))]
    context = tf.distribute.get_replica_context()
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(sums, 0))
    first, second, count = tf.split(total, [around.shape[0], around.shape[0], 1])
    count = tf.stop_gradient(count[0])
    mean = tf.math.divide_no_nan(first, count)
    variance = tf.maximum(tf.math.divide_no_nan(second, count) - tf.square(mean), 0)
    return around + mean, variance, count
