"""Local response normalisation, on every backend."""

import keras
from keras import ops

from blocks.typing import Tensor


def local_response_normalization(inputs: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta of `inputs` (..., C), in float32 or,
    of float64, in that.

    Source: Krizhevsky et al. 2012, section 3.3, with alpha divided by `size` as in Caffe and PyTorch.

    Example:
        >>> from blocks.ops.local_response_norm import local_response_normalization
        >>> x = np.array([[1.0, 2.0, 1.0]], "float32")
        >>> np.asarray(local_response_normalization(x, size=1, k=0.0, alpha=1.0, beta=0.5))
        array([[1., 1., 1.]], dtype=float32)
    """
    wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow.local_response_norm import has_operation, normalize

        if has_operation(wide, size):
            return normalize(wide, size, k, alpha, beta)
    return composed(wide, size, k, alpha, beta)


def composed(wide: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
    """The same of floats, in operations of Keras alone.

    Example:
        >>> from blocks.ops.local_response_norm import composed
        >>> np.asarray(composed(np.array([[1.0, 2.0, 1.0]], "float32"), size=1, k=0.0, alpha=1.0, beta=0.5))
        array([[1., 1., 1.]], dtype=float32)
    """
    channels = wide.shape[-1]
    edges = [(0, 0)] * (len(wide.shape) - 1) + [(size // 2, (size - 1) // 2)]
    squares = ops.pad(ops.square(wide), edges)
    total = sum(squares[..., start : start + channels] for start in range(size))
    return wide * ops.power(k + alpha / size * total, -beta)
