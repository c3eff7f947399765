"""What a training consists of, as named tensors: weights, optimizer, random generators, running metrics, averages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.weights.readers.training import AVERAGED, WEIGHTS, CheckpointError, CheckpointFile, summarised

RANDOM, OPTIMIZER, METRICS, BEST = "random", "optimizer", "metrics", "best"


class TrainingState:
    """The variables of a training by the names that they have in a checkpoint.

    - `model/conv1/kernel`: a weight, by its path in the model
    - `random/0`: the state of a dropout's generator, in the order of the layers
    - `optimizer/conv1_kernel_momentum`, `optimizer/iteration`: also the scale of a loss that is scaled
    - `metrics/0`: the running sums of the epoch's loss and accuracies
    - `averaged/conv1/kernel`: the average of a weight, where the recipe has averages
    - `best/conv1/kernel`: a weight of the best epoch, where early stopping keeps them

    Args:
        model: compiled, its optimizer and its metrics built.
        averaged: name -> variable.
        best_weights: gives those of the best epoch, in the order of the model's, or None.
    """

    def __init__(
        self,
        model: keras.Model,
        averaged: Mapping[str, keras.Variable] | None = None,
        best_weights: Callable[[], Sequence[np.ndarray] | None] = lambda: None,
    ) -> None:
        weights = {id(variable) for variable in model.weights}
        random = [variable for variable in model.variables if id(variable) not in weights]
        self.metrics = _numbered(METRICS, model.metrics_variables)
        self.best_weights = best_weights
        by_path = [(variable.path, variable) for variable in model.weights]
        self.best_names = _named(BEST, by_path)  # name in the file -> weight, in the model's order
        self.best_places = {name: place for place, name in enumerate(self.best_names)}
        self.variables = {
            **_named(WEIGHTS, by_path),
            **_numbered(RANDOM, random),
            **_named(OPTIMIZER, [(variable.name, variable) for variable in model.optimizer.variables]),
            **_named(AVERAGED, list((averaged or {}).items())),
        }
        self._described = _described({**self.variables, **self.metrics})

    def described(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name -> shape and dtype, of all tensors."""
        return self._described if self.best_weights() is None else {**self._described, **_described(self.best_names)}

    def read(self, name: str) -> np.ndarray:
        """The values of a variable now; not a copy where the backend can do without."""
        if name in self.best_places:
            best = self.best_weights()
            assert best is not None  # else it is not described
            return best[self.best_places[name]]
        return values_of(self.variables[name] if name in self.variables else self.metrics[name])

    def running_metrics(self) -> dict[str, np.ndarray]:
        """A copy of the running metrics, which are few numbers: a validation uses the same variables."""
        return {name: np.array(values_of(variable)) for name, variable in self.metrics.items()}

    def set_running_metrics(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the running metrics, once Keras has reset them for the epoch."""
        for name, variable in self.metrics.items():
            variable.assign(values[name])

    def restore(self, checkpoint: CheckpointFile) -> dict[str, np.ndarray]:
        """Set all variables but the running metrics, which are returned for `set_running_metrics`.

        Raises:
            CheckpointError: the checkpoint is of another network, optimizer or recipe; no variable has changed.
        """
        best = self.best_names if any(name in self.best_names for name in checkpoint.tensors) else {}
        _check(checkpoint, _described({**self.variables, **self.metrics, **best}))
        for name, variable in self.variables.items():
            variable.assign(checkpoint.read(name))
        return {name: checkpoint.read(name) for name in self.metrics}

    def best_weights_in(self, checkpoint: CheckpointFile) -> list[np.ndarray] | None:
        """Those of the best epoch, where the checkpoint has them."""
        there = all(name in checkpoint.tensors for name in self.best_names)
        return [checkpoint.read(name) for name in self.best_names] if there else None


def values_of(variable: Any) -> np.ndarray:
    """The values of a Keras variable; on TensorFlow's CPU they are not copied."""
    value = variable.value
    if hasattr(value, "handle"):  # of TensorFlow; the bare operation takes half the time of its own methods
        from tensorflow import raw_ops

        value = raw_ops.ReadVariableOp(resource=value.handle, dtype=value.dtype)
    return np.asarray(value)


def _described(variables: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(variable.shape), str(variable.dtype)) for name, variable in variables.items()}


def _numbered(section: str, variables: Sequence[Any]) -> dict[str, Any]:
    """Their own names count what the process has built before."""
    return {f"{section}/{number}": variable for number, variable in enumerate(variables)}


def _named(section: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """`section/name` -> variable; a second one of a name, as a layer called by another's has, counts on."""
    named: dict[str, Any] = {}
    for name, variable in pairs:
        key, number = f"{section}/{name}", 1
        while key in named:
            number += 1
            key = f"{section}/{name}#{number}"
        named[key] = variable
    return named


def _check(checkpoint: CheckpointFile, expected: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Raise CheckpointError unless names, shapes and types are those `expected`."""
    there = {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.tensors.items()}
    differences = []
    if missing := [name for name in expected if name not in there]:
        differences.append(f"it lacks {summarised(missing)}")
    if more := [name for name in there if name not in expected]:
        differences.append(f"it has {summarised(more)} besides")
    for name, (shape, dtype) in expected.items():
        if name in there and there[name] != (shape, dtype):
            has = there[name]
            differences.append(f"{name} is {has[1]} {list(has[0])} in it and {dtype} {list(shape)} in this run")
    if differences:
        raise CheckpointError(
            f"The checkpoint {checkpoint.path} is of another network or optimizer: {'; '.join(differences[:4])}."
        )
