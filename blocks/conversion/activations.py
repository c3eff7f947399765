"""Layers and operations that are an activation of `keras.activations`, whatever their class."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from blocks.layers.dotted_names import Activation

# Layers and operations that are an activation of keras.activations: name -> the arguments that make them so.
ACTIVATIONS: dict[tuple[str, str], dict[str, float | bool | None]] = {
    ("ReLU", "relu"): {"negative_slope": 0.0, "max_value": None, "threshold": 0.0},
    ("ReLU", "relu6"): {"negative_slope": 0.0, "max_value": 6.0, "threshold": 0.0},
    ("LeakyReLU", "leaky_relu"): {"negative_slope": 0.2},
    ("LeakyRelu", "leaky_relu"): {"negative_slope": 0.2},
    ("ELU", "elu"): {"alpha": 1.0},
    ("Elu", "elu"): {"alpha": 1.0},
    ("Gelu", "gelu"): {"approximate": False},
    ("Softmax", "softmax"): {"axis": -1},
    **{
        (name, name.lower()): {}
        for name in ("Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Softsign", "Selu", "Tanh")
    },
    ("HardSigmoid", "hard_sigmoid"): {},
    ("HardSilu", "hard_silu"): {},
    ("Mish", "mish"): {},
}


def activation_of(operation: Any) -> Callable[[Any], Any] | None:
    """The function of keras.activations, or the user's own, that `operation` applies; None where it is none.

    Example:
        >>> from blocks.conversion.activations import activation_of
        >>> activation_of(keras.layers.ReLU(6.0)) is keras.activations.relu6, activation_of(keras.layers.Dense(3))
        (True, None)
    """
    if type(operation) in (layers.Activation, Activation):
        return operation.activation
    if not type(operation).__module__.startswith("keras."):
        return None
    for (kind, name), arguments in ACTIVATIONS.items():
        if type(operation).__name__ == kind and all(getattr(operation, key) == arguments[key] for key in arguments):
            return getattr(keras.activations, name)
    return None
