"""What folds into what: each rule looks at one step and those before it, and says what takes their place."""

from dataclasses import replace
from typing import Any

import keras
from keras import layers

import blocks
from blocks.conversion.activations import ACTIVATIONS, activation_of
from blocks.ops.keras_internals import is_operation
from zoo.folding.branches import alike, as_branch, merge
from zoo.folding.channels import Origin, origin_of
from zoo.folding.graph import Graph, Rewrite, Step, like, linear_part
from zoo.folding.linear import NORMALIZATIONS, SCALES, TAKES_RESIDUAL, Linear, statistics

INFERENCE_IDENTITY = (
    layers.Identity,
    blocks.AbsorbedLayer,
    layers.ActivityRegularization,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
)
# Functions of each entry by itself: the same before channels are joined or shuffled as behind.
ELEMENTWISE = {keras.activations.linear} | {getattr(keras.activations, name) for _, name in ACTIVATIONS} - {
    keras.activations.softmax
}


def drop_identity(graph: Graph, step: Step) -> Rewrite | None:
    """Layers that hand on what they get at inference; a change of type is no identity."""
    linear = type(step.operation) is layers.Activation and step.operation.activation is keras.activations.linear
    if not linear and type(step.operation) not in INFERENCE_IDENTITY:
        return None
    arguments = step.arguments()
    inputs = arguments["inputs"]
    if set(arguments) - {"mask"} != {"inputs"} or not isinstance(inputs, keras.KerasTensor):
        return None
    if inputs.dtype != step.output.dtype:
        return None
    graph.report.removed.append(step.name)
    return Rewrite(same=inputs)


def fold_normalization(graph: Graph, step: Step) -> Rewrite | None:
    """A normalisation or a scale behind convolutions or dense layers; its own residual and activation become steps."""
    if type(step.operation) not in SCALES or isinstance(origin := _origin(graph, step), str):
        return None
    norm, residual = step.operation, step.arguments().get("residual")
    factor, summand = statistics(norm)
    activation = _own_activation(norm)
    inside = residual is None and (not origin.moves or activation in ELEMENTWISE)
    parts = []
    for part, *share in zip(origin.parts, origin.shares(factor), origin.shares(summand), strict=True):
        linear = linear_part(part).scaled(*share)
        parts.append(replace(part, linear=replace(linear, activation=activation) if inside else linear))
        graph.folded(norm.name, linear.name)
    steps, dtype = origin.ending(parts, step.outputs), step.output.dtype
    if residual is not None:
        steps[-1].outputs = [like(step.output)]
        add = layers.Add(name=f"{norm.name}.add", dtype=dtype)
        steps.append(Step(add, ([steps[-1].output, residual],), {}, step.outputs))
    if not inside and activation is not keras.activations.linear:
        steps[-1].outputs = [like(step.output)]
        layer = layers.Activation(activation, name=f"{norm.name}.activation", dtype=dtype)
        steps.append(Step(layer, (steps[-1].output,), {}, step.outputs))
    return Rewrite(steps, list(origin))


def unsupported_reason(graph: Graph, step: Step) -> str | None:
    """Why the normalisation `step` cannot be folded into what comes before it; None where it can."""
    origin = _origin(graph, step)
    return origin if isinstance(origin, str) else None


def _origin(graph: Graph, step: Step) -> Origin | str:
    """The convolutions that the normalisation or scale `step` can be folded into, or why it cannot."""
    arguments, norm = step.arguments(), step.operation
    if graph.calls[norm] > 1:
        return "it is called more than once"
    if arguments.get("training"):
        return "it is called with training=True and normalises by the batch"
    if set(arguments) - {"inputs", "residual"}:
        return f"it is called with {', '.join(sorted(set(arguments) - {'inputs', 'residual'}))}"
    origin = origin_of(graph, arguments["inputs"])
    if isinstance(origin, str):
        return origin
    axis = getattr(norm, "axis", -1)
    for before in origin:
        if before.linear is not None and before.kwargs:
            return f"{before.name!r} ends in an activation or a sum"
        if norm.compute_dtype != before.output.dtype:
            return f"it computes in {norm.compute_dtype} and {before.name!r} in {before.output.dtype}"
    if origin.axes() != {axis % len(arguments["inputs"].shape)}:
        return f"its axis {axis} is not the channels of {', '.join(repr(part.name) for part in origin.parts)}"
    return origin


