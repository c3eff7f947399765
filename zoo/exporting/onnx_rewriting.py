"""An ONNX graph in ONNX's own operators: what TensorFlow lacks, or tf2onnx takes apart, is one operator again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

TO_LAST = [0, 2, 3, 1]  # the permutation that brings the channels behind the pixels
HARD_SWISH = 14  # the first opset that has it


class Graph:
    """A graph in which nodes find each other. A rule looks at one node and what is before it.

    It says which nodes go and which come in the place of the one it looks at: their last output has its name.
    """

    def __init__(self, file: onnx.ModelProto) -> None:
        self.proto = file.graph
        self.opset = next(each.version for each in file.opset_import if each.domain in ("", "ai.onnx"))
        self.constants = {each.name: numpy_helper.to_array(each) for each in self.proto.initializer}
        inferred = onnx.shape_inference.infer_shapes(file).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        self.shapes = {each.name: [axis.dim_value for axis in each.type.tensor_type.shape.dim] for each in values}

    def rewrite(self, rule: Callable[[Graph, Any], tuple[list[Any], list[Any]] | None]) -> None:
        """Apply the rule to every node."""
        self.producers = {output: node for node in self.proto.node for output in node.output}
        self.uses = Counter(name for node in self.proto.node for name in node.input)
        self.uses.update(value.name for value in self.proto.output)
        places: dict[str, list[Any]] = {}
        gone: set[str] = set()
        for node in self.proto.node:
            change = rule(self, node)
            if change is not None:
                gone |= {each.output[0] for each in change[0]}
                places[node.output[0]] = change[1]
        nodes = []
        for node in self.proto.node:
            if node.output[0] in places:
                nodes += places[node.output[0]]
            elif node.output[0] not in gone:
                nodes.append(node)
        del self.proto.node[:]
        self.proto.node.extend(nodes)

    def before(self, name: str, kind: str, alone: bool = True) -> Any:
        """The node of this kind that computes `name`, for one use alone; None where it is another."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == kind and (not alone or self.uses[name] == 1) else None

    def number(self, name: str) -> float | None:
        """The value of a constant whose entries are all equal."""
        array = self.constants.get(name)
        return float(array.flat[0]) if array is not None and array.size and np.ptp(array) == 0 else None

    def constant(self, name: str, values: Sequence[int] | np.ndarray) -> str:
        """The name of a new constant."""
        self.constants[name] = np.asarray(values)
        self.proto.initializer.append(numpy_helper.from_array(self.constants[name], name))
        return name


def simplify(file: onnx.ModelProto) -> None:
    """Rewrite the graph of `file` in place; its inputs and outputs stay."""
    graph = Graph(file)
    for rule in (error_function, hard_sigmoid, hard_swish, shuffle, padded_maximum):
        graph.rewrite(rule)
    _remove_reshapes(graph)
    used = {name for node in file.graph.node for name in node.input}
    constants = [each for each in file.graph.initializer if each.name in used]
    del file.graph.initializer[:]
    file.graph.initializer.extend(constants)


def error_function(graph: Graph, node: Any) -> tuple[list[Any], list[Any]] | None:
    """1 - erf(x) for the complementary error function, TensorFlow's way to GELU, which ONNX does not have."""
    if node.op_type != "Erfc":
        return None
    (output,) = node.output
    one = graph.constant(f"{output}_one", np.ones((), "float32"))
    error = f"{output}_erf"
    return [], [helper.make_node("Erf", node.input, [error]), helper.make_node("Sub", [one, error], [output])]


def hard_sigmoid(graph: Graph, node: Any) -> tuple[list[Any], list[Any]] | None:
    """HardSigmoid for relu6(x + 3) / 6."""
    if node.op_type not in ("Mul", "Div") or len(node.input) != 2:
        return None
    factor = graph.number(node.input[1])
    if factor is None or not np.isclose(factor if node.op_type == "Mul" else 1 / (factor or 1), 1 / 6):
        return None
    clip = graph.before(node.input[0], "Clip")
    if clip is None or [graph.number(name) for name in clip.input[1:]] != [0, 6]:
        return None
    add = graph.before(clip.input[0], "Add")
    if add is None or graph.number(add.input[1]) != 3:
        return None
    return [add, clip], [helper.make_node("HardSigmoid", add.input[:1], node.output, alpha=1 / 6, beta=0.5)]


