"""Grouped 2-D convolution under TensorFlow: its implementations, in TensorFlow's operations and in ours."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from blocks.ops.geometry import Padding, sides_of
from blocks.ops.implementation import ALIASES, ConvSpec, check_implementation, choose, unsupported_reason
from blocks.ops.tensorflow.epilogue import FUSED, epilogue
from blocks.ops.tensorflow.guards import checked_sizes, never_empty
from blocks.ops.tensorflow.runtime import (
    bfloat16_dot_products,
    device_kind,
    exporting,
    in_xla,
    kernels,
    matrix_units,
    min_channels,
    native_gradients,
)


def convolve(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    *,
    bias: tf.Tensor | None = None,
    activation: str | None = None,
    residual: tf.Tensor | None = None,
    implementation: str | None = None,
) -> tf.Tensor:
    """activation(grouped convolution of `inputs` + bias + residual).

    Args:
        inputs: (B, H, W, C).
        kernel: (kh, kw, C / groups, filters).
        bias: (filters,) or None.
        activation: Keras's name of an elementwise activation, or None.
        residual: of the outputs' shape, or None.
        implementation: one of `blocks.ops.implementation.NAMES`; None chooses.

    Raises:
        ValueError: where `implementation` can't compute this convolution.
    """
    check_implementation(implementation)
    extents = [(taps - 1) * step + 1 for taps, step in zip(kernel.shape[:2], dilation, strict=True)]
    inputs = checked_sizes(inputs, extents, padding)
    operations = kernels()
    height, width, inner, filters = kernel.shape
    groups = inputs.shape[-1] // inner
    sizes = inputs.shape[1:3]
    spec = ConvSpec(
        device=device_kind(),
        dtype=inputs.dtype.name,
        groups=groups,
        in_channels_per_group=inner,
        out_channels_per_group=filters // groups,
        kernel_size=(height, width),
        strides=(strides[0], strides[1]),
        dilation=(dilation[0], dilation[1]) if (height, width) != (1, 1) else (1, 1),
        positions=None if None in sizes else -(-sizes[0] // strides[0]) * -(-sizes[1] // strides[1]),
        onednn=native_gradients(inputs.dtype.name),
        xla=in_xla(),
        min_kernel_channels=min_channels() if operations else None,
        matrix_units=matrix_units(),
        bfloat16_dot_products=bfloat16_dot_products(),
        exporting=exporting(),
    )
    if operations and sides_of(padding, sizes, spec.kernel_size, spec.strides, spec.dilation) is None:
        spec = dataclasses.replace(spec, min_kernel_channels=None)  # they must know the padding beforehand
    if implementation is None:
        name = choose(spec)
    else:
        name = ALIASES.get(implementation, implementation)
        reason = unsupported_reason(name, spec)
        if reason:
            raise ValueError(
                f"implementation={implementation!r} can't be used here: {reason}. None chooses one that can."
            )
    if name == "custom_op":
        return by_custom_op(operations, spec, inputs, kernel, padding, bias, activation, residual)

    def compute(images: tf.Tensor, *added: tf.Tensor) -> tf.Tensor:
        outputs = convolution(name, spec, images, kernel, padding)
        return tf.cast(epilogue(outputs, bias, activation, *(added or (None,))), images.dtype)

    return never_empty(compute, *(images for images in (inputs, residual) if images is not None))


def convolution(name: str, spec: ConvSpec, inputs: tf.Tensor, kernel: tf.Tensor, padding: Padding) -> tf.Tensor:
    """Convolution of `inputs` (B, H, W, C) with `kernel` (kh, kw, C / groups, filters) with implementation `name`.

    Of the inputs' type; float32 with "float32".
    """
    if name != "float32":
        kernel = tf.cast(kernel, inputs.dtype)
    inputs, padding = apply_padding(inputs, spec, padding)
    if spec.pointwise and max(spec.strides) > 1 and not spec.exporting:
        # Of a strided pointwise convolution oneDNN computes the filter gradient beyond the end of its memory:
        # TensorFlow 2.21 crashes at 12 x 12 pixels, among other sizes.
        inputs, spec = _subsampled(inputs, spec), dataclasses.replace(spec, strides=(1, 1))
    match name:
        case "native":
            return tf.nn.conv2d(inputs, kernel, spec.strides, padding, dilations=spec.dilation)
        case "split":
            return _split(spec, inputs, kernel, padding)
        case "depthwise":
            return _depthwise(spec, inputs, kernel, padding)
        case "matmul":
            return _matmul(inputs, kernel)
        case "hybrid":
            return _hybrid(inputs, kernel)
        case "taps":
            return _taps(spec, inputs, kernel, padding)
        case "float32":
            wide = dataclasses.replace(spec, dtype="float32", min_kernel_channels=None)
            return convolution(choose(wide), wide, tf.cast(inputs, tf.float32), tf.cast(kernel, tf.float32), padding)
    raise AssertionError(name)  # check_implementation lets nothing else through


def _subsampled(inputs: tf.Tensor, spec: ConvSpec) -> tf.Tensor:
    """The pixels that a strided pointwise convolution sees; the gradient of a slice is slower than that of our own."""
    operations = kernels() if spec.min_kernel_channels is not None else None
    if operations and inputs.dtype in (tf.float32, tf.bfloat16):
        return operations.blocks_subsample(inputs, strides=spec.strides)
    return inputs[:, :: spec.strides[0], :: spec.strides[1]]


def by_custom_op(
    operations: Any,
    spec: ConvSpec,
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    padding: Padding,
    bias: tf.Tensor | None,
    activation: str | None,
    residual: tf.Tensor | None,
) -> tf.Tensor:
    """The whole of `convolve` in one of our custom operations, which fuse what their kernels support."""
    kernel = tf.cast(kernel, tf.float32)  # weights stay as exact as they are stored
    biases = [] if bias is None else [tf.cast(bias, tf.float32)]
    residuals = [] if residual is None else [residual]
    fused = activation if activation in FUSED else ""
    if spec.pointwise:
        inputs, _ = apply_padding(inputs, spec, padding)
        if max(spec.strides) > 1:
            inputs = operations.blocks_subsample(inputs, strides=spec.strides)
        outputs = operations.blocks_pointwise(inputs, kernel, biases, residuals, activation=fused)
        return epilogue(outputs, None, None if fused else activation, None)
    sides = sides_of(padding, inputs.shape[1:3], spec.kernel_size, spec.strides, spec.dilation)
    assert sides is not None  # `convolve` found them before it came here
    geometry = {"strides": spec.strides, "explicit_padding": (*sides[0], *sides[1])}
    if not spec.depthwise:
        outputs = operations.blocks_spatial(inputs, kernel, biases, residuals, activation=fused, **geometry)
        return epilogue(outputs, None, None if fused else activation, None)
    if residual is not None:
        fused = ""
    outputs = operations.blocks_depthwise(inputs, kernel, biases, activation=fused, **geometry)
    return epilogue(outputs, None, None if fused else activation, residual)


def apply_padding(inputs: tf.Tensor, spec: ConvSpec, padding: Padding) -> tuple[tf.Tensor, str]:
    """`inputs` padded as far as needed, and the name of TensorFlow's padding that does the rest.

    Explicit padding would keep oneDNN from taking the gradient.
    """
    geometry = inputs.shape[1:3], spec.kernel_size, spec.strides, spec.dilation
    if spec.exporting and spec.dilation != (1, 1) and (sides := sides_of(padding, *geometry)):
        # ONNX Runtime has no "same" for dilated kernels and images of unknown size.
        return tf.pad(inputs, ((0, 0), *sides, (0, 0))), "VALID"
    if isinstance(padding, str):
        return inputs, padding.upper()
    if not any(padding[0]) and not any(padding[1]):
        return inputs, "VALID"
    if tuple(padding) == sides_of("same", *geometry):
        return inputs, "SAME"  # the same zeros, without a copy of the tensor
    return tf.pad(inputs, ((0, 0), *padding, (0, 0))), "VALID"


def _split(spec: ConvSpec, inputs: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """One convolution a group, concatenated."""
    if spec.device == "CPU" and not spec.onednn:
        kernel, spec = dilate_kernel(kernel, spec.dilation), dataclasses.replace(spec, dilation=(1, 1))
    parts = zip(tf.split(inputs, spec.groups, axis=-1), tf.split(kernel, spec.groups, axis=-1), strict=True)
    convolved = [tf.nn.conv2d(part, weights, spec.strides, padding, dilations=spec.dilation) for part, weights in parts]
    return tf.concat(convolved, axis=-1)


def dilate_kernel(kernel: tf.Tensor, dilation: tuple[int, ...]) -> tf.Tensor:
    """`kernel` with the zeros between its taps written out: Eigen has no gradient of a dilated convolution."""
    for axis, step in enumerate(dilation):
        if step > 1 and kernel.shape[axis] > 1:
            taps = tf.split(kernel, kernel.shape[axis], axis=axis)
            gap = tf.zeros_like(tf.repeat(taps[0], step - 1, axis=axis))
            kernel = tf.concat([taps[0], *(piece for tap in taps[1:] for piece in (gap, tap))], axis=axis)
    return kernel


def _depthwise(spec: ConvSpec, inputs: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    depthwise = tf.reshape(kernel, (*spec.kernel_size, spec.groups, spec.out_channels_per_group))
    return tf.nn.depthwise_conv2d(inputs, depthwise, (1, *spec.strides, 1), padding, dilations=spec.dilation)


def _taps(spec: ConvSpec, inputs: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """A sum over the kernel's taps of shifted inputs times one matrix a group: what XLA makes one loop of."""
    sides = sides_of(padding.lower(), inputs.shape[1:3], spec.kernel_size, spec.strides, spec.dilation)
    assert sides is not None  # the sizes are known, or `unsupported_reason` has one
    inputs = tf.pad(inputs, ((0, 0), *sides, (0, 0)))
    spans = [
        size - (taps - 1) * dilation
        for size, taps, dilation in zip(inputs.shape[1:3], spec.kernel_size, spec.dilation, strict=True)
    ]
    total = 0
    for y in range(spec.kernel_size[0]):
        for x in range(spec.kernel_size[1]):
            rows, columns = y * spec.dilation[0], x * spec.dilation[1]
            window = inputs[:, rows : rows + spans[0] : spec.strides[0], columns : columns + spans[1] : spec.strides[1]]
            total = total + _one_tap(spec, window, kernel[y, x])
    return total


