"""Channel shuffle: mixes the channels of different groups between grouped convolutions."""

from collections.abc import Sequence
from typing import Any

import keras

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import check_groups, data_format_of, known_channels, positive, shapes_of, tensors_of
from blocks.ops.channel_shuffle import channel_shuffle
from blocks.ops.renamed import renamed_argument, with_present_names
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class ChannelShuffle(RealInputs, keras.layers.Layer):
    """Reorder channels so that every group of the output holds some of every group of the input.

    With `groups` groups of n channels, output channel i * groups + j is input channel j * n + i: reshape to
    (groups, n), transpose, flatten. Called on a list of images, it shuffles their concatenation over the channels,
    without making it first. With `num_outputs` it returns a list: the output, split over the channels into as many
    equal images, without being made first either.

    Args:
        groups: number of groups; divides the channels.
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.
        num_outputs: number of images that the output is split into; divides the channels. 1 returns an image, no list.
            Its former name `pieces` is accepted, with a DeprecationWarning.

    Raises:
        ValueError: where `groups` or `num_outputs` does not divide the channels.

    Source: Zhang et al. 2018, ShuffleNet, section 3.1, arXiv:1707.01083.

    Example:
        >>> images = np.arange(6.0).reshape(1, 1, 1, 6)
        >>> np.ravel(blocks.ChannelShuffle(2)(images))
        array([0., 3., 1., 4., 2., 5.], dtype=float32)
        >>> np.ravel(blocks.ChannelShuffle(3)(images))
        array([0., 2., 4., 1., 3., 5.], dtype=float32)
    """

    @renamed_argument("pieces", "num_outputs")
    def __init__(self, groups: int, data_format: str | None = None, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = positive(groups, "groups")
        self.num_outputs = positive(num_outputs, "num_outputs")
        self.data_format = data_format_of(data_format, keras.config.image_data_format())

    def build(self, input_shape: Shape | Sequence[Shape]) -> None:
        channels = self._joined(input_shape)[self._axis]
        check_groups(self.groups, channels, "channels")
        check_groups(self.num_outputs, channels, "channels", name="num_outputs")

    @property
    def pieces(self) -> int:
        """The former name of `num_outputs`; without a warning, for Keras reads all attributes when it saves."""
        return self.num_outputs

    @property
    def _axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def call(self, inputs: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        parts = tensors_of(inputs)
        mixed = channel_shuffle(parts, self.groups, self.num_outputs, self.data_format)
        return mixed if self.num_outputs > 1 else mixed[0]

    def compute_output_shape(self, input_shape: Shape | Sequence[Shape]) -> Shape | list[Shape]:
        shape = list(self._joined(input_shape))
        shape[self._axis] //= self.num_outputs
        return [tuple(shape)] * self.num_outputs if self.num_outputs > 1 else tuple(shape)

    def _joined(self, input_shape: Shape | Sequence[Shape]) -> tuple[Any, ...]:
        """Shape of the images that are shuffled, put together."""
        shapes = shapes_of(input_shape)
        if any(len(shape) != 4 for shape in shapes):
            raise ValueError(f"{self.name} shuffles images of four axes, batch included; got {shapes}.")
        axis = self._axis % 4
        rest = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
        if any(other != rest[0] for other in rest):
            raise ValueError(f"{self.name} shuffles images that differ in their channels only; got {shapes}.")
        channels = sum(known_channels(shape, axis, self.name) for shape in shapes)
        return (*shapes[0][:axis], channels, *shapes[0][axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "data_format": self.data_format,
            "num_outputs": self.num_outputs,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ChannelShuffle":
        return super().from_config(with_present_names(config, {"pieces": "num_outputs"}))