def hard_swish(graph: Graph, node: Any) -> tuple[list[Any], list[Any]] | None:
    """HardSwish for x * hard_sigmoid(x)."""
    if node.op_type != "Mul" or graph.opset < HARD_SWISH:
        return None
    for x, gate in (node.input, reversed(node.input)):
        inner = graph.before(gate, "HardSigmoid")
        if inner is not None and inner.input[0] == x:
            return [inner], [helper.make_node("HardSwish", [x], node.output)]
    return None


def shuffle(graph: Graph, node: Any) -> tuple[list[Any], list[Any]] | None:
    """A channel shuffle with the channels first, as the convolutions around it have them; then last again.

    The runtime removes the transposition behind it, together with that before the next convolution.
    """
    if node.op_type != "Reshape" or node.input[1] not in graph.constants:
        return None
    swap = graph.before(node.input[0], "Transpose")
    split = graph.before(swap.input[0], "Reshape") if swap is not None else None
    last = graph.before(split.input[0], "Transpose") if split is not None else None
    if swap is None or split is None or last is None:
        return None
    if _permutation(swap) != [0, 2, 1] or _permutation(last) != TO_LAST:
        return None
    target, groups = graph.constants[node.input[1]].tolist(), graph.constants.get(split.input[1])
    if len(target) != 4 or groups is None or groups.size != 3:
        return None
    (batch, height, width, channels), (_, *sizes) = target, groups.tolist()
    if sizes[0] * sizes[1] != channels or min(height, width) < 1:
        return None
    (output,) = node.output
    split_up, swapped, first = (f"{output}_{part}" for part in ("split", "swapped", "first"))
    by_group = graph.constant(f"{output}_by_group", np.array([batch, *sizes, height * width], "int64"))
    whole = graph.constant(f"{output}_whole", np.array([batch, channels, height, width], "int64"))
    return [last, split, swap], [
        helper.make_node("Reshape", [last.input[0], by_group], [split_up]),
        helper.make_node("Transpose", [split_up], [swapped], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [swapped, whole], [first]),
        helper.make_node("Transpose", [first], [output], perm=TO_LAST),
    ]


def padded_maximum(graph: Graph, node: Any) -> tuple[list[Any], list[Any]] | None:
    """A maximum with padding of its own, for one over zeros around values that are not below zero."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type != "MaxPool" or any(attributes.get("pads", [])):
        return None
    pad = graph.before(node.input[0], "Pad")
    if pad is None or any(each.name == "mode" and each.s != b"constant" for each in pad.attribute):
        return None
    if len(pad.input) > 2 and pad.input[2] and graph.number(pad.input[2]) != 0:
        return None
    source = graph.producers.get(pad.input[0])
    least = graph.number(source.input[1]) if source is not None and source.op_type == "Clip" else None
    positive = (source is not None and source.op_type == "Relu") or (least is not None and least >= 0)
    pads = graph.constants.get(pad.input[1])
    window = attributes.get("kernel_shape", [])
    if not positive or pads is None or pads.size != 8 or pads[[0, 1, 4, 5]].any() or max(pads) >= min(window):
        return None
    window_attributes = {name: value for name, value in attributes.items() if name not in ("auto_pad", "pads")}
    window_attributes["pads"] = [int(each) for each in pads[[2, 3, 6, 7]]]
    return [pad], [helper.make_node("MaxPool", pad.input[:1], node.output, **window_attributes)]


def _remove_reshapes(graph: Graph) -> None:
    """Take out what reshapes to the shape that is there: tf2onnx puts it around convolutions of one pixel."""
    outputs = {value.name for value in graph.proto.output}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.proto.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        if node.op_type == "Reshape" and node.output[0] not in outputs and _keeps_shape(graph, node):
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    del graph.proto.node[:]
    graph.proto.node.extend(nodes)


def _keeps_shape(graph: Graph, node: Any) -> bool:
    target, shape = graph.constants.get(node.input[1]), graph.shapes.get(node.input[0])
    if target is None or not shape or len(shape) != len(target) or 0 in shape[1:]:
        return False
    return shape[1:] == target[1:].tolist() and target[0] in (-1, shape[0])


def _permutation(node: Any) -> list[int]:
    return next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
