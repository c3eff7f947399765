"""Selection of channels: hands each group of a convolution the channels that it has learned to see."""

from typing import Any

import keras
import numpy as np
from keras import ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import check_groups, known_channels, positive
from blocks.ops.channel_selection import select_channels
from blocks.ops.keras_internals import DottedName
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class ChannelSelection(DottedName, RealInputs, keras.layers.Layer):
    """Channels of the inputs (B, ..., C) in another order, some left out or repeated: (B, ..., channels).

    Output channel i is input channel index[i]. In front of a grouped convolution this makes a learned group
    convolution, once it has been condensed: the groups then see the inputs that they found of use, and not
    neighbouring ones.

    `index` is a weight that no gradient reaches: it comes with a checkpoint. Until then the selection is even over
    the inputs, and every group sees some of each layer before it: group j of G the channels j, j + G, j + 2 G, ... of
    the selected, as after a channel shuffle. (In the paper's training every group starts with all of the inputs.)

    Args:
        channels: of the outputs; None is as many as the inputs have.
        groups: of the convolution that follows; divides `channels`.

    Weights: `index` (channels,), integers from 0 to C - 1.

    Raises:
        ValueError: where `groups` does not divide the channels.

    Source: Huang et al. 2018, CondenseNet, section 3.1 (index layer), arXiv:1711.09224.

    Example:
        >>> layer = blocks.ChannelSelection(channels=4, groups=2)
        >>> np.ravel(layer(np.arange(8.0).reshape(1, 1, 1, 8)))  # the first group sees channels 0 and 4
        array([0., 4., 2., 6.], dtype=float32)
    """

    def __init__(self, channels: int | None = None, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = None if channels is None else positive(channels, "channels")
        self.groups = positive(groups, "groups")

    def build(self, input_shape: Shape) -> None:
        inputs = known_channels(input_shape, -1, self.name)
        channels = inputs if self.channels is None else self.channels
        check_groups(self.groups, channels, "selected channels")
        even = np.arange(channels) * inputs // channels
        start = even.reshape(-1, self.groups).transpose().reshape(-1)
        self.index = self.add_weight(
            name="index",
            shape=(channels,),
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
            dtype="int64" if keras.backend.backend() == "tensorflow" else "int32",  # of those, what a GPU indexes by
            trainable=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        return select_channels(inputs, self.index)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] if self.channels is None else self.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "groups": self.groups}
