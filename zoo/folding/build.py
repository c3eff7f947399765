"""From a model to its rewritten graph, and from that to a new model."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from blocks.conversion.copying import copy_input, copy_operation, is_graph, transfer
from blocks.ops.keras_internals import mark_called, sublayers
from zoo.folding.graph import Graph, Report, Step
from zoo.folding.linear import NORMALIZATIONS
from zoo.folding.rules import RULES, unsupported_reason


@dataclass(frozen=True, eq=False)
class Plan:
    """The rewritten graph of a model, and the plans of the models nested in it; not of those it runs in training."""

    graph: Graph
    nested: dict[keras.Model, "Plan"] = field(default_factory=dict)

    def report(self) -> Report:
        report = self.graph.report
        for step in self.graph.steps:
            if step.linear is None and step.operation not in self.nested:
                report.left.update(_left(self.graph, step))
        for model, plan in self.nested.items():
            report.extend(plan.report(), model.name)
        return report


def plan(model: keras.Model) -> Plan:
    """The rewrite plan of `model`. Raises TypeError or ValueError unless it is a built functional or Sequential one."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"fuse takes a keras.Model, functional or Sequential; got {type(model).__name__}.")
    if not is_graph(model):
        if isinstance(model, keras.Sequential) and _calls_as_keras_does(model):
            raise ValueError(
                f"{model.name} is not built: begin it with keras.Input, or call its build(input_shape) before fuse."
            )
        raise ValueError(
            f"{model.name} is a {type(model).__name__}, whose computation is code and no graph: fuse takes functional "
            "and Sequential models, such as keras.Model(inputs, outputs)."
        )
    graph = Graph(model)
    graph.rewrite(RULES)
    models = dict.fromkeys(step.operation for step in graph.steps if isinstance(step.operation, keras.Model))
    trained = {step.operation for step in graph.steps if step.operation in models and step.arguments().get("training")}
    return Plan(graph, {inner: plan(inner) for inner in models if is_graph(inner) and inner not in trained})


def build(plan: Plan) -> keras.Model:
    """The new model, with the weights of the old one."""
    graph = plan.graph
    tensors: dict[keras.KerasTensor, keras.KerasTensor] = {}
    copies: dict[Any, Any] = {}
    for step in graph.steps:
        new = step.mapped(tensors.__getitem__)
        if type(step.operation) is layers.InputLayer:
            outputs = copy_input(step.operation, step.outputs[0])
        elif step.linear is not None:
            layer = step.linear.make()
            outputs = layer(*new.args, **new.kwargs)
            step.linear.assign(layer)
        else:
            nested = plan.nested.get(step.operation)
            if step.operation not in copies:
                copies[step.operation] = copy_operation(step.operation) if nested is None else build(nested)
            outputs = copies[step.operation](*new.args, **new.kwargs)
        tensors.update(zip(step.outputs, keras.tree.flatten(outputs), strict=True))
    for operation, copy in copies.items():
        if isinstance(operation, keras.Layer) and operation not in plan.nested:
            transfer(operation, copy)
    inputs = keras.tree.map_structure(tensors.__getitem__, graph.inputs)
    model = keras.Model(inputs, _named_outputs(graph, tensors), name=graph.name)
    mark_called(model)
    in_training = {copies[step.operation] for step in graph.steps if step.kwargs.get("training")}
    _freeze(model, in_training | {copies[inner] for inner in plan.nested if copies[inner].trainable})
    return model


def _freeze(model: keras.Model, except_for: set[keras.Operation]) -> None:
    """Make `model` untrainable, but for layers with weights that it runs as in training.

    Frozen, their normalisations would take the running statistics. And because a model that is itself untrainable
    freezes all its layers when it is read from a file, one with such layers stays trainable.
    """
    trainable_layers = [layer for layer in model.layers if layer in except_for and layer.weights]
    for layer in model.layers:
        if layer not in trainable_layers:
            layer.trainable = False
    if not trainable_layers:
        model.trainable = False


def _named_outputs(graph: Graph, tensors: dict[Any, Any]) -> Any:
    """The outputs, under their names: where that layer is gone, an identity takes its name."""
    named = {}
    for tensor, name in zip(keras.tree.flatten(graph.outputs), graph.output_names, strict=True):
        if (tensor, name) not in named:
            new = tensors[tensor]
            same = graph.producer[tensor].name == name
            named[tensor, name] = new if same else layers.Identity(name=name, dtype=new.dtype)(new)
    order = [named[key] for key in zip(keras.tree.flatten(graph.outputs), graph.output_names, strict=True)]
    return keras.tree.pack_sequence_as(graph.outputs, order)


def _left(graph: Graph, step: Step) -> dict[str, str]:
    """The normalisations that stay in `step`, and why."""
    if type(step.operation) in NORMALIZATIONS:
        reason = unsupported_reason(graph, step)
        return {} if reason is None else {step.name: reason}
    inside = sublayers(step.operation, include_self=False) if isinstance(step.operation, keras.Layer) else []
    why = "called with training=True somewhere" if isinstance(step.operation, keras.Model) else "not taken apart"
    return {
        f"{step.name}/{layer.name}": f"it is inside {step.name!r} ({type(step.operation).__name__}), which is {why}"
        for layer in inside
        if type(layer) in NORMALIZATIONS
    }


def _calls_as_keras_does(model: keras.Model) -> bool:
    """Whether the class of `model` leaves its computation to Keras."""
    return type(model).call.__module__.startswith("keras.")
