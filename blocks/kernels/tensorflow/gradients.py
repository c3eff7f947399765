"""Gradients of the kernels' operations, and of those gradients. Imported once the library is loaded."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from blocks.kernels.build import library
from blocks.kernels.tensorflow.plain_gradients import (
    activation_gradient,
    affine_gradients,
    batch_norm_gradients,
    layer_norm_gradients,
    product,
    softmax_sum_gradients,
)

OF_OUTPUTS = ("", "relu", "relu6")  # activations whose gradient is the same at their output as at their input
Gradients: TypeAlias = Sequence[tf.Tensor | None]  # one for each input of an operation; None has none


def _name(op: tf.Operation) -> str:
    return op.get_attr("activation").decode()


def _geometry(op: tf.Operation) -> dict[str, list[int]]:
    return {"strides": list(op.get_attr("strides")), "explicit_padding": list(op.get_attr("explicit_padding"))}


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
        gradient = library().blocks_activation_grad(gradient, linear, activation=_name(op))
    gradients = _both(
        op,
        lambda: library().blocks_depthwise_input_grad(gradient, kernel, tf.shape(inputs), **_geometry(op)),
        lambda: library().blocks_depthwise_filter_grad(inputs, gradient, tf.shape(kernel), **_geometry(op)),
    )
    return [*gradients, *(library().blocks_bias_grad(gradient) for _ in bias)]


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
        gradient = library().blocks_activation_grad(gradient, linear, activation=_name(op))
    gradients = _both(
        op,
        lambda: library().blocks_spatial_input_grad(gradient, kernel, tf.shape(inputs), **_geometry(op)),
        lambda: library().blocks_spatial_filter_grad(inputs, gradient, tf.shape(kernel), **_geometry(op)),
    )
    return [
        *gradients,
        *(library().blocks_bias_grad(gradient) for _ in more[:biases]),
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
        gradient = library().blocks_activation_grad(gradient, linear, activation=_name(op))
    groups = inputs.shape[-1] // kernel.shape[2]
    gradients = _both(
        op,
        lambda: library().blocks_pointwise_input_grad(gradient, kernel, groups=groups),
        lambda: library().blocks_pointwise_filter_grad(inputs, gradient, groups=groups),
    )
    return [
        *gradients,
        *(library().blocks_bias_grad(gradient) for _ in more[:biases]),
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


@tf.RegisterGradient("BlocksSelect")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, index = op.inputs
    return [library().blocks_select_grad(gradient, index, tf.shape(inputs)), None]


@tf.RegisterGradient("BlocksSelectGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return [library().blocks_select(gradient, op.inputs[1]), None, None]


@tf.RegisterGradient("BlocksMergePaths")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    residual, (_paths, *update) = op.get_attr("residual"), op.inputs
    growth = sum(part.shape[-1] for part in update) - residual
    d_paths, d_update = library().blocks_merge_paths_grad(gradient, N=len(update), residual=residual, growth=growth)
    return [d_paths, *d_update]


@tf.RegisterGradient("BlocksMergePathsGrad")
def _(op: tf.Operation, d_d_paths: tf.Tensor, *d_d_update: tf.Tensor) -> Gradients:
    return [library().blocks_merge_paths(d_d_paths, list(d_d_update), residual=op.get_attr("residual"))]


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


@tf.RegisterGradient("BlocksSoftmaxSum")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    *candidates, logits = op.inputs
    radix = op.get_attr("radix")
    d_candidates, d_logits = library().blocks_softmax_sum_grad(gradient, candidates, logits, radix=radix)
    return [*d_candidates, d_logits]


@tf.RegisterGradient("BlocksSoftmaxSumGrad")
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    plain = functools.partial(softmax_sum_gradients, op.get_attr("radix"))
    return product(plain, op.inputs, gradients)


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


@tf.RegisterGradient("BlocksActivation")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    return [library().blocks_activation_grad(gradient, op.inputs[0], activation=_name(op))]


@tf.RegisterGradient("BlocksActivationGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    name = _name(op)
    _, of_inputs = product(lambda *inputs: [activation_gradient(name, *inputs)], op.inputs, [gradient])
    return [library().blocks_activation_grad(gradient, op.inputs[1], activation=name), of_inputs]


@tf.RegisterGradient("BlocksBiasGrad")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    (d_outputs,) = op.inputs
    return [tf.broadcast_to(tf.cast(gradient, d_outputs.dtype), tf.shape(d_outputs))]


@tf.RegisterGradient("BlocksAffine")
def _(op: tf.Operation, gradient: tf.Tensor) -> Gradients:
    inputs, scale, offset, *residual = op.inputs
    name = _name(op)
    if residual and name not in OF_OUTPUTS:
        linear = library().blocks_affine(inputs, scale, offset, residual)
        gradient, name = library().blocks_activation_grad(gradient, linear, activation=name), ""
    of_residual = bool(residual) and bool(name)
    d_inputs, d_scale, d_offset, d_residual = library().blocks_affine_grad(
        gradient, inputs, scale, offset, [op.outputs[0]] if of_residual else [], residual=of_residual, activation=name
    )
    return [d_inputs, d_scale, d_offset, *((d_residual if name else gradient) for _ in residual)]


@tf.RegisterGradient("BlocksAffineGrad")
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    plain = functools.partial(affine_gradients, _name(op), op.get_attr("residual"))
    return [*product(plain, op.inputs[:4], gradients, op.inputs[4:]), *(None for _ in op.inputs[4:])]


@tf.RegisterGradient("BlocksLayerNorm")
def _(op: tf.Operation, gradient: tf.Tensor, *_statistics: tf.Tensor) -> Gradients:
    inputs, gamma, _beta = op.inputs
    return list(
        library().blocks_layer_norm_grad(gradient, inputs, gamma, *op.outputs[1:], epsilon=op.get_attr("epsilon"))
    )


@tf.RegisterGradient("BlocksLayerNormGrad")
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    plain = functools.partial(layer_norm_gradients, op.get_attr("epsilon"))
    return [*product(plain, op.inputs[:3], gradients), None, None]


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
def _(op: tf.Operation, *gradients: tf.Tensor) -> Gradients:
    plain = functools.partial(batch_norm_gradients, _name(op), op.get_attr("residual"), op.get_attr("epsilon"))
    outputs = op.inputs[6:]
    return [*product(plain, op.inputs[:4], gradients, outputs), None, None, *(None for _ in outputs)]
