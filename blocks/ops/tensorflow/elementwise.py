"""Activations and scales under TensorFlow: by our kernels, where TensorFlow's own take several passes over memory."""

import keras
import tensorflow as tf

from blocks.ops.activations import OWN_KERNELS
from blocks.ops.tensorflow.runtime import KERNEL_DTYPES, fits, kernels


def activate(inputs: tf.Tensor, name: str) -> tf.Tensor:
    """Activation `name` of Keras, elementwise."""
    operations = kernels() if name in OWN_KERNELS else None
    if operations is not None and inputs.dtype in KERNEL_DTYPES:
        return operations.blocks_activation(inputs, activation=name)
    return keras.activations.get(name)(inputs)


def scale_channels(inputs: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """`inputs` (B, ..., C) times `scale` (C,)."""
    operations = kernels()
    if fits(operations, inputs):
        return operations.blocks_affine(inputs, tf.cast(scale, tf.float32), tf.zeros(scale.shape), [])
    return inputs * tf.cast(scale, inputs.dtype)
