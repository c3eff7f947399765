"""Layer normalisation, on every backend."""

from collections.abc import Collection

import keras
from keras import ops

from blocks.typing import Tensor


def layer_normalization(
    inputs: Tensor, gamma: Tensor | None, beta: Tensor | None, *, axes: Collection[int], epsilon: float
) -> Tensor:
    """Normalisation of `inputs` (B, ...) over `axes`, none of them negative, in float32 at least.

    Args:
        gamma, beta: scale and offset, of the shape of these axes, or None.

    Returns:
        The outputs, of the inputs' shape and type.

    Source: Ba et al. 2016, Layer Normalization, section 3, arXiv:1607.06450.

    Example:
        >>> from blocks.ops.layer_norm import layer_normalization
        >>> np.round(layer_normalization(np.array([[0.0, 2.0, 4.0]], "float32"), None, None, axes=[1], epsilon=0.0), 2)
        array([[-1.22,  0.  ,  1.22]], dtype=float32)
    """
    inputs = ops.convert_to_tensor(inputs)
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import layer_norm as own

        if own.has_kernel(inputs, axes):
            return own.normalize(inputs, gamma, beta, epsilon)
    wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    # Written out: `tf.nn.moments` stops a gradient that second derivatives need.
    centred = wide - ops.mean(wide, axis=list(axes), keepdims=True)
    variance = ops.mean(ops.square(centred), axis=list(axes), keepdims=True)
    outputs = centred * ops.rsqrt(variance + epsilon)
    shape = [size if axis in axes else 1 for axis, size in enumerate(inputs.shape)]
    if gamma is not None:
        outputs = outputs * ops.cast(ops.reshape(gamma, shape), outputs.dtype)
    if beta is not None:
        outputs = outputs + ops.cast(ops.reshape(beta, shape), outputs.dtype)
    return ops.cast(outputs, inputs.dtype)
