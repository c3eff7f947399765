"""Channels of an image in another order, on every backend."""

import keras
from keras import ops

from blocks.typing import Tensor


def select_channels(inputs: Tensor, index: Tensor) -> Tensor:
    """Channels of `inputs` (B, ..., C) in the order of `index` (N,), integers from 0 to C - 1: (B, ..., N).

    Source: Huang et al. 2018, CondenseNet, section 3.1 (index layer), arXiv:1711.09224.

    Example:
        >>> from blocks.ops.channel_selection import select_channels
        >>> np.asarray(select_channels(np.array([[10.0, 11.0, 12.0]]), np.array([2, 0, 0, 1])))
        array([[12., 10., 10., 11.]])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow.runtime import exporting, fits, kernels

        if exporting():  # one operator, without gradients
            return ops.take(inputs, index, axis=-1)
        inputs, operations = ops.convert_to_tensor(inputs), kernels()
        if fits(operations, inputs):
            return operations.blocks_select(inputs, ops.cast(index, "int64"))
    # Whole rows of the transposed matrix are copied, forwards and backwards, in about half of the time that single
    # channels take.
    *sizes, inner = ops.shape(inputs)
    rows = ops.transpose(ops.reshape(inputs, (-1, inner)))
    chosen = ops.take(rows, index, axis=0)
    return ops.reshape(ops.transpose(chosen), (*sizes, index.shape[0]))
