"""What the graph that is being traced shows of a tensor's past."""

import tensorflow as tf


def behind_convolution(tensor: tf.Tensor) -> bool:
    """Whether the graph being traced shows a convolution, into which converters fold a normalisation of `tensor`."""
    return not tf.executing_eagerly() and tensor.op.type in ("Conv2D", "DepthwiseConv2dNative", "BiasAdd")


def from_relu(tensor: tf.Tensor) -> bool:
    """Whether the graph being traced shows that no value of `tensor` is below zero."""
    if tf.executing_eagerly():
        return False
    operation = tensor.op
    while operation.type in ("Identity", "Cast", "LRN", "MaxPool"):  # keep signs
        operation = operation.inputs[0].op
    return operation.type in ("Relu", "Relu6")
