"""Pooling with explicit padding, as the reference networks pad it, and to a size given beforehand."""

from typing import Any

import keras
from keras import ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import data_format_of, per_axis
from blocks.ops.geometry import output_shape, padding_of
from blocks.ops.pooling import pool
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class PaddedPooling2D(RealInputs, keras.layers.Layer):
    """Max or average pooling of an image padded by a given number of pixels.

    Keras's "same" pads an even size at stride 2 on one side only, which shifts every window by a pixel against
    networks trained with symmetric padding.

    Args:
        mode: "max" (padded with -inf) or "average" (padding counts as zeros, as in PyTorch's default).
        pool_size, strides: one integer, or two (height, width).
        padding: "valid", "same", or pixels: n, (height, width) or ((top, bottom), (left, right)).
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.

    Raises:
        ValueError: for a wrong argument, or an input smaller than the window.

    Shapes: (B, H, W, C) -> (B, floor((H + top + bottom - height) / stride) + 1, ..., C).

    Source: Krizhevsky et al. 2012, section 3.4 (overlapping windows); padded as PyTorch's `MaxPool2d` and `AvgPool2d`.

    Example:
        >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> np.asarray(blocks.PaddedPooling2D("max", 3, strides=2, padding=1)(image))[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]], dtype=float32)
        >>> np.asarray(blocks.PaddedPooling2D("average", 2)(image))[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """

    def __init__(
        self,
        mode: str,
        pool_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 2,
        padding: str | int | tuple[Any, ...] = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in ("max", "average"):
            raise ValueError(f'mode={mode!r} is not allowed: use "max" or "average".')
        self.mode = mode
        self.pool_size = per_axis(pool_size, "pool_size")
        self.strides = per_axis(strides, "strides")
        self.padding = padding_of(padding)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape)  # refuses images smaller than the window
        return pool(self.mode, inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return output_shape(input_shape, channels, self.pool_size, self.strides, (1, 1), self.padding, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mode": self.mode,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="blocks")
class AdaptiveAveragePooling2D(RealInputs, keras.layers.Layer):
    """Average of images of any size to a size given beforehand: (B, H, W, C) -> (B, height, width, C).

    Output i is the mean of the rows floor(i H / height) to ceil((i + 1) H / height), as in PyTorch; smaller images
    are repeated. Keras's layer of that name wants to know H and W when the network is built.

    Args:
        size: one integer, or two (height, width).

    Raises:
        ValueError: for a size below 1, or inputs of other than four axes.

    Source: PyTorch's `AdaptiveAvgPool2d`, whose windows these are.

    Example:
        >>> image = np.arange(6.0).reshape(1, 1, 6, 1)
        >>> np.ravel(blocks.AdaptiveAveragePooling2D((1, 2))(image))
        array([1., 4.], dtype=float32)
        >>> np.ravel(blocks.AdaptiveAveragePooling2D((1, 4))(image))  # windows overlap where sizes do not divide
        array([0.5, 1.5, 3.5, 4.5], dtype=float32)
    """

    def __init__(self, size: int | tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = per_axis(size, "size")
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        _, height, width, channels = ops.shape(inputs)
        rows, columns = self.size
        # Products rather than einsum, which LiteRT cannot read with a dynamic batch size.
        x = ops.matmul(self._means(width, columns), inputs)
        x = ops.matmul(self._means(height, rows), ops.reshape(x, (-1, height, columns * channels)))
        return ops.reshape(x, (-1, rows, columns, channels))

    def _means(self, length: int | Tensor, outputs: int) -> Tensor:
        """Matrix (outputs, length) whose product with a column is the column's averages."""
        index = ops.expand_dims(ops.arange(outputs, dtype="int32"), 1)
        start = ops.floor_divide(index * length, outputs)
        end = ops.floor_divide((index + 1) * length + outputs - 1, outputs)
        place = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        inside = ops.cast(ops.logical_and(place >= start, place < end), self.compute_dtype)
        return inside / ops.cast(end - start, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
