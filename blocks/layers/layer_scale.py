"""A learned scale for each channel."""

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.keras_internals import DottedName


@keras.saving.register_keras_serializable(package="blocks")
class LayerScale(DottedName, RealInputs, layers.Layer):
    """Multiply each channel of (B, ..., C) by a weight of its own, `gamma` (C,), initialized to `initial`.

    Source: Touvron et al. 2021, Going Deeper with Image Transformers, section 2, arXiv:2103.17239.
    """

    def __init__(self, initial: float = 1e-6, **kwargs):  # kwargs: the keywords of keras.layers.Layer
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer=initializer)

    def call(self, inputs):
        return inputs * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}
