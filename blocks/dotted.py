"""Layers of Keras that hold weights, under names with dots on every backend."""

import keras
from keras import layers

from blocks.inputs import RealInputs
from blocks.names import DottedName


@keras.saving.register_keras_serializable(package="blocks")
class Dense(DottedName, RealInputs, layers.Dense):
    """`keras.layers.Dense`, whose name may have dots, as a module path of a reference has."""

    def quantize(self, mode=None, type_check=True, config=None):
        """As `keras.layers.Dense.quantize`, which refuses subclasses: this one computes nothing else than that."""
        super().quantize(mode, type_check=type_check and type(self) is not Dense, config=config)


@keras.saving.register_keras_serializable(package="blocks")
class LayerNormalization(DottedName, RealInputs, layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, whose name may have dots, as a module path of a reference has."""
