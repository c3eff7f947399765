"""The ways of `blocks.ops.implementation` to compute a grouped 2-D convolution, in TensorFlow's operations and ours."""

import dataclasses

import keras
import tensorflow as tf

from blocks.ops.arguments import Padding
from blocks.ops.implementation import Situation, choose

# Activations that our kernels apply to an output before it is written.
FUSED = ("relu", "relu6", "hard_silu", "silu")


def _hard_sigmoid(inputs):
    return tf.nn.relu6(inputs + tf.constant([3.0], inputs.dtype)) / tf.constant([6.0], inputs.dtype)


# Keras's, with constants of one axis: over a scalar tf2onnx stops, and leaves a transposition at every convolution.
ACTIVATIONS = {"hard_sigmoid": _hard_sigmoid, "hard_silu": lambda inputs: inputs * _hard_sigmoid(inputs)}


def convolution(name: str, s: Situation, inputs, kernel, padding: Padding):
    """Convolution of `inputs` (B, H, W, C) with `kernel` (kh, kw, C / groups, filters) by way `name`.

    Of the inputs' type; float32 by way "float32".
    """
    if name != "float32":
        kernel = tf.cast(kernel, inputs.dtype)
    inputs, padding = apply_padding(inputs, s, padding)
    if s.pointwise and max(s.strides) > 1 and not s.exporting:
        # Of a strided pointwise convolution oneDNN computes the filter gradient beyond the end of its memory:
        # TensorFlow 2.21 crashes at 12 x 12 pixels, among other sizes.
        inputs, s = inputs[:, :: s.strides[0], :: s.strides[1]], dataclasses.replace(s, strides=(1, 1))
    match name:
        case "native":
            return tf.nn.conv2d(inputs, kernel, s.strides, padding, dilations=s.dilation)
        case "split":
            return _split(s, inputs, kernel, padding)
        case "depthwise":
            return _depthwise(s, inputs, kernel, padding)
        case "matmul":
            return _matmul(inputs, kernel)
        case "hybrid":
            return _hybrid(inputs, kernel)
        case "taps":
            return _taps(s, inputs, kernel, padding)
        case "float32":
            wide = dataclasses.replace(s, dtype="float32", kernels=0)
            return convolution(choose(wide), wide, tf.cast(inputs, tf.float32), tf.cast(kernel, tf.float32), padding)
    raise AssertionError(name)  # formulations.check_implementation lets nothing else through


def by_kernel(operations, s: Situation, inputs, kernel, padding: Padding, bias, activation, residual):
    """The whole of `tensorflow_ops.convolve` in one of our kernels, as far as it goes."""
    kernel = tf.cast(kernel, tf.float32)  # weights stay as exact as they are stored
    biases = [] if bias is None else [tf.cast(bias, tf.float32)]
    residuals = [] if residual is None else [residual]
    fused = activation if activation in FUSED else ""
    if s.pointwise:
        inputs, _ = apply_padding(inputs, s, padding)
        if max(s.strides) > 1:
            inputs = operations.blocks_subsample(inputs, strides=s.strides)
        outputs = operations.blocks_pointwise(inputs, kernel, biases, residuals, activation=fused)
        return finish(outputs, None, None if fused else activation, None)
    geometry = {"strides": s.strides, "margins": margins(padding, inputs.shape, s.kernel_size, s.strides, s.dilation)}
    if not s.depthwise:
        outputs = operations.blocks_spatial(inputs, kernel, biases, residuals, activation=fused, **geometry)
        return finish(outputs, None, None if fused else activation, None)
    if residual is not None:
        fused = ""
    outputs = operations.blocks_depthwise(inputs, kernel, biases, activation=fused, **geometry)
    return finish(outputs, None, None if fused else activation, residual)


def finish(outputs, bias, activation: str | None, residual):
    """activation(outputs + bias + residual) in TensorFlow's operations; its graph optimiser fuses them where it can."""
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype))
    if residual is not None:
        outputs = outputs + tf.cast(residual, outputs.dtype)
    if activation in (None, "linear"):
        return outputs
    return (ACTIVATIONS.get(activation) or keras.activations.get(activation))(outputs)


def apply_padding(inputs, s: Situation, padding: Padding):
    """`inputs` padded as far as needed, and the name of TensorFlow's padding that does the rest.

    Explicit padding would keep oneDNN from taking the gradient.
    """
    if (
        s.exporting
        and s.dilation != (1, 1)
        and (sides := margins(padding, inputs.shape, s.kernel_size, s.strides, s.dilation))
    ):
        # ONNX Runtime has no "same" for dilated kernels and images of an open size.
        return tf.pad(inputs, ((0, 0), sides[:2], sides[2:], (0, 0))), "VALID"
    if isinstance(padding, str):
        return inputs, padding.upper()
    if not any(padding[0]) and not any(padding[1]):
        return inputs, "VALID"
    if tuple(padding) == _same(inputs.shape, s.kernel_size, s.strides, s.dilation):
        return inputs, "SAME"  # the same zeros, without a copy of the tensor
    return tf.pad(inputs, ((0, 0), *padding, (0, 0))), "VALID"


