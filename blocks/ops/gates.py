"""Mean over the image and gating of channels, on every backend."""

import functools
from collections.abc import Sequence

import keras
from keras import ops

from blocks.ops.arguments import tensors_of
from blocks.typing import Tensor


def image_mean(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `inputs` (B, H, W, C) over the image, (B, 1, 1, C), and the inputs, to be used from here on.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.1, arXiv:1709.01507.

    Example:
        >>> from blocks.ops.gates import image_mean
        >>> mean, images = image_mean(np.array([1.0, 5.0]).reshape(1, 1, 2, 1))
        >>> np.ravel(mean)
        array([3.])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.image_mean(ops.convert_to_tensor(inputs))
    return ops.mean(inputs, axis=(1, 2), keepdims=True), inputs


def gate(inputs: Tensor, gates: Tensor) -> Tensor:
    """`inputs` (B, H, W, C) times `gates` (B, 1, 1, C).

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.2, arXiv:1709.01507.

    Example:
        >>> from blocks.ops.gates import gate
        >>> np.ravel(gate(np.array([1.0, 5.0]).reshape(1, 1, 2, 1), np.array([0.5]).reshape(1, 1, 1, 1)))
        array([0.5, 2.5])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        return own.gate(ops.convert_to_tensor(inputs), ops.convert_to_tensor(gates))
    return ops.multiply(inputs, gates)


def softmax_sum(candidates: Tensor | Sequence[Tensor], logits: Tensor, radix: int) -> Tensor:
    """Sum (B, H, W, C) of `radix` candidates, each channel weighed by the softmax over the candidates.

    Args:
        candidates: `radix` tensors (B, H, W, C), or one (B, H, W, radix * C).
        logits: (B, 1, 1, radix * C), those of a candidate together.

    Source: Li et al. 2019, Selective Kernel Networks, equations 5 and 6, arXiv:1903.06586.

    Example:
        >>> from blocks.ops.gates import softmax_sum
        >>> np.ravel(softmax_sum([np.full((1, 1, 1, 1), 2.0), np.full((1, 1, 1, 1), 4.0)], np.zeros((1, 1, 1, 2)), 2))
        array([3.])
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow import gates as own

        tensors = [ops.convert_to_tensor(tensor) for tensor in tensors_of(candidates)]
        summed = own.softmax_sum(tensors, ops.convert_to_tensor(logits), radix)
        if summed is not None:
            return summed
    return composed_softmax_sum(candidates, logits, radix)


def composed_softmax_sum(candidates: Tensor | Sequence[Tensor], logits: Tensor, radix: int) -> Tensor:
    """The same in Keras's operations.

    Source: Li et al. 2019, Selective Kernel Networks, equations 5 and 6, arXiv:1903.06586.

    Example:
        >>> from blocks.ops.gates import composed_softmax_sum
        >>> np.ravel(composed_softmax_sum([np.array([2.0, 4.0]).reshape(1, 1, 1, 2)], np.zeros((1, 1, 1, 2)), 2))
        array([3.])
    """
    channels = logits.shape[-1] // radix
    shares = ops.softmax(ops.reshape(logits, (-1, radix, channels)), axis=1)
    shares = [ops.reshape(share, (-1, 1, 1, channels)) for share in ops.split(shares, radix, axis=1)]
    each = tensors_of(candidates)
    each = each if len(each) == radix else ops.split(each[0], radix, axis=-1)
    return functools.reduce(ops.add, map(ops.multiply, each, shares))