def merge_branches(graph: Graph, step: Step) -> Rewrite | None:
    """Parallel convolutions of one tensor, summed: one convolution. A normalisation alone is a branch, too."""
    operands = _operands(step)
    if operands is None:
        return None
    before = [producer for tensor in operands if (producer := graph.sole_producer(tensor)) is not None]
    convolutions = [(producer, branch) for producer in before if (branch := _branch(producer)) is not None]
    for one, branch in convolutions:
        inputs = one.arguments()["inputs"]
        together = [
            (producer, other)
            for producer, other in convolutions
            if producer.arguments()["inputs"] is inputs and alike(branch, other)
        ]
        norms = [producer for producer in before if _is_identity_branch(graph, producer, inputs, branch)]
        residuals = [producer.kwargs["residual"] for producer, _ in together if "residual" in producer.kwargs]
        if len(together) + len(norms) < 2 or len(residuals) > 1:
            continue
        linear = merge([other for _, other in together], [norm.operation for norm in norms], inputs.shape)
        if linear is None:
            continue
        absorbed = [producer for producer, _ in together] + norms
        gone = {producer.output for producer in absorbed}
        rest = [tensor for tensor in operands if tensor not in gone]
        for producer in [*absorbed, *([] if rest else [step])]:
            if producer.name != linear.name:
                graph.folded(producer.name, linear.name)
                graph.report.replaced.pop(producer.name, None)
        if any(linear_part(producer).kind is not linear.kind for producer, _ in together):
            graph.report.replaced[linear.name] = linear.kind.__name__
        merged = Step(one.operation, (inputs,), {"residual": residuals[0]} if residuals else {}, step.outputs, linear)
        if not rest:
            return Rewrite([merged], absorbed)
        merged.outputs = [like(step.output)]
        add = layers.Add(name=step.name, dtype=step.output.dtype)
        return Rewrite([merged, Step(add, ([merged.output, *rest],), {}, step.outputs)], absorbed)
    return None


def fuse_residual(graph: Graph, step: Step) -> Rewrite | None:
    """The sum of a grouped convolution and another tensor: the convolution's residual."""
    operands = _operands(step)
    if operands is None or len(operands) != 2:
        return None
    for mine, other in (operands, operands[::-1]):
        before = graph.sole_producer(mine)
        if before is None or before.linear is None or before.linear.kind not in TAKES_RESIDUAL:
            continue
        if not before.linear.active and not before.kwargs:
            graph.folded(step.name, before.name)
            return Rewrite([replace(before, kwargs={"residual": other}, outputs=step.outputs)], [before])
    return None


def fuse_activation(graph: Graph, step: Step) -> Rewrite | None:
    """An activation behind convolutions or dense layers: their own."""
    activation = activation_of(step.operation)
    if activation is None or len(step.inputs) != 1 or "mask" in step.arguments():
        return None
    origin = origin_of(graph, step.inputs[0])
    if isinstance(origin, str) or origin.dtypes() != {step.output.dtype}:
        return None
    if origin.moves and activation not in ELEMENTWISE:
        return None
    for part in origin.parts:
        graph.folded(step.name, part.name)
    parts = [replace(part, linear=replace(linear_part(part), activation=activation)) for part in origin.parts]
    return Rewrite(origin.ending(parts, step.outputs), list(origin))


RULES = (drop_identity, fold_normalization, merge_branches, fuse_residual, fuse_activation)


def _operands(step: Step) -> list[keras.KerasTensor] | None:
    """What `step` adds up, all of one shape and type; None where it is no such sum."""
    if type(step.operation) is not layers.Add and not is_operation(step.operation, "Add"):
        return None
    wanted = (step.output.shape, step.output.dtype)
    flat = keras.tree.flatten((step.args, step.kwargs))
    same = all(isinstance(value, keras.KerasTensor) and (value.shape, value.dtype) == wanted for value in flat)
    return flat if same else None


def _branch(step: Step) -> Linear | None:
    """`step` as a convolution that can be summed with parallel ones; None where it cannot."""
    return None if step.linear is None or step.linear.active else as_branch(step.linear)


def _is_identity_branch(graph: Graph, step: Step, inputs: keras.KerasTensor, beside: Linear) -> bool:
    """Whether `step` is a normalisation of `inputs` and nothing more, beside the convolution `beside`."""
    if type(step.operation) not in NORMALIZATIONS or graph.calls[step.operation] > 1:
        return False
    rank, arguments = len(step.output.shape), step.arguments()
    return (
        set(arguments) == {"inputs"}
        and arguments["inputs"] is inputs
        and _own_activation(step.operation) is keras.activations.linear
        and step.operation.axis % rank == beside.channel_axis(rank)
    )


def _own_activation(norm: keras.Layer) -> Any:
    """The activation of a normalisation; Keras's own has none."""
    return keras.activations.get(getattr(norm, "activation", None))
