"""A learned scale for each channel."""

from typing import Any

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import known_channels
from blocks.ops.elementwise import scale_channels
from blocks.ops.keras_internals import DottedName
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class LayerScale(DottedName, RealInputs, layers.Layer):
    """Multiply each channel of (B, ..., C) by a weight of its own, `gamma` (C,), initialized to `initial`.

    Raises:
        ValueError: where the number of channels is unknown.

    Source: Touvron et al. 2021, Going Deeper with Image Transformers, section 2, arXiv:2103.17239.

    Example:
        >>> layer = blocks.LayerScale(0.1)
        >>> np.ravel(layer(np.array([[1.0, 20.0]])))
        array([0.1, 2. ], dtype=float32)
    """

    def __init__(self, initial: float = 1e-6, **kwargs: Any) -> None:  # kwargs: the keywords of keras.layers.Layer
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: Shape) -> None:
        channels = known_channels(input_shape, -1, self.name)
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer=initializer, autocast=False)

    def call(self, inputs: Tensor) -> Tensor:
        return scale_channels(inputs, self.gamma)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial}
