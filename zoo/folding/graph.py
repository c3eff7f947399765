"""A functional model as a list of calls that rules rewrite."""

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import keras

import blocks
from blocks.ops.keras_internals import graph_of, nodes_of
from zoo.folding.linear import Linear, linear_of


@dataclass(frozen=True)
class Report:
    """What folding does to a model; layers of nested models are written `model/layer`.

    folded: layer that is removed -> layer that computes its part: normalisations, activations, sums, parallel branches.
    removed: layers that go because they do nothing at inference.
    replaced: layer -> class that takes the place of its own, or the names of the layers it is split into.
    left: normalisation that stays -> why.

    Example:
        >>> from zoo.folding import Report
        >>> print(Report(folded={"bn1": "conv1"}, removed=["dropout"]))
        folded    bn1 into conv1
        removed   dropout, which does nothing at inference
    """

    folded: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def extend(self, inner: "Report", model: str) -> None:
        """Add what was found in a nested model."""
        self.folded.update({f"{model}/{layer}": f"{model}/{into}" for layer, into in inner.folded.items()})
        self.removed.extend(f"{model}/{layer}" for layer in inner.removed)
        self.replaced.update({f"{model}/{layer}": by for layer, by in inner.replaced.items()})
        self.left.update({f"{model}/{layer}": reason for layer, reason in inner.left.items()})

    def __str__(self) -> str:
        lines = [f"folded    {layer} into {into}" for layer, into in self.folded.items()]
        lines += [f"removed   {layer}, which does nothing at inference" for layer in self.removed]
        lines += [f"replaced  {layer} by {kind}" for layer, kind in self.replaced.items()]
        return "\n".join(lines + [f"left      {layer}: {reason}" for layer, reason in self.left.items()])


@dataclass(eq=False)
class Step:
    """One call in the graph: `operation`, or `linear` in its place, on tensors gives `outputs`.

    Tensors are those of the model that is read, and stand for the new model's. Where there is a `linear`, args are
    its inputs alone and kwargs nothing but, in a convolution that adds one, its residual.
    """

    operation: Any  # keras.Operation: of which kind, a rule asks before it reads more than the name
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[keras.KerasTensor]
    linear: Linear | None = None

    @property
    def name(self) -> str:
        return self.operation.name if self.linear is None else self.linear.name

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        arguments = keras.tree.flatten((self.args, self.kwargs))
        return [value for value in arguments if isinstance(value, keras.KerasTensor)]

    @property
    def output(self) -> keras.KerasTensor:
        return self.outputs[0]

    def arguments(self) -> dict[str, Any]:
        """What the operation is called with, by name; without what is None, and without training=False."""
        if self.linear is not None:
            return {"inputs": self.args[0], **self.kwargs}
        bound = inspect.signature(type(self.operation).call).bind(self.operation, *self.args, **self.kwargs).arguments
        bound.pop("self", None)
        return {
            key: value
            for key, value in bound.items()
            if value is not None and (key != "training" or value is not False)
        }

    def mapped(self, function: Callable[..., Any]) -> "Step":
        """This call with `function` applied to every tensor that goes in."""
        args, kwargs = keras.tree.map_structure(
            lambda value: function(value) if isinstance(value, keras.KerasTensor) else value, (self.args, self.kwargs)
        )
        return replace(self, args=args, kwargs=kwargs)


@dataclass(frozen=True)
class Rewrite:
    """What a rule makes of a step: `steps` take the place of it and of the earlier steps `absorbed`.

    same: the step's output is this tensor, and nothing takes its place.
    """

    steps: list[Step] = field(default_factory=list)
    absorbed: list[Step] = field(default_factory=list)
    same: keras.KerasTensor | None = None


Rule = Callable[["Graph", Step], Rewrite | None]


