"""Sum of candidates weighed by a softmax: the last step of selective kernels and of split attention."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import positive, shapes_agree, shapes_of
from blocks.ops.gates import softmax_sum
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class SoftmaxSum(RealInputs, layers.Layer):
    """Sum of R candidates (B, H, W, C), each channel of each image weighed by the softmax over the candidates.

    The candidates are R tensors, or the R parts of the channels of one tensor (B, H, W, R * C). Their logits are
    (B, 1, 1, R * C), those of a candidate together. The sum is (B, H, W, C).

    Args:
        radix: R, the number of candidates, at least 2.

    Raises:
        ValueError: for other shapes, another number of candidates, or a radix below 2.

    Source: Li et al. 2019, Selective Kernel Networks, equations 5 and 6, arXiv:1903.06586; Zhang et al. 2020, ResNeSt,
    section 3.1, arXiv:2004.08955.

    Example:
        >>> candidates = [np.full((1, 2, 2, 3), 2.0), np.full((1, 2, 2, 3), 6.0)]
        >>> logits = np.array([0.0, 0.0, 9.0, 0.0, 99.0, 9.0]).reshape(1, 1, 1, 6)
        >>> np.asarray(blocks.SoftmaxSum()(candidates, logits))[0, 0, 0].round(2)
        array([4., 6., 4.], dtype=float32)
    """

    def __init__(self, radix: int = 2, **kwargs: Any) -> None:  # the keywords of keras.layers.Layer
        super().__init__(**kwargs)
        self.radix = positive(radix, "radix")
        if self.radix == 1:
            raise ValueError("radix=1 is not allowed: the softmax over one candidate is 1, so give 2 or more.")

    def call(self, candidates: Tensor | Sequence[Tensor], logits: Tensor) -> Tensor:
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), candidates)
        self.compute_output_shape(shapes, logits.shape)  # refuses what does not go together
        return softmax_sum(candidates, logits, self.radix)

    def compute_output_shape(self, candidates_shape: Shape | Sequence[Shape], logits_shape: Shape) -> Shape:
        shapes = shapes_of(candidates_shape)
        first, parts = shapes[0], self.radix if len(shapes) == 1 else 1
        fits = len(first) == 4 and first[3] is not None and first[3] % parts == 0
        fits = fits and all(shapes_agree(shape, first) for shape in shapes) and len(shapes) * parts == self.radix
        if not fits or not shapes_agree(logits_shape, (first[0], 1, 1, first[3] // parts * self.radix)):
            given = first if len(shapes) == 1 else shapes
            raise ValueError(
                f"Candidates of shape {given} and logits of shape {tuple(logits_shape)} do "
                f"not go together: give {self.radix} of (B, H, W, C), or one of (B, H, W, {self.radix} * C), and "
                f"(B, 1, 1, {self.radix} * C)."
            )
        return (*first[:3], first[3] // parts)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "radix": self.radix}
