"""Layer names with dots, as module paths of references have: put together, and of layers that may have them."""

from dataclasses import dataclass

import keras
from keras import layers, ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.keras_internals import DottedName


@dataclass(frozen=True)
class Scope:
    """A module path below which layers are named; without one there are no names, and Keras numbers the layers.

    Raises:
        TypeError: for a name that is itself a scope.

    Example:
        >>> scope = Scope("layer1.0")
        >>> scope("fc")
        'layer1.0.fc'
        >>> scope / "attn"
        Scope(name='layer1.0.attn')
        >>> scope.names("conv1", "bn1")
        {'name': 'layer1.0.conv1', 'norm_name': 'layer1.0.bn1'}
    """

    name: str | None

    def __post_init__(self):
        if isinstance(self.name, Scope):
            raise TypeError(f"A scope's name is a string or None, not {self.name}: give {self.name.name!r}.")

    def __call__(self, layer: str | int) -> str | None:
        """The name of a layer."""
        return None if self.name is None else f"{self.name}.{layer}"

    def __truediv__(self, module: str | int) -> "Scope":
        """The scope of a module."""
        return Scope(self(module))

    def names(self, conv: str, norm: str) -> dict[str, str | None]:
        """The names of a convolution and its normalisation, as `conv_norm` takes them."""
        return {"name": self(conv), "norm_name": self(norm)}


@keras.saving.register_keras_serializable(package="blocks")
class Dense(DottedName, RealInputs, layers.Dense):
    """`keras.layers.Dense`, whose name may have dots, as a module path of a reference has."""

    def quantize(self, mode=None, type_check=True, config=None):
        """As `keras.layers.Dense.quantize`, which refuses subclasses: this one computes nothing else than that."""
        super().quantize(mode, type_check=type_check and type(self) is not Dense, config=config)


@keras.saving.register_keras_serializable(package="blocks")
class LayerNormalization(DottedName, RealInputs, layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, whose name may have dots, as a module path of a reference has.

    Its second derivatives are right under TensorFlow too: Keras takes the variance from `tf.nn.moments`, which stops a
    gradient that they need.
    """

    def call(self, inputs):
        if keras.backend.backend() != "tensorflow" or self.rms_scaling:
            return super().call(inputs)
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        centred = wide - ops.mean(wide, axis=self.axis, keepdims=True)
        outputs = centred * ops.rsqrt(ops.mean(ops.square(centred), axis=self.axis, keepdims=True) + self.epsilon)
        axes = {axis % len(inputs.shape) for axis in (self.axis if isinstance(self.axis, list) else [self.axis])}
        shape = [size if axis in axes else 1 for axis, size in enumerate(inputs.shape)]
        if self.gamma is not None:
            outputs = outputs * ops.cast(ops.reshape(self.gamma, shape), outputs.dtype)
        if self.beta is not None:
            outputs = outputs + ops.cast(ops.reshape(self.beta, shape), outputs.dtype)
        return ops.cast(outputs, self.compute_dtype)