def _one_tap(spec: ConvSpec, window: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`window` (B, H, W, C) times `weights` (C / groups, filters), group by group."""
    if spec.depthwise and spec.out_channels_per_group == 1:
        return window * weights[0]
    sizes = tf.shape(window)[:3]
    grouped = tf.reshape(window, tf.concat([sizes, (spec.groups, spec.in_channels_per_group)], 0))
    matrices = tf.reshape(weights, (spec.in_channels_per_group, spec.groups, spec.out_channels_per_group))
    outputs = tf.einsum("bhwgc,cgf->bhwgf", grouped, matrices)
    return tf.reshape(outputs, tf.concat([sizes, (weights.shape[-1],)], 0))


def _matmul(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A dense 1x1 convolution as a matrix product over all positions."""
    sizes, channels = tf.unstack(tf.shape(inputs)[:3]), inputs.shape[-1]
    outputs = tf.matmul(tf.reshape(inputs, (-1, channels)), tf.reshape(kernel, (channels, -1)))
    outputs = tf.reshape(outputs, (*sizes, kernel.shape[-1]))
    outputs.set_shape((*inputs.shape[:3], kernel.shape[-1]))
    return outputs


@tf.custom_gradient
def _hybrid(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """A dense 1x1 convolution whose filter gradient is a matrix product: oneDNN's own is slow in bfloat16."""
    outputs = tf.nn.conv2d(inputs, kernel, 1, "VALID")

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
        d_kernel = tf.matmul(rows, tf.reshape(upstream, (-1, kernel.shape[-1])), transpose_a=True)
        d_inputs = tf.nn.conv2d(upstream, tf.transpose(kernel, (0, 1, 3, 2)), 1, "VALID")
        return d_inputs, tf.reshape(d_kernel, kernel.shape)

    return outputs, gradient
