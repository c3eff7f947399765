"""The convolutions behind layers that join and reorder channels, and compute nothing.

What is done to each channel behind such layers can as well be done before them: a normalisation behind the
concatenation of several convolutions (Tan and Le 2019, MixConv, section 3.1, arXiv:1907.09595), or behind a channel
shuffle (Huang et al. 2018, CondenseNet, section 3, arXiv:1711.09224), is a part of those convolutions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from keras import layers

import blocks
from blocks.ops.keras_internals import is_operation
from zoo.folding.graph import Graph, Step, linear_part


@dataclass(frozen=True, eq=False)
class Origin:
    """Where all channels of a tensor come from.

    parts: convolutions and dense layers, whose outputs go nowhere else.
    moves: the concatenations and shuffles from them to the tensor, in an order in which they can be run.
    """

    parts: list[Step] = field(default_factory=list)
    moves: list[Step] = field(default_factory=list)

    def __iter__(self) -> Iterator[Step]:
        yield from self.parts
        yield from self.moves

    def axes(self) -> set[int]:
        """Axes that hold the channels: for each part, and for each of the layers behind."""
        axes = {linear_part(part).channel_axis(len(part.output.shape)) for part in self.parts}
        return axes | {_known_axis(move) % len(move.output.shape) for move in self.moves}

    def dtypes(self) -> set[str]:
        return {step.output.dtype for step in self}

    def shares(self, values: np.ndarray) -> list[np.ndarray]:
        """What of `values`, (C,) one for each channel of the tensor, belongs to the channels of each part."""
        if not self.moves:
            return [values]
        values_of = {self.moves[-1].output: values}
        for move in reversed(self.moves):
            mine, sizes = values_of[move.output], [tensor.shape[_known_axis(move)] for tensor in move.inputs]
            if type(move.operation) is blocks.ChannelShuffle:
                # Output channel i * groups + j is input channel j * n + i.
                mine = mine.reshape(-1, move.operation.groups).transpose().reshape(-1)
            values_of.update(zip(move.inputs, np.split(mine, np.cumsum(sizes)[:-1]), strict=True))
        return [values_of[part.output] for part in self.parts]

    def ending(self, parts: Iterable[Step], outputs: list[keras.KerasTensor]) -> list[Step]:
        """The steps again, with `parts` in place of those here, and the last of them giving `outputs`."""
        steps = [*parts, *self.moves]
        return [*steps[:-1], replace(steps[-1], outputs=outputs)]


def origin_of(graph: Graph, tensor: keras.KerasTensor) -> Origin | str:
    """Where `tensor`, used once, comes from; or why that cannot be said of a convolution, as a sentence on "it"."""
    origin = Origin()
    return _follow(graph, tensor, origin) or origin


def _follow(graph: Graph, tensor: keras.KerasTensor, origin: Origin) -> str | None:
    before = graph.producer[tensor]
    moves = before.linear is None and _axis(before) is not None
    if before.linear is None:
        kind = type(before.operation).__name__
        if graph.calls[before.operation] > 1:
            return f"what comes before it, {before.name!r} ({kind}), is called more than once"
        if (mode := getattr(before.operation, "quantization_mode", None)) is not None:
            return f"what comes before it, {before.name!r} ({kind}), is quantised to {mode}"
        if not moves:
            return f"what comes before it, {before.name!r} ({kind}), is no convolution or dense layer that can take it"
    if graph.uses[tensor] > 1:
        return f"the output of {before.name!r} is used elsewhere too"
    if before.linear is not None and before.linear.active:
        return f"{before.name!r} ends in an activation or a sum"
    for each in before.inputs if moves else []:
        if (reason := _follow(graph, each, origin)) is not None:
            return reason
    (origin.moves if moves else origin.parts).append(before)
    return None


def _axis(step: Step) -> int | None:
    """The axis along which `step` joins or reorders its inputs; None where it does anything else."""
    kind = type(step.operation)
    if not all(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten((step.args, step.kwargs))):
        return None  # a constant among the inputs comes from no convolution
    if kind is blocks.ChannelShuffle:
        if step.operation.num_outputs > 1:
            return None  # it splits the channels too
        return -1 if step.operation.data_format == "channels_last" else 1
    joins = kind is layers.Concatenate or is_operation(step.operation, "Concatenate")
    return step.operation.axis if joins else None


def _known_axis(move: Step) -> int:
    """`_axis` of one of the moves of an origin, which have one."""
    axis = _axis(move)
    assert axis is not None, move.name
    return axis
