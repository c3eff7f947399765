"""Channel shuffle, on every backend."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from blocks.typing import Tensor


def channel_shuffle(
    parts: Sequence[Tensor], groups: int, num_outputs: int = 1, data_format: str = "channels_last"
) -> list[Any]:
    """Channel shuffle of the concatenation of `parts` over their channels, in `num_outputs` images of equal size.

    Args:
        parts: images (B, H, W, C_i), or (B, C_i, H, W) with "channels_first".
        groups, num_outputs: both divide the sum of C_i.

    Source: Zhang et al. 2018, ShuffleNet, section 3.1, arXiv:1707.01083.

    Example:
        >>> from blocks.ops.channel_shuffle import channel_shuffle
        >>> left, right = np.array([0.0, 1.0]).reshape(1, 1, 1, 2), np.array([2.0, 3.0]).reshape(1, 1, 1, 2)
        >>> [np.ravel(image) for image in channel_shuffle([left, right], groups=2)]
        [array([0., 2., 1., 3.])]
    """
    last = data_format == "channels_last"
    if keras.backend.backend() == "tensorflow" and last:
        from blocks.ops.tensorflow.channel_shuffle import shuffle

        return shuffle([ops.convert_to_tensor(part) for part in parts], groups, num_outputs)
    axis = -1 if last else 1
    images = ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]
    batch, *sizes = ops.shape(images)
    if last:
        height, width, channels = sizes
        grouped = ops.reshape(images, (batch, height, width, groups, channels // groups))
        mixed = ops.transpose(grouped, (0, 1, 2, 4, 3))
    else:
        channels, height, width = sizes
        grouped = ops.reshape(images, (batch, groups, channels // groups, height, width))
        mixed = ops.transpose(grouped, (0, 2, 1, 3, 4))
    mixed = ops.reshape(mixed, (batch, *sizes))
    return list(ops.split(mixed, num_outputs, axis=axis)) if num_outputs > 1 else [mixed]
