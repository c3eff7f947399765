"""Local response normalisation, as AlexNet has it."""

from typing import Any

import keras
from keras import ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import positive
from blocks.ops.local_response_norm import local_response_normalization
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class LocalResponseNormalization(RealInputs, keras.layers.Layer):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, of inputs (..., C).

    The paper's formula does not divide alpha by `size`; its published program does, and so do Caffe's and PyTorch's
    layers, which this one equals. Computed in float32 where the layers compute in less.

    Args:
        size: channels of a window, n in the paper; the channel itself is in its middle.

    Raises:
        ValueError: for a size that is no integer of at least 1.

    Source: Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, section 3.3.

    Example:
        >>> layer = blocks.LocalResponseNormalization(size=3, k=1.0, alpha=3.0, beta=1.0)
        >>> np.ravel(layer(np.array([1.0, 2.0, 1.0]).reshape(1, 1, 1, 3)))  # 1 / (1 + 1 + 4), 2 / (1 + 1 + 4 + 1), ...
        array([0.16666667, 0.2857143 , 0.16666667], dtype=float32)
    """

    def __init__(self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = positive(size, "size")
        self.k = k
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Tensor) -> Tensor:
        outputs = local_response_normalization(inputs, self.size, self.k, self.alpha, self.beta)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}
