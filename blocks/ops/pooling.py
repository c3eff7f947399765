"""Max and average pooling with explicit padding, on every backend."""

import keras
from keras import ops

from blocks.ops.geometry import Padding, sides_of
from blocks.typing import Tensor


def pool(
    mode: str,
    inputs: Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    data_format: str = "channels_last",
) -> Tensor:
    """Pooling of `inputs` (B, H, W, C), or (B, C, H, W) with "channels_first".

    Args:
        mode: "max" (padded with -inf) or "average" (explicit padding counts as zeros, "same" does not count).
        window, strides: (height, width).
        padding: "valid", "same" or ((top, bottom), (left, right)) in pixels.

    Example:
        >>> from blocks.ops.pooling import pool
        >>> image = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
        >>> np.asarray(pool("max", image, (3, 3), (2, 2), ((1, 1), (1, 1))))[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]], dtype=float32)
    """
    last = data_format == "channels_last"
    tensorflow = keras.backend.backend() == "tensorflow"
    if tensorflow and last:
        from blocks.ops.tensorflow.pooling import pool_by_kernel

        inputs = ops.convert_to_tensor(inputs)
        outputs = pool_by_kernel(mode, inputs, window, strides, padding)
        if outputs is not None:
            return outputs
    if keras.backend.backend() == "jax" and last and mode == "max":
        from blocks.ops.jax.pooling import fits, max_pool

        inputs = ops.convert_to_tensor(inputs)
        if fits(window, inputs):
            return max_pool(inputs, window, strides, sides_of(padding, inputs.shape[1:3], window, strides, (1, 1)))
    if isinstance(padding, str):
        return _pool(mode, inputs, window, strides, padding, data_format)
    paddings = ((0, 0), *padding, (0, 0)) if last else ((0, 0), (0, 0), *padding)
    if mode == "average":
        padded = ops.pad(inputs, paddings)
    elif tensorflow:
        from blocks.ops.tensorflow.pooling import pad_for_max

        padded = pad_for_max(ops.convert_to_tensor(inputs), paddings, (1, *window, 1) if last else (1, 1, *window))
    else:
        padded = ops.pad(inputs, paddings, constant_values=float("-inf"))
    return _pool(mode, padded, window, strides, "valid", data_format)


def _pool(
    mode: str, inputs: Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: str, data_format: str
) -> Tensor:
    def compute(images: Tensor) -> Tensor:
        function = ops.max_pool if mode == "max" else ops.average_pool
        return function(images, window, strides, padding, data_format)

    if keras.backend.backend() != "tensorflow":
        return compute(inputs)
    from blocks.ops.tensorflow.guards import checked_sizes, never_empty

    return never_empty(compute, checked_sizes(inputs, window, padding, 1 if data_format == "channels_last" else 2))
