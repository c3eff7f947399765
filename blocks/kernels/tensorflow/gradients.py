"""Gradients of the kernels' operations, and of those gradients. Imported once the library is loaded."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from blocks.kernels.build import library

Gradients: TypeAlias = Sequence[tf.Tensor | None]  # one for each input of an operation; None has none

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "": tf.identity,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hard_silu": lambda inputs: inputs * tf.nn.relu6(inputs + 3) * (1 / 6),
    "silu": tf.nn.silu,
}


def activation_gradient(name: str, inputs: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Gradient of activation `name` at `inputs` (any shape), times `gradient`, in TensorFlow's own operations."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = ACTIVATIONS[name](inputs)
    return tape.gradient(outputs, inputs, gradient)


def _name(op: tf.Operation) -> str:
    return op.get_attr("activation").decode()


def _geometry(op: tf.Operation) -> dict[str, list[int]]:
    return {"strides": list(op.get_attr("strides")), "explicit_padding": list(op.get_attr("explicit_padding"))}


def _sum(gradient: tf.Tensor) -> tf.Tensor:
    """Gradient of a bias, float32: the sum over all axes but the last."""
    return tf.reduce_sum(tf.cast(gradient, tf.float32), axis=list(range(len(gradient.shape) - 1)))


def _both(op: tf.Operation, of_inputs: Callable[[], tf.Tensor], of_kernel: Callable[[], tf.Tensor]) -> Gradients:
    """The gradients of a convolution's inputs and kernel; one that is not requested may be None.

    TensorFlow left alone follows the inputs' gradients down to the first layer and sums up the kernels' after that;
    until then, all that they need stays in memory. Here no layer goes on before both of its gradients are there.
    """
    if not hasattr(op, "skip_input_indices"):  # without a GradientTape; what is not wanted is pruned
        return [of_inputs(), of_kernel()]
    unwanted = op.skip_input_indices or ()
    if 0 in unwanted or 1 in unwanted:
        return [None if 0 in unwanted else of_inputs(), None if 1 in unwanted else of_kernel()]
    return list(library().blocks_together(of_inputs(), of_kernel()))


@tf.RegisterGradient("BlocksTogether")
def _(_op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    return gradients


@tf.RegisterGradient("BlocksAtLeastOne")
def _(op: tf.Operation, gradient: tf.Tensor, _count: tf.Tensor) -> Gradients:
    return library().blocks_first(gradient, op.outputs[1])


@tf.RegisterGradient("BlocksFirst")
def _(_op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return [library().blocks_at_least_one(gradient).y, None]


@tf.RegisterGradient("BlocksDepthwise")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, kernel, *bias = op.inputs
    if _name(op):
        linear = library().blocks_depthwise(inputs, kernel, bias, **_geometry(op))
        gradient = activation_gradient(_name(op), linear, gradient)
    gradients = _both(
        op,
        lambda: library().blocks_depthwise_input_grad(gradient, kernel, tf.shape(inputs), **_geometry(op)),
        lambda: library().blocks_depthwise_filter_grad(inputs, gradient, tf.shape(kernel), **_geometry(op)),
    )
    return [*gradients, *(_sum(gradient) for _ in bias)]


@tf.RegisterGradient("BlocksDepthwiseInputGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    outputs, kernel, _shape = op.inputs
    d_outputs = library().blocks_depthwise(gradient, kernel, [], **_geometry(op))
    d_kernel = library().blocks_depthwise_filter_grad(gradient, outputs, tf.shape(kernel), **_geometry(op))
    return [d_outputs, d_kernel, None]


@tf.RegisterGradient("BlocksDepthwiseFilterGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, outputs, _shape = op.inputs
    d_inputs = library().blocks_depthwise_input_grad(outputs, gradient, tf.shape(inputs), **_geometry(op))
    return [d_inputs, library().blocks_depthwise(inputs, gradient, [], **_geometry(op)), None]


@tf.RegisterGradient("BlocksSpatial")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, kernel, *more = op.inputs
    biases = op.get_attr("biases")
    if _name(op):
        linear = library().blocks_spatial(inputs, kernel, more[:biases], more[biases:], **_geometry(op))
        gradient = activation_gradient(_name(op), linear, gradient)
    gradients = _both(
        op,
        lambda: library().blocks_spatial_input_grad(gradient, kernel, tf.shape(inputs), **_geometry(op)),
        lambda: library().blocks_spatial_filter_grad(inputs, gradient, tf.shape(kernel), **_geometry(op)),
    )
    return [
        *gradients,
        *(_sum(gradient) for _ in more[:biases]),
        *(gradient for _ in more[biases:]),
    ]


@tf.RegisterGradient("BlocksSpatialInputGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    outputs, kernel, _shape = op.inputs
    d_outputs = library().blocks_spatial(gradient, kernel, [], [], **_geometry(op))
    d_kernel = library().blocks_spatial_filter_grad(gradient, outputs, tf.shape(kernel), **_geometry(op))
    return [d_outputs, d_kernel, None]


@tf.RegisterGradient("BlocksSpatialFilterGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, outputs, _shape = op.inputs
    d_inputs = library().blocks_spatial_input_grad(outputs, gradient, tf.shape(inputs), **_geometry(op))
    return [d_inputs, library().blocks_spatial(inputs, gradient, [], [], **_geometry(op)), None]


@tf.RegisterGradient("BlocksPointwise")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, kernel, *more = op.inputs
    biases = op.get_attr("biases")
    if _name(op):
        linear = library().blocks_pointwise(inputs, kernel, more[:biases], more[biases:])
        gradient = activation_gradient(_name(op), linear, gradient)
    groups = inputs.shape[-1] // kernel.shape[2]
    gradients = _both(
        op,
        lambda: library().blocks_pointwise_input_grad(gradient, kernel, groups=groups),
        lambda: library().blocks_pointwise_filter_grad(inputs, gradient, groups=groups),
    )
    return [
        *gradients,
        *(_sum(gradient) for _ in more[:biases]),
        *(gradient for _ in more[biases:]),
    ]


@tf.RegisterGradient("BlocksPointwiseInputGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    outputs, kernel = op.inputs
    d_kernel = library().blocks_pointwise_filter_grad(gradient, outputs, groups=op.get_attr("groups"))
    return [library().blocks_pointwise(gradient, kernel, [], []), d_kernel]


@tf.RegisterGradient("BlocksPointwiseFilterGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, outputs = op.inputs
    d_inputs = library().blocks_pointwise_input_grad(outputs, gradient, groups=op.get_attr("groups"))
    return [d_inputs, library().blocks_pointwise(inputs, gradient, [], [])]


@tf.RegisterGradient("BlocksSubsample")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    strides = list(op.get_attr("strides"))
    return library().blocks_subsample_grad(gradient, tf.shape(op.inputs[0]), strides=strides)


@tf.RegisterGradient("BlocksSubsampleGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return [library().blocks_subsample(gradient, strides=list(op.get_attr("strides"))), None]


@tf.RegisterGradient("BlocksShuffle")
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    sizes = [part.shape[-1] for part in op.inputs]
    return library().blocks_unshuffle(list(gradients), N=len(sizes), groups=op.get_attr("groups"), sizes=sizes)


@tf.RegisterGradient("BlocksUnshuffle")
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    return library().blocks_shuffle(list(gradients), M=len(op.inputs), groups=op.get_attr("groups"))


@tf.RegisterGradient("BlocksImageMeans")
def _(_op: tf.Operation, d_means: tf.Tensor, d_images: tf.Tensor) -> Gradients:
    return library().blocks_image_means_grad(d_means, d_images)


@tf.RegisterGradient("BlocksImageMeansGrad")
def _(_op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return list(library().blocks_image_means(gradient))


@tf.RegisterGradient("BlocksGate")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return list(library().blocks_gate_grad(gradient, *op.inputs))


@tf.RegisterGradient("BlocksGateGrad")
def _(op: tf.Operation, d_d_inputs: tf.Tensor, d_d_gates: tf.Tensor) -> Gradients:
    gradient, inputs, gates = op.inputs
    return [
        library().blocks_gate(d_d_inputs, gates) + library().blocks_gate(inputs, d_d_gates),
        library().blocks_gate(gradient, d_d_gates),
        tf.reduce_sum(d_d_inputs * gradient, axis=(1, 2), keepdims=True),
    ]


def _window(op: tf.Operation) -> dict[str, Any]:
    return {"average": op.get_attr("average"), "window": list(op.get_attr("window")), **_geometry(op)}


@tf.RegisterGradient("BlocksPool")
def _(op: tf.Operation, gradient: tf.Tensor, _argmax: tf.Tensor) -> Gradients:
    return library().blocks_pool_grad(gradient, op.outputs[1], tf.shape(op.inputs[0]), **_window(op))


@tf.RegisterGradient("BlocksPoolGather")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, argmax = op.inputs
    return [library().blocks_pool_grad(gradient, argmax, tf.shape(inputs), **_window(op)), None]


@tf.RegisterGradient("BlocksPoolGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    argmax, window = op.inputs[1], _window(op)
    if window["average"]:
        return [library().blocks_pool(gradient, **window)[0], None, None]
    return [library().blocks_pool_gather(gradient, argmax, **window), None, None]


@tf.RegisterGradient("BlocksAffine")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, scale, offset, *residual = op.inputs
    wide = tf.cast(inputs, tf.float32)
    if _name(op):
        linear = library().blocks_affine(inputs, scale, offset, residual)
        gradient = activation_gradient(_name(op), linear, gradient)
    d_linear = tf.cast(gradient, tf.float32)
    d_inputs = tf.cast(d_linear * scale, inputs.dtype)
    return [d_inputs, _sum(d_linear * wide), _sum(d_linear), *(gradient for _ in residual)]


@tf.RegisterGradient("BlocksNormTrain")
def _(op: tf.Operation, gradient: tf.Tensor, *_statistics: tf.Tensor) -> Gradients:
    inputs, gamma, beta, _mean, _variance, *residual = op.inputs
    name = _name(op)
    outputs = [op.outputs[0]] if residual and name else []
    d_inputs, d_gamma, d_beta, d_residual = library().blocks_norm_train_grad(
        gradient,
        inputs,
        gamma,
        beta,
        op.outputs[3],
        op.outputs[4],
        outputs,
        residual=bool(residual) and bool(name),
        epsilon=op.get_attr("epsilon"),
        activation=name,
    )
    return [d_inputs, d_gamma, d_beta, None, None, *((d_residual if name else gradient) for _ in residual)]


@tf.RegisterGradient("BlocksNormTrainGrad")
def _(
    op: tf.Operation, d_d_inputs: tf.Tensor, d_d_gamma: tf.Tensor, d_d_beta: tf.Tensor, d_d_residual: tf.Tensor
) -> Gradients:
    """Through the plain formulas (Ioffe and Szegedy 2015, section 3): second derivatives are rare."""
    gradient, inputs, gamma, beta, _mean, _rstd, *outputs = op.inputs
    watched = [gradient, inputs, gamma, beta]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        wide = tf.cast(inputs, tf.float32)
        axes = list(range(len(inputs.shape) - 1))
        mean = tf.reduce_mean(wide, axes)  # not `tf.nn.moments`, which stops a gradient that is needed once more here
        variance = tf.reduce_mean(tf.square(wide - mean), axes)
        rstd = tf.math.rsqrt(variance + op.get_attr("epsilon"))
        normal = (wide - mean) * rstd
        linear = tf.cast(outputs[0], tf.float32) if outputs else normal * gamma + beta
        inner = activation_gradient(_name(op), linear, tf.cast(gradient, tf.float32))
        share = tf.reduce_mean(inner, axes) + normal * tf.reduce_mean(inner * normal, axes)
        results = [tf.cast(gamma * rstd * (inner - share), inputs.dtype), _sum(inner * normal), _sum(inner)]
        seeds = [d_d_inputs, d_d_gamma, d_d_beta]
        if op.get_attr("residual"):
            results, seeds = [*results, tf.cast(inner, inputs.dtype)], [*seeds, d_d_residual]
    gradients = tape.gradient(results, watched, seeds, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [*gradients, None, None, *(None for _ in outputs)]
