"""Merging of what a block computes into a residual and a dense path."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import positive, shapes_agree, shapes_of, tensors_of
from blocks.ops.dual_path import merge_paths
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class DualPathMerge(RealInputs, layers.Layer):
    """Channels that join two paths: (B, ..., R + D) and (B, ..., R + G) -> (B, ..., R + D + G).

    The first R channels of the paths are residual, the other D dense. Of the update the first R channels are added to
    the residual path, the other G are appended to the dense one. It may also come as these two parts, in a list.

    Args:
        residual: R.

    Raises:
        ValueError: for inputs of fewer channels, or that differ in more than their channels.

    Source: Chen et al. 2017, Dual Path Networks, section 4.1 and figure 2d, arXiv:1707.01629.

    Example:
        >>> paths, update = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3), np.array([10.0, 20.0]).reshape(1, 1, 1, 2)
        >>> np.ravel(blocks.DualPathMerge(1)(paths, update))
        array([11.,  2.,  3., 20.], dtype=float32)
    """

    def __init__(self, residual: int, **kwargs: Any) -> None:  # the keywords of keras.layers.Layer
        super().__init__(**kwargs)
        self.residual = positive(residual, "residual")

    def call(self, paths: Tensor, update: Tensor | Sequence[Tensor]) -> Tensor:
        first, *shapes = (tuple(tensor.shape) for tensor in (paths, *tensors_of(update)))
        self.compute_output_shape(first, shapes)  # refuses what does not go together
        return merge_paths(paths, update, self.residual)

    def compute_output_shape(self, paths_shape: Shape, update_shape: Shape | Sequence[Shape]) -> Shape:
        parts = shapes_of(update_shape)
        sizes: list[Any] = [shape[-1] if shape else None for shape in (paths_shape, *parts)]
        alike = all(shapes_agree(paths_shape[:-1], part[:-1]) for part in parts)
        if not alike or not self._takes(*sizes):
            given = parts[0] if len(parts) == 1 else parts
            raise ValueError(
                f"Paths of shape {tuple(paths_shape)} and an update of shape {given} do not go together: they may "
                f"differ in their channels alone, both need {self.residual} or more, and the first of two parts has "
                "exactly these."
            )
        return (*paths_shape[:-1], sum(sizes) - self.residual)

    def _takes(self, paths: Any, *update: Any) -> bool:
        """Whether so many channels go together."""
        if None in (paths, *update) or paths < self.residual:
            return False
        if len(update) == 2:
            return bool(update[0] == self.residual)
        return len(update) == 1 and update[0] >= self.residual

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "residual": self.residual}
