"""Layer names with dots, as module paths of references have: put together, and of layers that may have them."""

from dataclasses import dataclass
from typing import Any, TypedDict

import keras
from keras import layers, ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.dense import is_pointwise, pointwise_dense
from blocks.ops.elementwise import activate
from blocks.ops.keras_internals import DottedName
from blocks.ops.layer_norm import layer_normalization
from blocks.typing import Tensor


class ConvNormNames(TypedDict):
    """The names of a convolution and of the normalisation behind it; None leaves them to Keras.

    Example:
        >>> from blocks.layers.dotted_names import ConvNormNames
        >>> names = ConvNormNames(name="conv1", norm_name="bn1")
        >>> blocks.conv_norm(keras.Input((32, 32, 3)), 16, 3, **names).shape
        (None, 32, 32, 16)
    """

    name: str | None
    norm_name: str | None


@dataclass(frozen=True)
class Scope:
    """A module path below which layers are named; without one there are no names, and Keras numbers the layers.

    Raises:
        TypeError: for a name that is itself a scope.

    Example:
        >>> from blocks.layers.dotted_names import Scope
        >>> scope = Scope("layer1.0")
        >>> scope("fc")
        'layer1.0.fc'
        >>> scope / "attn"
        Scope(name='layer1.0.attn')
        >>> scope.names("conv1", "bn1")
        {'name': 'layer1.0.conv1', 'norm_name': 'layer1.0.bn1'}
    """

    name: str | None

    def __post_init__(self) -> None:
        if isinstance(self.name, Scope):
            raise TypeError(f"A scope's name is a string or None, not {self.name}: give {self.name.name!r}.")

    def __call__(self, layer: str | int) -> str | None:
        """The name of a layer."""
        return None if self.name is None else f"{self.name}.{layer}"

    def __truediv__(self, module: str | int) -> "Scope":
        """The scope of a module."""
        return Scope(self(module))

    def names(self, conv: str, norm: str) -> ConvNormNames:
        """The names of a convolution and its normalisation, as `conv_norm` takes them."""
        return {"name": self(conv), "norm_name": self(norm)}


@keras.saving.register_keras_serializable(package="blocks")
class Dense(DottedName, RealInputs, layers.Dense):
    """`keras.layers.Dense`, whose name may have dots, as a module path of a reference has.

    (B, ..., C) -> (B, ..., units). Arguments, weights and errors are those of Keras's layer; integers are cast.

    Example:
        >>> layer = blocks.Dense(10, activation="softmax", name="head.fc")
        >>> probabilities = layer(np.ones((2, 64)))
        >>> np.round(np.sum(probabilities, axis=1), 3)
        array([1., 1.], dtype=float32)
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if is_pointwise(inputs):
            return pointwise_dense(inputs, self.kernel, self.bias, self.activation)
        return super().call(inputs, training=training)

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """As `keras.layers.Dense.quantize`, which refuses subclasses: this one computes nothing else than that."""
        super().quantize(mode, type_check=type_check and type(self) is not Dense, config=config)


@keras.saving.register_keras_serializable(package="blocks")
class LayerNormalization(DottedName, RealInputs, layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, whose name may have dots, as a module path of a reference has.

    Its second derivatives are right under TensorFlow too: Keras takes the variance from `tf.nn.moments`, which stops a
    gradient that they need.

    (B, ..., C) -> the same shape. Arguments, weights and errors are those of Keras's layer.

    Source: Ba et al. 2016, Layer Normalization, section 3, arXiv:1607.06450.

    Example:
        >>> layer = blocks.LayerNormalization(epsilon=1e-6, name="stages.0.norm")
        >>> np.round(layer(np.array([[0.0, 2.0, 4.0], [5.0, 5.0, 8.0]])), 2)
        array([[-1.22,  0.  ,  1.22],
               [-0.71, -0.71,  1.41]], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        if keras.backend.backend() != "tensorflow" or self.rms_scaling:
            return super().call(inputs)
        # Keras does not cast the inputs of this layer: narrower ones are widened before anything is rounded.
        inputs = ops.cast(inputs, keras.backend.result_type(inputs.dtype, self.compute_dtype))
        axes = {axis % len(inputs.shape) for axis in (self.axis if isinstance(self.axis, list) else [self.axis])}
        gamma, beta = (None if each is None else ops.convert_to_tensor(each) for each in (self.gamma, self.beta))
        return ops.cast(layer_normalization(inputs, gamma, beta, axes=axes, epsilon=self.epsilon), self.compute_dtype)


@keras.saving.register_keras_serializable(package="blocks")
class Activation(DottedName, RealInputs, layers.Activation):
    """`keras.layers.Activation`, by our kernels under TensorFlow where they have the function: GELU, SiLU, hard SiLU.

    (B, ...) -> the same shape. Arguments and errors are those of Keras's layer; integers are cast.

    Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2, arXiv:1606.08415.

    Example:
        >>> layer = blocks.Activation("gelu", name="stages.0.act")
        >>> np.round(layer(np.array([-1.0, 0.0, 1.0])), 4)
        array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        return activate(inputs, self.activation)
