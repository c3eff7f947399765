"""What Keras has no public name for and this project needs: all its private attributes that are used, and no others.

Seen in Keras 3.14 and 3.15; `tests/test_internals.py` says what another version lacks.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

from blocks.typing import LayerMixin, OptimizerMixin


def graph_of(model: keras.Model) -> keras.Model | None:
    """What holds the graph of a functional or Sequential model; None for a model that is code, or not built yet.

    A Sequential model has a functional one inside.
    """
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def nodes_of(graph: keras.Model) -> list[Any]:
    """The calls that a graph consists of, in an order in which they can be run.

    `graph.operations`, which is public, has each operation once, however often it is called, and not on what.
    """
    by_depth = graph._nodes_by_depth  # depth is the distance to the output
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def source_of(tensor: Any) -> tuple[keras.Operation, int]:
    """The operation that computes a tensor of a graph, and which of its outputs it is: tensors do not say publicly."""
    operation, _, index = tensor._keras_history
    return operation, index


def mark_called(model: keras.Model) -> None:
    """Let Keras's export to ONNX take `model` for called: a graph is complete without, and a call would extend it."""
    model._called = True


def sublayers(layer: keras.Layer, include_self: bool = True) -> Iterable[keras.Layer]:
    """`layer` and all layers inside it, however deep: only models have a public `layers`, of the first level."""
    return layer._flatten_layers(include_self=include_self)


def random_states(layer: keras.Layer) -> list[keras.Variable]:
    """The states of the random generators that a layer, such as a dropout, has."""
    return [generator.state for generator in layer._seed_generators]


def own_sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers that `layer` itself holds, of the first level."""
    return list(layer._layers)


def mapped_tuple(values: tuple[Any, ...], function: Callable[[Any], Any]) -> tuple[Any, ...]:
    """A tuple, named or wrapped by TensorFlow or not, with `function` applied to each of its values."""
    parts = [function(each) for each in values]
    return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)


def rebuilt(model: keras.Model, arguments: tuple[Any, ...], partners: Mapping[Any, Any]) -> keras.Model:
    """A model of the class of `model` from inputs and outputs or, of a Sequential one, from layers.

    A class of the user's own may have another constructor: that is passed by, its attributes are copied, and layers
    and tensors in them exchanged for their `partners`.
    """
    kind = type(model)
    base: Any = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    if kind.__module__.startswith("keras.src."):
        return base(*arguments, name=model.name)
    if base is keras.Model:  # behind its class there is another, without a public name
        base = next(each for each in kind.__mro__ if each.__name__ == "Functional")
    new = kind.__new__(kind)
    base.__init__(new, *arguments, name=model.name)
    new._auto_config = model._auto_config

    def exchanged(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: exchanged(each) for key, each in value.items()}
        if isinstance(value, list):
            return [exchanged(each) for each in value]
        if isinstance(value, tuple):
            return mapped_tuple(value, exchanged)
        known = isinstance(value, (keras.Operation, keras.KerasTensor))
        return partners.get(value, value) if known else value

    for name, value in vars(model).items():
        if name not in vars(new) and not name.startswith("_compile"):
            setattr(new, name, exchanged(value))
    return new


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of a layer without those of its sublayers, which `layer.weights` has too; in order of creation."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def exchange_sublayer(holder: keras.Layer, old: keras.Layer, new: keras.Layer) -> None:
    """Put `new` in the place of `old` among the layers of `holder`: behind a change of its attribute both are there."""
    if any(layer is old for layer in holder._layers):
        holder._tracker.replace_tracked_value("layers", old, new)


def lambda_output_shape(layer: keras.layers.Lambda) -> Any:
    """`output_shape`, as the layer was given it: its configuration has a function as marshalled code."""
    return layer._output_shape


def is_operation(operation: keras.Operation, name: str) -> bool:
    """Whether this is the operation `name` behind a function of `keras.ops`, as "Add" is behind `keras.ops.add`."""
    kind = type(operation)
    return (kind.__name__, kind.__module__) == (name, "keras.src.ops.numpy")


def variable_index(optimizer: keras.Optimizer, variable: keras.Variable) -> int:
    """The place of a variable's state in the lists of `optimizer`, which compares by identity."""
    return optimizer._get_variable_index(variable)


def decays(optimizer: keras.Optimizer, variable: keras.Variable) -> bool:
    """Whether the weight decay of `optimizer` is for this variable: what `exclude_from_weight_decay` has left."""
    return optimizer.weight_decay is not None and decayed_if_any(optimizer, variable)


def decayed_if_any(optimizer: keras.Optimizer, variable: keras.Variable) -> bool:
    """Whether `exclude_from_weight_decay` has left this variable, whatever decay there is."""
    return optimizer._use_weight_decay(variable)


def step_counter(optimizer: keras.Optimizer) -> keras.Variable:
    """How often `optimizer` was called: `iterations`, which is public, counts the updates of accumulated gradients."""
    return optimizer._iterations


