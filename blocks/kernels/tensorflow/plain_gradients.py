"""Gradients in TensorFlow's own operations, through which second derivatives are taken: these are rare."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

Tensors: TypeAlias = Sequence[tf.Tensor]

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "": tf.identity,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hard_silu": lambda inputs: inputs * tf.nn.relu6(inputs + 3) * (1 / 6),
    "silu": tf.nn.silu,
    "gelu": tf.nn.gelu,
}


def product(
    function: Callable[..., Tensors], inputs: Tensors, gradients: Tensors, constants: Tensors = ()
) -> list[tf.Tensor]:
    """The gradients of `inputs`, where `gradients` are those of what `function(*inputs, *constants)` returns.

    Args:
        gradients: more than there are outputs are left out: an operation's last output may be empty.

    In a graph no tape is asked: while TensorFlow builds forward mode, tapes do not record.
    """
    zero = tf.UnconnectedGradients.ZERO
    if tf.executing_eagerly():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs, *constants)
        return tape.gradient(outputs, list(inputs), list(gradients[: len(outputs)]), unconnected_gradients=zero)
    inputs = [tf.identity(tensor) for tensor in inputs]  # of this graph, even if they were another's
    outputs = function(*inputs, *constants)
    return tf.gradients(outputs, inputs, list(gradients[: len(outputs)]), unconnected_gradients=zero)


def activation_gradient(name: str, gradient: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Gradient of activation `name` at `inputs` (any shape), times `gradient`."""
    return product(lambda inputs: [ACTIVATIONS[name](inputs)], [inputs], [gradient])[0]


def _sum(gradient: tf.Tensor) -> tf.Tensor:
    """The sum over all axes but the last."""
    return tf.reduce_sum(gradient, axis=list(range(len(gradient.shape) - 1)))


def affine_gradients(
    activation: str,
    residual: bool,
    gradient: tf.Tensor,
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    *outputs: tf.Tensor,
) -> Tensors:
    """Of activation(inputs * scale + offset + a residual): those of inputs, scale, offset and, with one, the residual.

    Args:
        outputs: they are given where there is a residual.
    """
    wide = tf.cast(inputs, tf.float32)
    linear = tf.cast(outputs[0], tf.float32) if outputs else wide * scale + offset
    inner = activation_gradient(activation, tf.cast(gradient, tf.float32), linear)
    results = [tf.cast(inner * scale, inputs.dtype), _sum(inner * wide), _sum(inner)]
    return [*results, tf.cast(inner, inputs.dtype)] if residual else results


def batch_norm_gradients(
    activation: str,
    residual: bool,
    epsilon: float,
    gradient: tf.Tensor,
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *outputs: tf.Tensor,
) -> Tensors:
    """The same of batch normalisation, of inputs, gamma, beta and the residual (Ioffe and Szegedy 2015, section 3)."""
    wide = tf.cast(inputs, tf.float32)
    axes = list(range(len(inputs.shape) - 1))
    mean = tf.reduce_mean(wide, axes)  # not `tf.nn.moments`, which stops a gradient that is needed once more here
    rstd = tf.math.rsqrt(tf.reduce_mean(tf.square(wide - mean), axes) + epsilon)
    normal = (wide - mean) * rstd
    linear = tf.cast(outputs[0], tf.float32) if outputs else normal * gamma + beta
    inner = activation_gradient(activation, tf.cast(gradient, tf.float32), linear)
    share = tf.reduce_mean(inner, axes) + normal * tf.reduce_mean(inner * normal, axes)
    results = [tf.cast(gamma * rstd * (inner - share), inputs.dtype), _sum(inner * normal), _sum(inner)]
    return [*results, tf.cast(inner, inputs.dtype)] if residual else results


def layer_norm_gradients(epsilon: float, gradient: tf.Tensor, inputs: tf.Tensor, gamma: tf.Tensor) -> Tensors:
    """Of layer normalisation over the last axis: those of inputs, gamma and beta (Ba et al. 2016, section 3)."""
    wide, outer = tf.cast(inputs, tf.float32), tf.cast(gradient, tf.float32)
    centred = wide - tf.reduce_mean(wide, -1, keepdims=True)
    rstd = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + epsilon)
    normal, inner = centred * rstd, outer * gamma
    share = tf.reduce_mean(inner, -1, keepdims=True) + normal * tf.reduce_mean(inner * normal, -1, keepdims=True)
    return [tf.cast(rstd * (inner - share), inputs.dtype), _sum(outer * normal), _sum(outer)]


def softmax_sum(radix: int, *inputs: tf.Tensor) -> tf.Tensor:
    """Sum (B, H, W, C) of `radix` candidates, weighed by the softmax over them.

    inputs: the candidates, one tensor (B, H, W, radix * C) or `radix` (B, H, W, C); logits (B, 1, 1, radix * C).
    """
    *candidates, logits = inputs
    each = tf.stack(candidates if len(candidates) == radix else tf.split(candidates[0], radix, -1))
    return tf.reduce_sum(each * tf.nn.softmax(tf.stack(tf.split(logits, radix, -1)), 0), 0)


def softmax_sum_gradients(radix: int, gradient: tf.Tensor, *inputs: tf.Tensor) -> Tensors:
    """Those of the candidates and the logits."""
    return product(lambda *inputs: [softmax_sum(radix, *inputs)], inputs, [gradient])
