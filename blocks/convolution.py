"""Grouped 2-D convolution as a Keras layer."""

import keras
from keras import ops

from blocks.arguments import check_groups, data_format_of, output_shape, padding_of, pair, positive
from blocks.grouped import grouped_convolution


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv2D(keras.layers.Layer):
    """2-D convolution whose input channels are split into groups, each with filters of its own.

    Takes the arguments of `keras.layers.Conv2D`, in the same order, and holds the same weights, so either can
    load the other's. Unlike it, a group costs no more on a CPU than its arithmetic, padding can be explicit, and
    strides combine with dilation.

    Args:
        filters: number of outputs, over all groups together; a multiple of `groups`.
        kernel_size, strides, dilation_rate: one integer, or two (height, width), of at least 1.
        padding: "valid", "same", or zeros in pixels: n, (height, width) or ((top, bottom), (left, right)).
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.
        groups: into how many slices inputs and outputs are split; groups == C is a depthwise convolution.
        activation, use_bias, *_initializer, *_regularizer, *_constraint: as in `keras.layers.Conv2D`.

    Weights: `kernel` (kh, kw, C / groups, filters) and `bias` (filters,).

    Raises:
        ValueError: for a wrong argument; when built, where `groups` does not divide the input channels or the
            input is smaller than the kernel.

    Source: Krizhevsky et al. 2012 (AlexNet), section 3.5; Xie et al. 2017 (ResNeXt), section 3.3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str | int | tuple = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        activation=None,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,  # name, dtype and trainable: the keywords of keras.layers.Layer
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive(filters, "filters")
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        self.padding = padding_of(padding)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.dilation_rate = pair(dilation_rate, "dilation_rate")
        self.groups = positive(groups, "groups")
        check_groups(self.groups, self.filters, "filters")
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.bias = None
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def build(self, input_shape):
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError(f"The number of input channels must be known to build {self.name}; got {input_shape}.")
        check_groups(self.groups, channels, "input channels")
        self.compute_output_shape(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})

    def call(self, inputs):
        outputs = grouped_convolution(
            inputs, self.kernel, self.strides, self.padding, self.dilation_rate, self.data_format
        )
        if self.bias is not None:
            shape = (1, 1, 1, self.filters) if self.data_format == "channels_last" else (1, self.filters, 1, 1)
            outputs = ops.add(outputs, ops.reshape(self.bias, shape))
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return output_shape(
            input_shape,
            self.filters,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            self.padding,
            self.data_format,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