def rate_of_last_step(optimizer: keras.Optimizer) -> float:
    """The learning rate of the last call of `optimizer`: `learning_rate`, which is public, is that of the next."""
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)  # of a scaled loss
    rate = inner._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return float(inner.learning_rate)
    return float(rate(keras.ops.maximum(step_counter(inner) - 1, 0)))


def adam_moments(optimizer: keras.optimizers.Adam, variable: keras.Variable) -> tuple[keras.Variable, keras.Variable]:
    """First and second moment of a variable: `optimizer.variables`, which is public, has them without their owners."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def all_adam_moments(optimizer: keras.optimizers.Adam) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """First and second moments of all variables, in the order of `variable_index`."""
    return optimizer._momentums, optimizer._velocities


@contextlib.contextmanager
def unlocked(layer: keras.Layer) -> Iterator[None]:
    """Within this context `layer`, which is built, may be given weights, as Keras's own `enable_lora` gives it some."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def untrack(layer: keras.Layer, variable: keras.Variable) -> None:
    """Let `variable` be no weight of `layer` any more. To delete the attribute, which is public, collects garbage."""
    layer._untrack_variable(variable)


def mark_quantized(layer: keras.Layer) -> None:
    """Let Keras know that `layer` is quantised, so that it refuses to quantise it once more."""
    layer._is_quantized = True


def refused_mode(layer: keras.Layer, message: str) -> Exception:
    """What a layer raises that cannot be quantised so: `model.quantize` warns with `message`, and goes on."""
    error = layer._quantization_mode_error(None)
    error.args = (message,)
    return error


def check_number_of_weights(layer: keras.Layer, store: Any) -> None:
    """Raise ValueError, in Keras's words, unless `store` has as many weights as `layer`."""
    layer._check_load_own_variables(store)


class DottedName(LayerMixin):
    """Mixin, before the Keras class, for a layer whose name may have dots, as a module path of a reference has.

    Keras's PyTorch backend registers every weight under its path, which begins with the layer's name, and PyTorch
    refuses dots there. This writes a colon in the path for each; the name of the layer stays as it is, and so does
    the path on other backends. Nothing public lies between the creation of a weight and its registration.
    """

    def _track_variable(self, variable: keras.Variable) -> None:
        if keras.backend.backend() == "torch":
            # Set before Keras reads it. The layer that creates a weight tracks it first, so layers and models that
            # contain this one see the new path too. Saved files do not have the path.
            variable._path = variable.path.replace(".", ":")
        super()._track_variable(variable)


def forget_strategy(model: keras.Model) -> None:
    """Let Keras train `model` as on one device, whatever strategy it was built under: its `fit` fails under
    `MultiWorkerMirroredStrategy`, where it averages batches, and metrics that are numbers.
    """
    if not hasattr(model, "_distribute_strategy"):
        raise AttributeError(
            f"Keras {keras.__version__} keeps no _distribute_strategy: a strategy cannot be used with it."
        )
    model._distribute_strategy = None


def apply_in_replica(optimizer: keras.Optimizer, gradients: Iterable[Any], variables: list[keras.Variable]) -> None:
    """`optimizer.apply`; in one of several replicas by gradients that are those of all. Keras's optimizer of scaled
    losses would leave the replica then, which no branch of a graph can.
    """
    if in_replica() and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer._common_apply(list(gradients), variables)
    else:
        optimizer.apply(list(gradients), variables)


class DirectUpdates(OptimizerMixin):
    """Mixin, before a Keras optimizer: variables are updated as they are, without Keras's passage through a strategy.

    On one device it changes nothing, but takes half of the time in which a step is traced. In a replica of several,
    gradients have been summed over all replicas already, and the replica changes its own copies.
    """

    def update_all(self, gradients: list[Any], variables: list[Any], learning_rate: Any) -> bool:
        """Update all variables at once, their weight decay included; False where this can't be done."""
        return False

    def _backend_update_step(self, gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
        if self.update_all(gradients, variables, learning_rate):
            return
        if keras.backend.backend() != "tensorflow":
            super()._apply_weight_decay(variables)
            super()._backend_update_step(gradients, variables, learning_rate)
            return
        if self.weight_decay is not None:
            for variable in variables:
                if self._use_weight_decay(variable):
                    rate = keras.ops.cast(learning_rate, variable.dtype)
                    decay = keras.ops.cast(self.weight_decay, variable.dtype)
                    self.assign_sub(variable, variable * decay * rate)
        for gradient, variable in zip(gradients, variables, strict=True):
            own = variable.value if isinstance(variable, keras.Variable) else variable
            self.update_step(gradient, own, learning_rate)

    def _apply_weight_decay(self, variables: list[keras.Variable]) -> None:
        """`_backend_update_step` does it, which Keras calls next, with the learning rate that Keras computes once."""

    def _backend_increment_gradient_accumulators(
        self, gradients: list[Any], accumulators: list[keras.Variable]
    ) -> None:
        if not in_replica():
            super()._backend_increment_gradient_accumulators(gradients, accumulators)
            return
        for gradient, accumulator in zip(gradients, accumulators, strict=True):
            accumulator.assign(accumulator + gradient)


def in_replica() -> bool:
    """Whether this is called in one replica of several."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1
