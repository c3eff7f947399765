"""Depthwise separable convolution as a Keras layer."""

from typing import Any

import keras

from blocks.layers.batch_norm import BatchNormalization
from blocks.layers.grouped_conv import GroupedConv2D
from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import check_groups, data_format_of, known_channels, per_axis, positive
from blocks.ops.geometry import output_shape, padding_of
from blocks.ops.group_sizes import groups_of
from blocks.typing import Activation, Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class DepthwiseSeparableConv2D(RealInputs, keras.layers.Layer):
    """A spatial convolution within each channel (or group), then a 1x1 convolution across channels.

    Beyond `keras.layers.SeparableConv2D`: explicit padding, strides with dilation, groups of more than one
    channel, and the form that MobileNet trains, with a normalisation and an activation behind each half.

    Args:
        filters: number of outputs.
        kernel_size, strides, dilation_rate: of the spatial half; one integer, or two (height, width).
        padding: "valid", "same", or pixels, as for `GroupedConv2D`.
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.
        depth_multiplier: outputs of the spatial half for each input channel.
        groups: of the spatial half, a number or the size of each; None is depthwise, one group a channel.
        activation: applied last and, with `normalize`, between the halves too.
        normalize: put a `BatchNormalization` behind each half, in place of its bias.
        momentum, epsilon: of the normalisations.
        use_bias: give both halves a bias, where `normalize` is off.
        depthwise_initializer, pointwise_initializer: of the two kernels.
        quantization: of a layer that was saved after `model.quantize("int8")`, how each half is quantised.

    Weights: those of the sublayers `depthwise` and `pointwise`, and of `depthwise_norm` and `pointwise_norm`.

    Raises:
        ValueError: for a wrong argument; when built, where `groups` does not divide the input channels,
            or sizes do not add up to them.

    Shapes: (B, H, W, C) -> (B, H', W', filters), H' and W' as for `GroupedConv2D`.

    Source: Howard et al. 2017, MobileNets, section 3.1 and figure 3, arXiv:1704.04861.

    Example:
        >>> layer = blocks.DepthwiseSeparableConv2D(128, 3, strides=2, padding=1, normalize=True, activation="relu6")
        >>> layer(np.ones((1, 32, 32, 64))).shape == (1, 16, 16, 128)
        True
        >>> tuple(layer.depthwise.kernel.shape), tuple(layer.pointwise.kernel.shape)
        ((3, 3, 1, 64), (1, 1, 64, 128))
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 1,
        padding: str | int | tuple[Any, ...] = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        depth_multiplier: int = 1,
        groups: int | tuple[int, ...] | None = None,
        activation: Activation = None,
        use_bias: bool = True,
        normalize: bool = False,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        depthwise_initializer: Initializer = "glorot_uniform",
        pointwise_initializer: Initializer = "glorot_uniform",
        quantization: dict[str, dict[str, Any]] | None = None,
        **kwargs: Any,  # name, dtype and trainable: the keywords of keras.layers.Layer
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive(filters, "filters")
        self.kernel_size = per_axis(kernel_size, "kernel_size")
        self.strides = per_axis(strides, "strides")
        self.padding = padding_of(padding)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.dilation_rate = per_axis(dilation_rate, "dilation_rate")
        self.depth_multiplier = positive(depth_multiplier, "depth_multiplier")
        self.groups = None if groups is None else groups_of(groups)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.normalize = bool(normalize)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.depthwise_initializer = keras.initializers.get(depthwise_initializer)
        self.pointwise_initializer = keras.initializers.get(pointwise_initializer)
        self.quantization = quantization or {}
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.depthwise: GroupedConv2D  # built with the input, whose channels are its groups
        self.depthwise_norm: BatchNormalization | None = None  # as is this, and the next
        self.pointwise_norm: BatchNormalization | None = None
        self.pointwise = GroupedConv2D(
            self.filters,
            1,
            data_format=self.data_format,
            use_bias=self.use_bias and not self.normalize,
            kernel_initializer=self.pointwise_initializer,
            trainable=self.trainable,
            name="pointwise",
            **self._precision("pointwise"),
        )

    def build(self, input_shape: Shape) -> None:
        axis = -1 if self.data_format == "channels_last" else 1
        channels = known_channels(input_shape, axis, self.name)
        if isinstance(self.groups, int):
            check_groups(self.groups, channels, "input channels", uneven="groups")
        self.depthwise = GroupedConv2D(
            channels * self.depth_multiplier,
            self.kernel_size,
            self.strides,
            self.padding,
            self.data_format,
            self.dilation_rate,
            groups=channels if self.groups is None else self.groups,
            use_bias=self.use_bias and not self.normalize,
            kernel_initializer=self.depthwise_initializer,
            trainable=self.trainable,
            name="depthwise",
            **self._precision("depthwise"),
        )
        self.depthwise.build(input_shape)
        between = self.depthwise.compute_output_shape(input_shape)
        self.pointwise.build(between)
        if self.normalize:
            self.depthwise_norm, self.pointwise_norm = (
                BatchNormalization(
                    axis,
                    self.momentum,
                    self.epsilon,
                    dtype=self.dtype_policy,
                    trainable=self.trainable,
                    name=name,
                )
                for name in ("depthwise_norm", "pointwise_norm")
            )
            self.depthwise_norm.build(between)
            self.pointwise_norm.build(self.pointwise.compute_output_shape(between))

    def _precision(self, half: str) -> dict[str, Any]:
        """The type of one of the halves, and how it is quantised."""
        saved = self.quantization.get(half)
        if saved is None:
            return {"dtype": self.dtype_policy}
        config = keras.saving.deserialize_keras_object(saved.get("quantization_config"))
        return {"dtype": f"{saved['mode']}_from_{self.dtype_policy.name}", "quantization_config": config}

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        outputs = self.depthwise(inputs)
        if self.depthwise_norm is not None:
            outputs = self.activation(self.depthwise_norm(outputs, training=training))
        outputs = self.pointwise(outputs)
        if self.pointwise_norm is not None:
            outputs = self.pointwise_norm(outputs, training=training)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return output_shape(
            input_shape,
            self.filters,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            self.padding,
            self.data_format,
        )

    def get_config(self) -> dict[str, Any]:
        halves = [half for half in (getattr(self, "depthwise", None), self.pointwise) if half is not None]
        quantization = {
            half.name: {"mode": half.quantization_mode, **half.quantization_settings()}
            for half in halves
            if half.quantization_mode is not None
        }
        return {
            **super().get_config(),
            **({"quantization": quantization} if quantization else {}),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "depth_multiplier": self.depth_multiplier,
            "groups": self.groups,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "normalize": self.normalize,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "depthwise_initializer": keras.initializers.serialize(self.depthwise_initializer),
            "pointwise_initializer": keras.initializers.serialize(self.pointwise_initializer),
        }
