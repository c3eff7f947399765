"""A plugin of pytest (`-p helpers.keras_exchanged`) under which Keras's own tests of its layers test ours.

Keras's test files are in its wheel. They take layers from `keras.src.layers` when they are imported, some as arguments
of a decorator, so ours are put there before.
"""

import keras
import keras.src.layers

import blocks


@keras.saving.register_keras_serializable(package="helpers")
class BatchNormalization(blocks.BatchNormalization):
    """With Keras's running variance unless another is asked for, as `keras.layers.BatchNormalization` has it."""

    def __init__(self, *args, unbiased_variance=False, **kwargs):
        super().__init__(*args, unbiased_variance=unbiased_variance, **kwargs)


EXCHANGED = {
    "Conv1D": blocks.GroupedConv1D,
    "Conv2D": blocks.GroupedConv2D,
    "Conv3D": blocks.GroupedConv3D,
    **{name: getattr(blocks, name) for name in ("DepthwiseConv1D", "DepthwiseConv2D")},
    **{name: getattr(blocks, name) for name in ("SeparableConv1D", "SeparableConv2D")},
    "BatchNormalization": BatchNormalization,
}

for name, layer in EXCHANGED.items():
    setattr(keras.src.layers, name, layer)
