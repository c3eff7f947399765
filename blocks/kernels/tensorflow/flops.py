"""Floating-point operations of the kernels' operations, for TensorFlow's profiler. Imported once the library is loaded.

They count as TensorFlow's own operations in their place do: two for a multiply-accumulate, one for each addition of a
bias or a residual, one for each entry that is averaged or multiplied by a gate; nothing for normalisations and
activations. Gradients of convolutions count as the convolution itself, strided ones too.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from blocks.kernels.tensorflow.internals import OpStats, RegisterStatistics, tensor_shape_from_node_def_name

Statistics: TypeAlias = Callable[[Any, Any], OpStats]  # of a graph and one of its nodes


def _shape(graph: Any, name: str) -> list[int]:
    shape = tensor_shape_from_node_def_name(graph, name)
    shape.assert_is_fully_defined()  # the profiler counts nothing for a node of unknown shape
    return shape.as_list()


def _entries(graph: Any, name: str) -> int:
    return math.prod(_shape(graph, name))


def _convolution(graph: Any, node: Any) -> OpStats:
    height, width, channels, _ = _shape(graph, node.input[1])
    additions = len(node.input) - 2  # biases and residuals
    return OpStats("flops", _entries(graph, node.name) * (2 * height * width * channels + additions))


def _input_gradient(graph: Any, node: Any) -> OpStats:
    height, width, channels, _ = _shape(graph, node.input[1])
    return OpStats("flops", 2 * _entries(graph, node.input[0]) * height * width * channels)


def _filter_gradient(graph: Any, node: Any) -> OpStats:
    height, width, channels, _ = _shape(graph, node.name)
    return OpStats("flops", 2 * _entries(graph, node.input[1]) * height * width * channels)


def _residual(inputs: int) -> Statistics:
    """Of an operation with so many inputs, and one more where a residual is added."""

    def count(graph: Any, node: Any) -> OpStats:
        return OpStats("flops", _entries(graph, node.input[0]) if len(node.input) > inputs else 0)

    return count


def _first_input(times: int) -> Statistics:
    def count(graph: Any, node: Any) -> OpStats:
        return OpStats("flops", times * _entries(graph, node.input[0]))

    return count


def _pool(graph: Any, node: Any) -> OpStats:
    return OpStats("flops", _entries(graph, node.name) * math.prod(node.attr["window"].list.i))


def _pool_gradient(graph: Any, node: Any) -> OpStats:
    taps = math.prod(node.attr["window"].list.i) if node.attr["average"].b else 1
    return OpStats("flops", taps * _entries(graph, node.input[0]))


def _merge(graph: Any, node: Any) -> OpStats:
    *_, channels = _shape(graph, node.input[0])
    return OpStats("flops", _entries(graph, node.input[0]) // channels * node.attr["residual"].i)


def _softmax_sum(graph: Any, node: Any) -> OpStats:
    """A product for each entry of a candidate, and their sums; the softmax as TensorFlow counts its own."""
    *candidates, logits = (_entries(graph, name) for name in node.input)
    return OpStats("flops", 2 * sum(candidates) - _entries(graph, node.name) + 5 * logits)


def _softmax_sum_gradient(graph: Any, node: Any) -> OpStats:
    """As of gates."""
    return OpStats("flops", 3 * sum(_entries(graph, name) for name in node.input[1:-1]))


for _operation, _count in {
    "BlocksPointwise": _convolution,
    "BlocksPointwiseInputGrad": _input_gradient,
    "BlocksPointwiseFilterGrad": _filter_gradient,
    "BlocksSpatial": _convolution,
    "BlocksSpatialInputGrad": _input_gradient,
    "BlocksSpatialFilterGrad": _filter_gradient,
    "BlocksDepthwise": _convolution,
    "BlocksDepthwiseInputGrad": _input_gradient,
    "BlocksDepthwiseFilterGrad": _filter_gradient,
    "BlocksAffine": _residual(3),
    "BlocksNormTrain": _residual(5),
    "BlocksImageMeans": _first_input(1),
    "BlocksImageMeansGrad": _first_input(1),
    "BlocksGate": _first_input(1),
    "BlocksGateGrad": _first_input(3),  # a product for the inputs, a product and a sum for the gates
    "BlocksMergePaths": _merge,
    "BlocksSoftmaxSum": _softmax_sum,
    "BlocksSoftmaxSumGrad": _softmax_sum_gradient,
    "BlocksPool": _pool,
    "BlocksPoolGrad": _pool_gradient,
}.items():
    RegisterStatistics(_operation, "flops")(_count)
