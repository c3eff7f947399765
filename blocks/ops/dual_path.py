"""Merging of dual paths, on every backend."""

from collections.abc import Sequence

import keras
from keras import ops

from blocks.ops.arguments import tensors_of
from blocks.typing import Tensor


def merge_paths(paths: Tensor, update: Tensor | Sequence[Tensor], residual: int) -> Tensor:
    """Add the first `residual` channels of `update` to those of `paths`, and append the others.

    Args:
        paths: (B, ..., residual + D), the residual path and the dense one.
        update: one tensor (B, ..., residual + G), or its two parts.

    Returns (B, ..., residual + D + G).

    Source: Chen et al. 2017, Dual Path Networks, section 4.1 and figure 2d, arXiv:1707.01629.

    Example:
        >>> from blocks.ops.dual_path import merge_paths
        >>> np.ravel(merge_paths(np.array([[1.0, 2.0, 3.0]]), [np.array([[10.0, 20.0, 30.0]])], 1))
        array([11.,  2.,  3., 20., 30.])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow.runtime import fits, kernels

        operations, tensors = kernels(), [ops.convert_to_tensor(tensor) for tensor in (paths, *tensors_of(update))]
        if all(fits(operations, tensor) for tensor in tensors):
            return operations.blocks_merge_paths(tensors[0], tensors[1:], residual=residual)
    return composed_merge_paths(paths, update, residual)


def composed_merge_paths(paths: Tensor, update: Tensor | Sequence[Tensor], residual: int) -> Tensor:
    """The same in Keras's operations.

    Source: Chen et al. 2017, Dual Path Networks, section 4.1 and figure 2d, arXiv:1707.01629.

    Example:
        >>> from blocks.ops.dual_path import composed_merge_paths
        >>> np.ravel(composed_merge_paths(np.array([[1.0, 2.0, 3.0]]), [np.array([[10.0, 20.0, 30.0]])], 1))
        array([11.,  2.,  3., 20., 30.])
    """
    before, dense = ops.split(paths, [residual], axis=-1)
    parts = tensors_of(update)
    added, appended = parts if len(parts) == 2 else ops.split(parts[0], [residual], axis=-1)
    return ops.concatenate([ops.add(before, added), dense, appended], axis=-1)
