"""Resizing of images to the size of others."""

import keras

from blocks.layers.real_inputs import RealInputs
from blocks.ops.resize import resize_like
from blocks.typing import Tensor


@keras.saving.register_keras_serializable(package="blocks")
class ResizeLike(RealInputs, keras.layers.Layer):
    """Images (B, h, w, C) in the size of others (B, H, W, any): every pixel is the nearest one above and to the left.

    Row i of H comes from row floor(i * h / H), as in PyTorch's `nearest`; `keras.ops.image.resize` measures from the
    pixels' centres, which is another one wherever h does not divide H.

    Raises:
        ValueError: for images of other than four axes.

    Source: PyTorch's `interpolate(mode="nearest")`, whose pixels these are.

    Example:
        >>> small, large = np.array([1.0, 2.0]).reshape(1, 1, 2, 1), np.zeros((1, 1, 5, 8))
        >>> np.ravel(blocks.ResizeLike()(small, large))
        array([1., 1., 1., 2., 2.], dtype=float32)
    """

    def call(self, inputs: Tensor, like: Tensor) -> Tensor:
        self.compute_output_spec(inputs, like)  # refuses other than images
        return resize_like(inputs, like)

    def compute_output_spec(self, inputs: Tensor, like: Tensor) -> keras.KerasTensor:
        if len(inputs.shape) != 4 or len(like.shape) != 4:
            raise ValueError(
                f"Images of shape {tuple(inputs.shape)} in the size of {tuple(like.shape)} are not allowed: both must "
                "be (B, H, W, C)."
            )
        return keras.KerasTensor((inputs.shape[0], *like.shape[1:3], inputs.shape[3]), self.compute_dtype)
