"""The calls of a functional model, and which of them follow one another alone."""

import inspect
from collections import Counter, defaultdict
from typing import Any

import keras

from blocks.ops.keras_internals import nodes_of


class Calls:
    """Who computes and who uses every tensor of a functional `graph`.

    nodes: its calls, in an order in which they can be run.

    Example:
        >>> from blocks.conversion.calls import Calls
        >>> images = keras.Input((4,), name="images")
        >>> model = keras.Model(images, keras.layers.ReLU()(keras.layers.Dense(2, name="dense")(images)))
        >>> calls = Calls(model)
        >>> dense = model.get_layer("dense")
        >>> type(calls.sole_consumer(dense)).__name__, calls.sole_producer(dense).name
        ('ReLU', 'images')
    """

    def __init__(self, graph: keras.Model) -> None:
        self.nodes = nodes_of(graph)
        self.count = Counter(node.operation for node in self.nodes)
        self._calls: dict[Any, list[Any]] = defaultdict(list)
        for node in self.nodes:
            self._calls[node.operation].append(node)
        self._producer = {tensor: node.operation for node in self.nodes for tensor in node.outputs}
        self._consumers: dict[Any, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for tensor in node.arguments.keras_tensors:
                self._consumers[tensor].append(node.operation)
        for tensor in keras.tree.flatten(graph.outputs):
            self._consumers[tensor].append(None)

    def sole_consumer(self, operation: Any) -> Any:
        """The operation that takes the one output of `operation` and nothing else, both called once, or None."""
        if self.count[operation] != 1 or len(outputs := self._calls[operation][0].outputs) != 1:
            return None
        consumers = self._consumers[outputs[0]]
        if len(consumers) != 1 or self.count[consumers[0]] != 1:
            return None
        return consumers[0] if len(self.tensors(consumers[0])) == 1 else None

    def sole_producer(self, operation: Any) -> Any:
        """The operation whose output is all that `operation`, called once, takes; or None."""
        if self.count[operation] != 1 or len(tensors := self.tensors(operation)) != 1:
            return None
        return self._producer[tensors[0]]

    def tensors(self, operation: Any) -> list[keras.KerasTensor]:
        """All that the calls of `operation` take."""
        return [tensor for node in self._calls[operation] for tensor in node.arguments.keras_tensors]

    def arguments(self, operation: Any) -> list[dict[str, Any]]:
        """What every call of `operation` gives it beside its inputs, by name."""
        return [extra_arguments(node)[1] for node in self._calls[operation]]


def extra_arguments(node: Any) -> tuple[Any, dict[str, Any]]:
    """The inputs of a call, and by name what it gives beside them and is not None.

    Example:
        >>> from blocks.conversion.calls import Calls, extra_arguments
        >>> images = keras.Input((4,), name="images")
        >>> model = keras.Model(images, keras.layers.BatchNormalization()(images, training=False))
        >>> extra_arguments(Calls(model).nodes[-1])[1]
        {'training': False}
    """
    operation, given = node.operation, node.arguments
    bound = inspect.signature(type(operation).call).bind(operation, *given.args, **given.kwargs)
    (_, (_, inputs), *others) = bound.arguments.items()  # behind `self`
    return inputs, {name: value for name, value in others if value is not None}
