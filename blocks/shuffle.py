"""Channel shuffle: mixes the channels of different groups between grouped convolutions."""

import keras
from keras import ops

from blocks.arguments import check_groups, data_format_of, positive


@keras.saving.register_keras_serializable(package="blocks")
class ChannelShuffle(keras.layers.Layer):
    """Reorder channels so that every group of the output holds some of every group of the input.

    With `groups` groups of n channels, output channel i * groups + j is input channel j * n + i: reshape to
    (groups, n), transpose, flatten.

    Args:
        groups: number of groups; divides the channels.
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.

    Raises:
        ValueError: where `groups` does not divide the channels.

    Source: Zhang et al. 2018, ShuffleNet, section 3.1, arXiv:1707.01083.
    """

    def __init__(self, groups: int, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.groups = positive(groups, "groups")
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        check_groups(self.groups, input_shape[-1 if self.data_format == "channels_last" else 1], "channels")

    def call(self, inputs):
        batch, *sizes = ops.shape(inputs)
        if self.data_format == "channels_last":
            height, width, channels = sizes
            grouped = ops.reshape(inputs, (batch, height, width, self.groups, channels // self.groups))
            mixed = ops.transpose(grouped, (0, 1, 2, 4, 3))
        else:
            channels, height, width = sizes
            grouped = ops.reshape(inputs, (batch, self.groups, channels // self.groups, height, width))
            mixed = ops.transpose(grouped, (0, 2, 1, 3, 4))
        return ops.reshape(mixed, (batch, *sizes))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "data_format": self.data_format}