def margins(padding: Padding, shape, kernel_size, strides, dilation=(1, 1)) -> tuple[int, ...] | None:
    """(top, bottom, left, right) that `padding` adds to images of `shape`; None where an open size leaves it open."""
    if padding == "valid":
        return 0, 0, 0, 0
    sides = _same(shape, kernel_size, strides, dilation) if padding == "same" else padding
    return None if None in sides else (*sides[0], *sides[1])


def _same(shape, kernel_size, strides, dilation) -> tuple:
    """What "same" pads before and after each axis of images of `shape`; None where that depends on an open size."""
    return tuple(same_axis(*axis) for axis in zip(shape[1:3], kernel_size, strides, dilation, strict=True))


def same_axis(size, kernel: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """What "same" pads before and after one axis; None where its size is. A size may be a tensor."""
    extent = (kernel - 1) * dilation + 1
    if stride == 1:
        total = extent - 1
    elif size is None:
        return None
    else:
        largest = max if isinstance(size, int) else tf.maximum
        total = largest((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def _split(s: Situation, inputs, kernel, padding: str):
    """One convolution a group, concatenated."""
    if s.device == "CPU" and not s.onednn:
        kernel, s = spread(kernel, s.dilation), dataclasses.replace(s, dilation=(1, 1))
    parts = zip(tf.split(inputs, s.groups, axis=-1), tf.split(kernel, s.groups, axis=-1), strict=True)
    convolved = [tf.nn.conv2d(part, weights, s.strides, padding, dilations=s.dilation) for part, weights in parts]
    return tf.concat(convolved, axis=-1)


def spread(kernel, dilation):
    """`kernel` with the zeros between its taps written out: Eigen has no gradient of a dilated convolution."""
    for axis, step in enumerate(dilation):
        if step > 1 and kernel.shape[axis] > 1:
            taps = tf.split(kernel, kernel.shape[axis], axis=axis)
            gap = tf.zeros_like(tf.repeat(taps[0], step - 1, axis=axis))
            kernel = tf.concat([taps[0], *(piece for tap in taps[1:] for piece in (gap, tap))], axis=axis)
    return kernel


def _depthwise(s: Situation, inputs, kernel, padding: str):
    depthwise = tf.reshape(kernel, (*s.kernel_size, s.groups, s.outputs))
    return tf.nn.depthwise_conv2d(inputs, depthwise, (1, *s.strides, 1), padding, dilations=s.dilation)


def _taps(s: Situation, inputs, kernel, padding: str):
    """A sum over the kernel's taps of shifted inputs times one matrix a group: what XLA makes one loop of."""
    top, bottom, left, right = margins(padding.lower(), inputs.shape, s.kernel_size, s.strides, s.dilation)
    inputs = tf.pad(inputs, ((0, 0), (top, bottom), (left, right), (0, 0)))
    spans = [
        size - (taps - 1) * dilation
        for size, taps, dilation in zip(inputs.shape[1:3], s.kernel_size, s.dilation, strict=True)
    ]
    total = 0
    for y in range(s.kernel_size[0]):
        for x in range(s.kernel_size[1]):
            rows, columns = y * s.dilation[0], x * s.dilation[1]
            window = inputs[:, rows : rows + spans[0] : s.strides[0], columns : columns + spans[1] : s.strides[1]]
            total = total + _one_tap(s, window, kernel[y, x])
    return total


def _one_tap(s: Situation, window, weights):
    """`window` (B, H, W, C) times `weights` (C / groups, filters), group by group."""
    if s.depthwise and s.outputs == 1:
        return window * weights[0]
    sizes = tf.shape(window)[:3]
    grouped = tf.reshape(window, tf.concat([sizes, (s.groups, s.inputs)], 0))
    matrices = tf.reshape(weights, (s.inputs, s.groups, s.outputs))
    outputs = tf.einsum("bhwgc,cgf->bhwgf", grouped, matrices)
    return tf.reshape(outputs, tf.concat([sizes, (weights.shape[-1],)], 0))


def _matmul(inputs, kernel):
    """A dense 1x1 convolution as a matrix product over all positions."""
    sizes, channels = tf.unstack(tf.shape(inputs)[:3]), inputs.shape[-1]
    outputs = tf.matmul(tf.reshape(inputs, (-1, channels)), tf.reshape(kernel, (channels, -1)))
    outputs = tf.reshape(outputs, (*sizes, kernel.shape[-1]))
    outputs.set_shape((*inputs.shape[:3], kernel.shape[-1]))
    return outputs


@tf.custom_gradient
def _hybrid(inputs, kernel):
    """A dense 1x1 convolution whose filter gradient is a matrix product: oneDNN's own is slow in bfloat16."""
    outputs = tf.nn.conv2d(inputs, kernel, 1, "VALID")

    def gradient(upstream):
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
        d_kernel = tf.matmul(rows, tf.reshape(upstream, (-1, kernel.shape[-1])), transpose_a=True)
        d_inputs = tf.nn.conv2d(upstream, tf.transpose(kernel, (0, 1, 3, 2)), 1, "VALID")
        return d_inputs, tf.reshape(d_kernel, kernel.shape)

    return outputs, gradient
