"""Mean over the image and gating of channels, on every backend."""

import keras
from keras import ops

from blocks.typing import Tensor


def image_mean(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `inputs` (B, H, W, C) over the image, (B, 1, 1, C), and the inputs, to be used from here on.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.1, arXiv:1709.01507.

    Example:
        >>> from blocks.ops.gates import image_mean
        >>> mean, images = image_mean(np.array([1.0, 5.0]).reshape(1, 1, 2, 1))
        >>> np.ravel(mean)
        array([3.])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.image_mean(ops.convert_to_tensor(inputs))
    return ops.mean(inputs, axis=(1, 2), keepdims=True), inputs


def gate(inputs: Tensor, gates: Tensor) -> Tensor:
    """`inputs` (B, H, W, C) times `gates` (B, 1, 1, C).

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.2, arXiv:1709.01507.

    Example:
        >>> from blocks.ops.gates import gate
        >>> np.ravel(gate(np.array([1.0, 5.0]).reshape(1, 1, 2, 1), np.array([0.5]).reshape(1, 1, 1, 1)))
        array([0.5, 2.5])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.gate(ops.convert_to_tensor(inputs), ops.convert_to_tensor(gates))
    return ops.multiply(inputs, gates)
