"""Which activations an operation may apply by itself, to outputs that are not yet written."""

import keras

from blocks.typing import Activation

ELEMENTWISE = ("linear", "relu", "relu6", "hard_silu", "silu", "hard_sigmoid", "sigmoid", "tanh", "gelu", "elu")
OWN_KERNELS = ("hard_silu", "silu", "gelu")  # for which TensorFlow takes several passes over memory


def named_activation(function: Activation) -> str | None:
    """Keras's name of one of its own elementwise activations, "linear" included; None for any other function.

    Example:
        >>> from blocks.ops.activations import named_activation
        >>> named_activation(keras.activations.relu6), named_activation(keras.activations.softmax)
        ('relu6', None)
    """
    name = getattr(function, "__name__", "")
    return name if name in ELEMENTWISE and function is keras.activations.get(name) else None
