"""Layers of Keras that hold weights, under names with dots on every backend."""

import keras
from keras import layers

from blocks.inputs import RealInputs
from blocks.names import DottedName


@keras.saving.register_keras_serializable(package="blocks")
class Dense(DottedName, RealInputs, layers.Dense):
    """`keras.layers.Dense`, whose name may have dots, as a module path of a reference has."""


@keras.saving.register_keras_serializable(package="blocks")
class LayerNormalization(DottedName, RealInputs, layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, whose name may have dots, as a module path of a reference has."""
