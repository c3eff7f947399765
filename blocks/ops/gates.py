"""Mean over the image and gating of channels, on every backend."""

import keras
from keras import ops

from blocks.typing import Tensor


def image_mean(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `inputs` (B, H, W, C) over the image, (B, 1, 1, C), and the inputs, to be used from here on."""
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.image_mean(ops.convert_to_tensor(inputs))
    return ops.mean(inputs, axis=(1, 2), keepdims=True), inputs


def gate(inputs: Tensor, gates: Tensor) -> Tensor:
    """`inputs` (B, H, W, C) times `gates` (B, 1, 1, C)."""
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.gate(ops.convert_to_tensor(inputs), ops.convert_to_tensor(gates))
    return ops.multiply(inputs, gates)
