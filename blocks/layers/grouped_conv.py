"""Grouped convolution over one, two and three axes, as Keras layers."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from blocks.layers.conv_kernels import ConvolutionKernels
from blocks.layers.quantization import rounded_to_levels
from blocks.layers.real_inputs import RealInputs
from blocks.ops.activations import named_activation
from blocks.ops.arguments import check_residual, data_format_of, known_channels, per_axis
from blocks.ops.geometry import output_shape, padding_of
from blocks.ops.group_sizes import filters_of, group_runs, groups_of
from blocks.ops.grouped_conv import convolve_group_runs, implementation_of, prepare_kernels
from blocks.ops.keras_internals import DottedName
from blocks.typing import Activation, Constraint, Initializer, Regularizer, Shape, Tensor


class GroupedConvolution(DottedName, RealInputs, ConvolutionKernels, keras.layers.Layer):
    """Grouped convolution over `rank` axes, (B, ..., C) -> (B, ..., filters); a subclass sets `rank`.

    `GroupedConv2D` explains the arguments. `kernels` and `macs_per_position` are known once the layer is built.

    Raises:
        ValueError: as `GroupedConv2D` does, and where the number of input channels is unknown.

    Source: Krizhevsky et al. 2012 (AlexNet), section 3.5; Xie et al. 2017 (ResNeXt), section 3.3.

    Example:
        >>> layer = blocks.GroupedConv2D(64, 3, groups=4)
        >>> layer.build((None, 32, 32, 16))
        >>> len(layer.kernels), layer.macs_per_position  # 3 * 3 * 16 / 4 * 64
        (1, 2304)
    """

    rank: int

    def __init__(
        self,
        filters: int | tuple[int, ...],
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str | int | tuple[Any, ...] = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        groups: int | tuple[int, ...] = 1,
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        implementation: str | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,  # name, dtype and trainable: the keywords of keras.layers.Layer
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.groups = groups_of(groups)
        self.filters_by_group = filters_of(filters, self.groups)
        self.filters = self.filters_by_group if isinstance(self.filters_by_group, int) else sum(self.filters_by_group)
        self.kernel_size = per_axis(kernel_size, "kernel_size", self.rank)
        self.strides = per_axis(strides, "strides", self.rank)
        self.padding = padding_of(padding, self.rank)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.dilation_rate = per_axis(dilation_rate, "dilation_rate", self.rank)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.implementation = implementation_of(implementation, self.rank)
        self.set_lora(lora_rank, lora_alpha)
        self.quantization_config = quantization_config
        self.kernel_scale: keras.Variable | None = None
        self.bias: keras.Variable | None = None
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def build(self, input_shape: Shape) -> None:
        prepare_kernels()
        channels = known_channels(input_shape, self._channel_axis, self.name)
        self.group_runs = group_runs(self.groups, self.filters_by_group, channels)
        self.compute_output_shape(input_shape)
        shapes = [(*self.kernel_size, run.channels // run.groups, run.filters) for run in self.group_runs]
        if self.quantization_mode is None:
            firsts = itertools.accumulate((run.filters for run in self.group_runs[:-1]), initial=0)
            self.add_kernels(
                shapes,
                [self._initializer(shape[-1], first) for shape, first in zip(shapes, firsts, strict=True)],
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
        else:
            self.quantized_build(shapes, self.quantization_mode)
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        self.built = True
        if self.lora_rank is not None:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _initializer(self, filters: int, first: int) -> Callable[..., Any]:
        """The initial value of filters [first, first + filters).

        One of several is those columns of a kernel for all outputs: scaled as if the groups were equal, and not the
        same random numbers as its neighbours.
        """
        if filters == self.filters:
            return self.kernel_initializer

        def columns(shape: Shape, dtype: str | None = None) -> Tensor:
            return self.kernel_initializer((*shape[:-1], self.filters), dtype=dtype)[..., first : first + filters]

        return columns

    @property
    def macs_per_position(self) -> int:
        """Multiply-accumulates for one position of the output, all filters together, bias left out.

        Raises ValueError before the layer is built.
        """
        return sum(math.prod(kernel.shape) for kernel in self.kernels)

    def call(self, inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is not None:
            check_residual(self.compute_output_shape(tuple(inputs.shape)), residual.shape)
        if self.inputs_quantizer is not None:
            # Levels are whole multiples of a scale, which bfloat16 would round.
            wide = keras.backend.result_type(self.compute_dtype, "float32")
            inputs = rounded_to_levels(ops.cast(inputs, wide), self.inputs_quantizer)
            residual = None if residual is None else ops.cast(residual, wide)
        activation = named_activation(self.activation)
        outputs = convolve_group_runs(
            inputs,
            self.computed_kernels(),
            [run.channels for run in self.group_runs],
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
            self.implementation,
            bias=self.bias,
            activation=activation,
            residual=residual,
        )
        outputs = self.activation(outputs) if activation is None else outputs
        return outputs if self.inputs_quantizer is None else ops.cast(outputs, self.compute_dtype)

    def compute_output_spec(self, inputs: Tensor, residual: Tensor | None = None) -> keras.KerasTensor:
        if residual is not None:
            check_residual(self.compute_output_shape(tuple(inputs.shape)), residual.shape)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

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
        return {
            **super().get_config(),
            "filters": self.filters_by_group,
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
            "implementation": self.implementation,
            **self.lora_config(),
            **self.quantization_settings(),
        }

    def is_quantizable(self) -> bool:
        """Whether the class is known to compute no more than its kernels say; a subclass may."""
        return type(self) in (GroupedConv1D, GroupedConv2D, GroupedConv3D)


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv2D(GroupedConvolution):
    """2-D convolution whose input channels are split into groups, each with filters of its own.

    Takes the arguments of `keras.layers.Conv2D`, in the same order, and holds the same weights, so either can
    load the other's. Unlike it, a group costs no more on a CPU than its arithmetic, padding can be explicit,
    strides combine with dilation, and groups may differ in size.

    Args:
        filters: number of outputs, over all groups together, or a tuple with the outputs of each group. A number is
            a multiple of a number of `groups`; among uneven groups it is shared in proportion to their sizes, by
            largest remainder, at least 1 each.
        kernel_size, strides, dilation_rate: one integer, or two (height, width), of at least 1.
        padding: "valid", "same", or zeros in pixels: n, (height, width) or ((top, bottom), (left, right)).
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.
        groups: into how many equal slices the inputs are split, C for a depthwise convolution; or the size of each,
            (16, 16, 16, 19) for 67 channels. `blocks.split_channels` computes sizes.
        activation, use_bias, *_initializer, *_regularizer, *_constraint: as in `keras.layers.Conv2D`.
        implementation: how it is computed, one of `blocks.ops.implementation.NAMES`; None chooses. Backends other than
            TensorFlow have "native" only. It changes no result beyond rounding.
        lora_rank, lora_alpha: adapt the kernel by a product of that rank, as in `keras.layers.Conv2D`; `enable_lora`
            does so later. For equal groups, which have one kernel.
        quantization_config: of a layer whose dtype is "int8_from_float32" or its like, as `quantize` takes it.

    Call: `layer(inputs, residual=None)` is activation(convolution + bias + residual), the residual in the shape of
    the outputs.

    Weights: `kernel` (kh, kw, C / groups, filters) and `bias` (filters,). Neighbouring groups with equally many
    channels and filters share one kernel; where the groups are not all alike, the kernels are `kernel_0`,
    `kernel_1`, ..., each (kh, kw, channels of one group, filters of them all), and `kernels` lists them. With LoRA
    there are `lora_kernel_a` and `lora_kernel_b`, and `kernel` is the sum; quantised, it is int8 with a `kernel_scale`.

    Raises:
        ValueError: for a wrong argument; when built, where `groups` does not divide or add up to the input channels,
            or the input is smaller than the kernel; when called, for a residual of another shape.

    Source: Krizhevsky et al. 2012 (AlexNet), section 3.5; Xie et al. 2017 (ResNeXt), section 3.3.

    Example:
        >>> layer = blocks.GroupedConv2D(64, 3, strides=2, padding=1, groups=4, use_bias=False)
        >>> layer(np.ones((2, 32, 32, 16))).shape == (2, 16, 16, 64)
        True
        >>> tuple(layer.kernel.shape)
        (3, 3, 4, 64)
        >>> uneven = blocks.GroupedConv2D(134, 3, groups=(16, 16, 16, 19))
        >>> uneven.build((None, 32, 32, 67))
        >>> [tuple(kernel.shape) for kernel in uneven.kernels]
        [(3, 3, 16, 96), (3, 3, 19, 38)]
    """

    rank = 2


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv1D(GroupedConvolution):
    """1-D convolution in groups: `GroupedConv2D` for sequences (B, L, C), or (B, C, L) with "channels_first".

    Arguments, weights and errors are those of `GroupedConv2D`, and in the order of `keras.layers.Conv1D`, with one
    integer for the one axis. `padding` is "valid", "same", zeros in steps (n or ((before, after),)), or "causal":
    zeros in front only, so that an output sees no later input (van den Oord et al. 2016, WaveNet, section 2.1,
    arXiv:1609.03499). Weights: `kernel` (k, C / groups, filters) and `bias` (filters,).

    Example:
        >>> layer = blocks.GroupedConv1D(1, 2, padding="causal", use_bias=False, kernel_initializer="ones")
        >>> np.ravel(layer(np.array([[[1.0], [10.0], [100.0]]])))  # each output sees its input and the one before
        array([  1.,  11., 110.], dtype=float32)
    """

    rank = 1


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv3D(GroupedConvolution):
    """3-D convolution in groups: `GroupedConv2D` for volumes and films (B, D, H, W, C), or (B, C, D, H, W).

    Arguments, weights and errors are those of `GroupedConv2D`, and in the order of `keras.layers.Conv3D`, with
    (depth, height, width) for the axes; `padding` in voxels is n, one number for each axis, or
    ((front, back), (top, bottom), (left, right)). `implementation` is "native" (on a CPU for one group only),
    "frames", "split" or None. Weights: `kernel` (kd, kh, kw, C / groups, filters) and `bias` (filters,).

    Example:
        >>> film = np.ones((1, 8, 16, 16, 12))
        >>> layer = blocks.GroupedConv3D(24, (3, 1, 1), padding=(1, 0, 0), groups=4)
        >>> layer(film).shape == (1, 8, 16, 16, 24), tuple(layer.kernel.shape)
        (True, (3, 1, 1, 3, 24))
    """

    rank = 3
