"""The epilogue of an operation: bias, residual sum and activation."""

import keras
import tensorflow as tf

# Activations that our kernels apply to an output before it is written.
FUSED = ("relu", "relu6", "hard_silu", "silu", "gelu")


def _hard_sigmoid(inputs: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(inputs + tf.constant([[3.0]], inputs.dtype)) / tf.constant([[6.0]], inputs.dtype)


# Keras's, with constants of two axes: over a scalar tf2onnx stops, and leaves a transposition at every convolution; one
# of one axis or of four TensorFlow takes for a residual sum, which its oneDNN convolution then cannot add.
ACTIVATIONS = {"hard_sigmoid": _hard_sigmoid, "hard_silu": lambda inputs: inputs * _hard_sigmoid(inputs)}


def epilogue(
    outputs: tf.Tensor, bias: tf.Tensor | None, activation: str | None, residual: tf.Tensor | None
) -> tf.Tensor:
    """activation(outputs + bias + residual) in TensorFlow's operations; its graph optimiser fuses them where it can."""
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype))
    if residual is not None:
        outputs = outputs + tf.cast(residual, outputs.dtype)
    if activation in (None, "linear"):
        return outputs
    return (ACTIVATIONS.get(activation) or keras.activations.get(activation))(outputs)
