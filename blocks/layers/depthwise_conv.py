"""Keras's depthwise and separable convolutions, computed as grouped ones: drop-in layers for models that have them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.activations import named_activation
from blocks.ops.arguments import known_channels
from blocks.ops.geometry import Padding, output_shape, padding_of
from blocks.ops.grouped_conv import convolve_group_runs
from blocks.ops.keras_internals import DottedName
from blocks.typing import LayerMixin, Shape, Tensor


class _Depthwise(LayerMixin):
    """What the layers below share, before the Keras class: explicit padding, and a depthwise half in groups."""

    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    kernel_size: tuple[int, ...]
    data_format: str
    padding: Padding

    def _in_groups(
        self, inputs: Tensor, kernel: Tensor, bias: Tensor | None = None, activation: str | None = None
    ) -> Tensor:
        """Depthwise convolution with a kernel of Keras's shape, (..., C, depth_multiplier)."""
        *size, channels, multiplier = kernel.shape
        return convolve_group_runs(
            inputs,
            [ops.reshape(kernel, (*size, 1, channels * multiplier))],
            [channels],
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
            bias=bias,
            activation=activation,
        )

    def _output_shape(self, input_shape: Shape, filters: int) -> Shape:
        return output_shape(
            input_shape, filters, self.kernel_size, self.strides, self.dilation_rate, self.padding, self.data_format
        )


class _DepthwiseConv(DottedName, RealInputs, _Depthwise):
    depth_multiplier: int
    kernel: keras.Variable
    bias: keras.Variable | None

    def call(self, inputs: Tensor) -> Tensor:
        name = named_activation(self.activation)
        outputs = self._in_groups(inputs, self.kernel, self.bias, name)
        return self.activation(outputs) if name is None else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = known_channels(input_shape, -1 if self.data_format == "channels_last" else 1, self.name)
        return self._output_shape(input_shape, channels * self.depth_multiplier)

    @property
    def groups(self) -> int:
        """Of the convolution: as many as there are input channels. Raises ValueError before the layer is built."""
        if not self.built:
            raise ValueError(f"{self.name} has no weights yet: build it, or call it on an input.")
        return int(self.kernel.shape[-2])

    @property
    def macs_per_position(self) -> int:
        """Multiply-accumulates for one position of the output, all filters together, bias left out."""
        return math.prod(self.kernel.shape)


class _SeparableConv(DottedName, RealInputs, _Depthwise):
    filters: int
    depthwise_kernel: keras.Variable
    pointwise_kernel: keras.Variable
    bias: keras.Variable | None

    def call(self, inputs: Tensor) -> Tensor:
        name, ones = named_activation(self.activation), (1,) * len(self.strides)
        between = self._in_groups(inputs, self.depthwise_kernel)
        channels = self.pointwise_kernel.shape[-2]
        outputs = convolve_group_runs(
            between,
            [self.pointwise_kernel],
            [channels],
            ones,
            "valid",
            ones,
            self.data_format,
            bias=self.bias,
            activation=name,
        )
        return self.activation(outputs) if name is None else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._output_shape(input_shape, self.filters)


def _keras_padding(padding: object) -> object:
    """What Keras's constructor is given: it knows names alone, and ours is set behind it."""
    return padding if isinstance(padding, str) else "valid"


@keras.saving.register_keras_serializable(package="blocks")
class DepthwiseConv2D(_DepthwiseConv, layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, computed as a convolution in C groups: faster on a CPU, training above all.

    Arguments, weights and errors are those of Keras's layer; strides may differ between the axes and go together with
    dilation, and `padding` may be zeros in pixels, as for `blocks.GroupedConv2D`.

    (B, H, W, C) -> (B, H', W', C * depth_multiplier), or channels first. Weights: `kernel`
    (kh, kw, C, depth_multiplier) and `bias`, as Keras has them, so either layer loads the other's.

    Raises:
        ValueError: for a wrong argument, or an input smaller than the kernel.

    Source: Howard et al. 2017, MobileNets, section 3.1, arXiv:1704.04861.

    Example:
        >>> layer = blocks.DepthwiseConv2D(3, strides=2, padding=1, depth_multiplier=2)
        >>> layer(np.ones((1, 32, 32, 8))).shape == (1, 16, 16, 16)
        True
        >>> tuple(layer.kernel.shape)
        (3, 3, 8, 2)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str | int | tuple[Any, ...] = "valid",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, strides, _keras_padding(padding), *args, **kwargs)
        self.padding = padding_of(padding)


@keras.saving.register_keras_serializable(package="blocks")
class DepthwiseConv1D(_DepthwiseConv, layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D`, computed as a convolution in C groups: `DepthwiseConv2D` for sequences.

    (B, L, C) -> (B, L', C * depth_multiplier), or channels first. Weights: `kernel` (k, C, depth_multiplier) and
    `bias`. Arguments and errors are those of `DepthwiseConv2D`, with one integer for the one axis.

    Source: as `DepthwiseConv2D`.

    Example:
        >>> layer = blocks.DepthwiseConv1D(3, padding=((2, 0),), use_bias=False, depthwise_initializer="ones")
        >>> np.ravel(layer(np.array([[[1.0], [10.0], [100.0]]])))
        array([  1.,  11., 111.], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | tuple[Any, ...] = "valid",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, strides, _keras_padding(padding), *args, **kwargs)
        self.padding = padding_of(padding, 1)


@keras.saving.register_keras_serializable(package="blocks")
class SeparableConv2D(_SeparableConv, layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with its depthwise half computed as a convolution in C groups.

    Arguments, weights and errors are those of Keras's layer, and those of `DepthwiseConv2D` beyond it. With a
    normalisation between the halves, as MobileNet has it: `blocks.DepthwiseSeparableConv2D`.

    (B, H, W, C) -> (B, H', W', filters), or channels first. Weights: `depthwise_kernel` (kh, kw, C, depth_multiplier),
    `pointwise_kernel` (1, 1, C * depth_multiplier, filters) and `bias`.

    Source: Chollet 2017, Xception, section 2, arXiv:1610.02357.

    Example:
        >>> layer = blocks.SeparableConv2D(16, 3, padding="same", use_bias=False)
        >>> layer(np.ones((1, 8, 8, 4))).shape == (1, 8, 8, 16)
        True
        >>> [tuple(weight.shape) for weight in layer.weights]
        [(3, 3, 4, 1), (1, 1, 4, 16)]
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str | int | tuple[Any, ...] = "valid",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, _keras_padding(padding), *args, **kwargs)
        self.padding = padding_of(padding)


@keras.saving.register_keras_serializable(package="blocks")
class SeparableConv1D(_SeparableConv, layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with its depthwise half computed in C groups: `SeparableConv2D` for sequences.

    (B, L, C) -> (B, L', filters), or channels first. Arguments and errors are those of `SeparableConv2D`, with one
    integer for the one axis.

    Source: as `SeparableConv2D`.

    Example:
        >>> blocks.SeparableConv1D(16, 3, strides=2, padding="same")(np.ones((1, 8, 4))).shape == (1, 4, 16)
        True
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | tuple[Any, ...] = "valid",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, _keras_padding(padding), *args, **kwargs)
        self.padding = padding_of(padding, 1)
