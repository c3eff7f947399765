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
    """

    def call(self, inputs: Tensor, like: Tensor) -> Tensor:
        return resize_like(inputs, like)

    def compute_output_spec(self, inputs: Tensor, like: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], *like.shape[1:3], inputs.shape[3]), self.compute_dtype)
