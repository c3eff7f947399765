"""Pooling with explicit padding, as the reference networks pad it."""

import keras
from keras import ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import data_format_of, output_shape, padding_of, per_axis


@keras.saving.register_keras_serializable(package="blocks")
class PaddedPooling2D(RealInputs, keras.layers.Layer):
    """Max or average pooling of an image padded by a given number of pixels.

    Keras's "same" pads an even size at stride 2 on one side only, which shifts every window by a pixel against
    networks trained with symmetric padding.

    Args:
        mode: "max" (padding never wins) or "average" (padding counts as zeros, as in PyTorch's default).
        pool_size, strides: one integer, or two (height, width).
        padding: "valid", "same", or pixels: n, (height, width) or ((top, bottom), (left, right)).
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.

    Raises:
        ValueError: for a wrong argument, or an input smaller than the window.
    """

    def __init__(self, mode: str, pool_size=3, strides=2, padding="valid", data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if mode not in ("max", "average"):
            raise ValueError(f'mode={mode!r} is not allowed: use "max" or "average".')
        self.mode = mode
        self.pool_size = per_axis(pool_size, "pool_size")
        self.strides = per_axis(strides, "strides")
        self.padding = padding_of(padding)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        self.compute_output_shape(input_shape)

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)  # refuses images smaller than the window
        last = self.data_format == "channels_last"
        tensorflow = keras.backend.backend() == "tensorflow"
        if tensorflow and last:
            from blocks.ops.tensorflow.pooling import pool

            inputs = ops.convert_to_tensor(inputs)
            outputs = pool(self.mode, inputs, self.pool_size, self.strides, self.padding)
            if outputs is not None:
                return outputs
        if isinstance(self.padding, str):
            return self._pool(inputs, self.padding)
        paddings = ((0, 0), *self.padding, (0, 0)) if last else ((0, 0), (0, 0), *self.padding)
        if self.mode == "average":
            return self._pool(ops.pad(inputs, paddings), "valid")
        if tensorflow:
            from blocks.ops.tensorflow.fused import exporting
            from blocks.ops.tensorflow.pooling import pad_for_max

            if exporting():
                window = (1, *self.pool_size, 1) if last else (1, 1, *self.pool_size)
                return self._pool(pad_for_max(ops.convert_to_tensor(inputs), paddings, window), "valid")
        return self._pool(ops.pad(inputs, paddings, constant_values=float("-inf")), "valid")

    def _pool(self, inputs, padding: str):
        def compute(images):
            pool = ops.max_pool if self.mode == "max" else ops.average_pool
            return pool(images, self.pool_size, self.strides, padding, self.data_format)

        if keras.backend.backend() != "tensorflow":
            return compute(inputs)
        from blocks.ops.tensorflow.fused import checked_sizes, never_empty

        first = 1 if self.data_format == "channels_last" else 2
        return never_empty(compute, checked_sizes(inputs, self.pool_size, padding, first))

    def compute_output_shape(self, input_shape):
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return output_shape(input_shape, channels, self.pool_size, self.strides, (1, 1), self.padding, self.data_format)

    def get_config(self):
        return {
            **super().get_config(),
            "mode": self.mode,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }
