"""A model made again with its layers exchanged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import layers

from blocks.conversion.calls import Calls, extra_arguments
from blocks.conversion.copying import copy_input, copy_operation, is_graph, not_copied, transfer
from blocks.conversion.inside import exchange_inside
from blocks.conversion.replacement import Direction, Joined, Replacement
from blocks.conversion.report import ConversionReport
from blocks.conversion.state import copy_compilation, copy_trainable
from blocks.ops.keras_internals import graph_of, own_sublayers, rebuilt, sublayers


class Conversion:
    """One run of `convert` or `restore`: what became of every layer, and the report.

    Example:
        >>> from blocks.conversion.model import Conversion
        >>> from blocks.conversion.to_blocks import ToBlocks
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3)])
        >>> type(Conversion(ToBlocks(), "convert").run(model).layers[0]) is blocks.Conv2D
        True
    """

    def __init__(self, direction: Direction, name: str) -> None:
        self.direction = direction
        self.name = name
        self.report = ConversionReport()
        self._replacements: dict[keras.Operation, Replacement] = {}  # of all operations that were met
        self._joined: dict[keras.Operation, Joined] = {}
        self._graphs: set[keras.Model] = set()  # those among them that were run through
        self._finished: set[keras.Layer] = set()
        self._path: list[str] = []  # the models and layers that hold what is at hand

    def run(self, model: keras.Model) -> keras.Model:
        """The new model, with the weights and flags of the old one, compiled if that is."""
        new = self._model(model)
        copy_trainable(self._pairs(model, new))
        reason = copy_compilation(model, new)
        if reason is not None:
            self.report.left["compile()"] = reason
        return new

    def _model(self, model: keras.Model) -> keras.Model:
        if is_graph(model) or type(model) is keras.Sequential:
            self._graphs.add(model)
            return self._sequential(model) if isinstance(model, keras.Sequential) else self._functional(model)
        return self._code(model)

    def _pairs(self, old: keras.Layer, new: keras.Layer) -> Iterator[tuple[keras.Layer, keras.Layer]]:
        """Old and new layers, holders before what they hold."""
        yield old, new
        if isinstance(old, keras.Model) and old in self._graphs:
            partners = [(layer, self._replacements[layer].layer) for layer in old.layers if layer in self._replacements]
        else:
            partners = list(zip(own_sublayers(old), own_sublayers(new), strict=False))
        for layer, partner in partners:
            if isinstance(partner, keras.Layer):
                yield from self._pairs(layer, partner)

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()

    def _shown(self, operation: Any) -> str:
        return "/".join((*self._path, operation.name))

    def _join(self, calls: Calls) -> None:
        """Exchange together the neighbours that are."""
        for joined in self.direction.joined(calls):
            self._joined.update(dict.fromkeys(joined.replacements, joined))

    def _exchanged(self, shown: str, old: keras.Operation, new: Replacement) -> None:
        kinds = [type(each).__name__ for each in (*new.before, new.layer, *new.behind) if isinstance(each, keras.Layer)]
        if new.function is not None:
            kinds.append("operations of Keras")
        if kinds == [type(old).__name__]:  # of the same name, from the other package
            kinds[0] += " of blocks" if self.name == "convert" else " of Keras"
        self.report.exchanged[shown] = f"{type(old).__name__} -> {', '.join(kinds)}"

    def _replacement(self, operation: Any, calls: Calls | None, graph: bool = True) -> Replacement:
        """What takes the place of an operation: another layer, or a copy."""
        if operation in self._replacements:
            return self._replacements[operation]
        if operation in self._joined:
            replacement = self._joined[operation].replacements[operation]
            if operation is self._joined[operation].absorbed and self.name == "convert":
                self.report.absorbed[self._shown(operation)] = self._joined[operation].by.name
            else:
                self._exchanged(self._shown(operation), operation, replacement)
        elif isinstance(operation, keras.Model):
            with self._within(operation.name):
                replacement = Replacement(self._model(operation))
        else:
            try:
                new = self.direction.exchanged(operation, calls) if isinstance(operation, keras.Layer) else None
            except (TypeError, ValueError) as error:
                raise not_copied(operation) from error
            if isinstance(new, Replacement) and not graph and not _listed(new):
                new = "what has to stand beside it can only be held by a functional model"
            if isinstance(new, str):
                self.report.left[self._shown(operation)] = new
            if isinstance(new, Replacement):
                self._exchanged(self._shown(operation), operation, new)
            replacement = new if isinstance(new, Replacement) else Replacement(copy_operation(operation))
        self._replacements[operation] = replacement
        return replacement

    def _functional(self, model: keras.Model) -> keras.Model:
        graph = graph_of(model)
        assert graph is not None  # `is_graph` says so
        calls = Calls(graph)
        self._join(calls)
        tensors: dict[Any, Any] = {}
        for node in calls.nodes:
            operation = node.operation
            if isinstance(operation, layers.InputLayer):
                outputs = copy_input(operation, node.outputs[0])
            else:
                outputs = _called(self._replacement(operation, calls), node, tensors)
            tensors.update(zip(node.outputs, keras.tree.flatten(outputs), strict=True))
        for operation in calls.count:
            if isinstance(operation, keras.Layer) and not isinstance(operation, layers.InputLayer):
                self._finish(operation)
        inputs, outputs = (keras.tree.map_structure(tensors.__getitem__, each) for each in (graph.input, graph.output))
        new = {old: each.layer for old, each in self._replacements.items() if each.layer is not None}
        return rebuilt(model, (inputs, outputs), {**tensors, **new})

    def _sequential(self, model: keras.Sequential) -> keras.Model:
        graph = graph_of(model)
        calls = None if graph is None else Calls(graph)
        if calls is not None:
            self._join(calls)
        parts: list[Any] = []
        for layer in model.layers:
            replacement = self._replacement(layer, calls, graph=False)
            parts += [*replacement.before, *([] if replacement.layer is None else [replacement.layer])]
            parts += replacement.behind
        if graph is not None:
            parts.insert(0, copy_input(graph.operations[0], graph.inputs[0]))
        new = rebuilt(model, (parts,), {})
        for layer in model.layers:
            self._finish(layer)
        return new

    def _finish(self, old: keras.Layer) -> None:
        """Fill the layer that took the place of `old`, and exchange what is inside it."""
        new = self._replacements[old].layer
        if not isinstance(new, keras.Layer) or isinstance(old, keras.Model) or not old.built or old in self._finished:
            return
        self._finished.add(old)
        if not new.built:
            new.build_from_config(old.get_build_config())
        transfer(old, new)
        if type(new) is type(old) and own_sublayers(new):
            with self._within(old.name):
                self._inside(new)

    def _inside(self, holder: keras.Layer) -> None:
        exchanged, left = exchange_inside(holder, self._inner)
        for old, new, path in exchanged:
            shown = "/".join((*self._path, *path))
            if not isinstance(old, keras.Model):
                self._exchanged(shown, old, Replacement(new))
        self.report.left.update({"/".join((*self._path, *path)): reason for path, reason in left})

    def _inner(self, layer: keras.Layer) -> keras.Layer | str | None:
        """What an attribute holds in place of `layer`."""
        if isinstance(layer, keras.Model):
            if not is_graph(layer):
                return None
            with self._within(layer.name):
                return self._model(layer)
        new = self.direction.exchanged(layer, None)
        if isinstance(new, Replacement):
            assert isinstance(new.layer, keras.Layer)
            return new.layer if new.alone else f"{type(layer).__name__} becomes several layers, and an attribute is one"
        return new

    def _code(self, model: keras.Model) -> keras.Model:
        """A subclassed model: a copy with the layers inside it exchanged."""
        new = copy_operation(model)
        assert isinstance(new, keras.Model)
        if model.built and not new.built:
            new.build_from_config(model.get_build_config())
        try:
            transfer(model, new)
        except ValueError as error:
            raise ValueError(
                f"{model.name} cannot be copied: {type(model).__name__} makes other layers from its get_config() and "
                "get_build_config() than it has."
            ) from error
        copy_trainable(zip(sublayers(model), sublayers(new), strict=True))
        self._inside(new)
        return new


def _listed(replacement: Replacement) -> bool:
    """Whether a Sequential model can hold it: layers alone."""
    return replacement.function is None and all(
        isinstance(each, keras.Layer) for each in (*replacement.before, *replacement.behind)
    )


def _called(replacement: Replacement, node: Any, tensors: dict[Any, Any]) -> Any:
    """The outputs of what takes the place of a call."""

    def mapped(value: Any) -> Any:
        return tensors[value] if isinstance(value, keras.KerasTensor) else value

    new: Any = replacement.layer
    if type(new) is type(node.operation):
        args, kwargs = keras.tree.map_structure(mapped, (node.arguments.args, node.arguments.kwargs))
        try:
            return new(*args, **kwargs)
        except (TypeError, ValueError) as error:  # the old one took it
            raise not_copied(node.operation) from error
    inputs, extra = keras.tree.map_structure(mapped, extra_arguments(node))
    residual = extra.pop("residual", None) if replacement.adds else None
    for each in replacement.before:
        inputs = each(inputs)
    compute = new or replacement.function
    outputs = inputs if compute is None else compute(inputs, **extra)
    if residual is not None:
        outputs = layers.Add(name=f"{node.operation.name}_add", dtype=outputs.dtype)([outputs, residual])
    for each in replacement.behind:
        outputs = each(outputs)
    return outputs