class Graph:
    """The calls of `model`, functional, in an order in which they can be run."""

    def __init__(self, model: keras.Model) -> None:
        graph = graph_of(model)
        assert graph is not None  # `zoo.fuse` refuses other models
        self.name = model.name
        self.inputs, self.outputs, self.output_names = graph.input, graph.output, graph.output_names
        self.report = Report()
        self._same: dict[keras.KerasTensor, keras.KerasTensor] = {}
        nodes = nodes_of(graph)
        self.calls = Counter(node.operation for node in nodes)
        self._names = {operation.name for operation in self.calls}
        self.steps = [step for node in nodes for step in self._read(node)]
        self.producer = {output: step for step in self.steps for output in step.outputs}
        self.uses = Counter(tensor for step in self.steps for tensor in step.inputs)
        self.uses.update(keras.tree.flatten(self.outputs))

    def _read(self, node: Any) -> list[Step]:
        """The steps that one call is: several where a layer is known to be composed of others."""
        step = Step(node.operation, node.arguments.args, node.arguments.kwargs, list(node.outputs))
        if self.calls[node.operation] > 1:
            return [step]
        if type(node.operation) is blocks.DepthwiseSeparableConv2D:
            return self._separate(step)
        linear = linear_of(node.operation) if isinstance(node.operation, keras.Layer) else None
        if linear is None or not set(arguments := step.arguments()) <= {"inputs", "residual"}:
            return [step]
        if linear.kind is not type(node.operation):
            self.report.replaced[linear.name] = linear.kind.__name__
        return [replace(step, args=(arguments.pop("inputs"),), kwargs=arguments, linear=linear)]

    def _separate(self, step: Step) -> list[Step]:
        """A DepthwiseSeparableConv2D as its two convolutions, with their normalisations folded in.

        As it is, where one of them is quantised, or the normalisations compute as in training.
        """
        layer, inputs = step.operation, step.arguments()["inputs"]
        names = [f"{layer.name}.{half.name}" for half in (layer.depthwise, layer.pointwise)]
        depthwise, pointwise = linear_of(layer.depthwise, names[0]), linear_of(layer.pointwise, names[1])
        if depthwise is None or pointwise is None or set(step.arguments()) != {"inputs"}:
            return [step]
        if layer.normalize:
            depthwise = replace(depthwise.normalized(layer.depthwise_norm), activation=layer.activation)
            pointwise = pointwise.normalized(layer.pointwise_norm)
            for norm, name in zip((layer.depthwise_norm, layer.pointwise_norm), names, strict=True):
                self.report.folded[f"{layer.name}/{norm.name}"] = name
        self.report.replaced[layer.name] = " and ".join(names)
        between = keras.KerasTensor(layer.depthwise.compute_output_shape(inputs.shape), step.output.dtype)
        return [
            Step(layer.depthwise, (inputs,), {}, [between], depthwise),
            Step(layer.pointwise, (between,), {}, step.outputs, replace(pointwise, activation=layer.activation)),
        ]

    def folded(self, layer: str, into: str) -> None:
        """Note that `into` computes what `layer` did; not for what a rule put in between.

        An activation that is called often goes into several.
        """
        if layer not in self._names and layer not in self.report.replaced:
            return
        known = self.report.folded.get(layer)
        self.report.folded[layer] = into if known is None else f"{known}, {into}"

    def sole_producer(self, tensor: keras.KerasTensor) -> Step | None:
        """The step that computes `tensor`, where exactly one other uses it."""
        return self.producer[tensor] if self.uses[tensor] == 1 else None

    def current(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The tensor that `tensor` is, now that layers without effect are gone."""
        while tensor in self._same:
            tensor = self._same[tensor]
        return tensor

    def rewrite(self, rules: Iterable[Rule]) -> None:
        """Go through the steps once, and make of each what the first rule that applies says, until none does.

        Rules look backwards only: at the step and at what came before it.
        """
        pending, done = deque(self.steps), dict[Step, None]()
        while pending:
            step = pending.popleft().mapped(self.current)
            self.producer.update(dict.fromkeys(step.outputs, step))
            change = next((change for rule in rules if (change := rule(self, step)) is not None), None)
            if change is None:
                done[step] = None
                continue
            for gone in change.absorbed:
                del done[gone]
            self._recount([step, *change.absorbed], change.steps)
            if change.same is not None:
                self._same[step.output] = change.same
                self.uses[change.same] += self.uses[step.output]
            pending.extendleft(reversed(change.steps))
        self.steps = list(done)
        self.outputs = keras.tree.map_structure(self.current, self.outputs)

    def _recount(self, gone: list[Step], new: list[Step]) -> None:
        self.uses.subtract(tensor for step in gone for tensor in step.inputs)
        self.uses.update(tensor for step in new for tensor in step.inputs)
        self.producer.update((output, step) for step in new for output in step.outputs)


def like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """A new tensor of the same shape and type, for what lies between two steps."""
    return keras.KerasTensor(tensor.shape, tensor.dtype)


def linear_part(step: Step) -> Linear:
    """The convolution or dense layer that `step`, one of the parts of an origin, is."""
    assert step.linear is not None, step.name
    return step.linear
