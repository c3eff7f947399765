"""Layers of Keras that hold weights, under names with dots on every backend."""

import keras
from keras import layers

from blocks.names import DottedName


@keras.saving.register_keras_serializable(package="blocks")
class Dense(DottedName, layers.Dense):
    """`keras.layers.Dense`, whose name may have dots, as a module path of a reference has."""


@keras.saving.register_keras_serializable(package="blocks")
class LayerNormalization(DottedName, layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, whose name may have dots, as a module path of a reference has."""
