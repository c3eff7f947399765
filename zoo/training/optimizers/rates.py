"""What all optimizers here have: a learning rate that differs from variable to variable, and with it the decay."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from blocks.ops.keras_internals import DirectUpdates, decays, variable_index
from zoo.training.optimizers.multi_tensor import handles, kernels_for
from zoo.typing import Tensor


def has_kernel(gradient: Tensor) -> bool:
    """Whether TensorFlow's fused kernels take this gradient.

    Example:
        >>> from zoo.training.optimizers.rates import has_kernel
        >>> has_kernel(keras.ops.zeros(3)) == (keras.backend.backend() == "tensorflow")
        True
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not isinstance(gradient, tf.IndexedSlices)


def descend(variable: Any, rate: Any, direction: Tensor) -> None:
    """Subtract rate * direction from a variable: on TensorFlow in one operation, without a product in memory.

    Example:
        >>> from zoo.training.optimizers.rates import descend
        >>> weight = keras.Variable([1.0, 2.0])
        >>> descend(weight, 0.5, keras.ops.ones(2))
        >>> weight.numpy()
        array([0.5, 1.5], dtype=float32)
    """
    rate = ops.cast(rate, variable.dtype)
    if keras.backend.backend() != "tensorflow":
        variable.assign(variable - rate * direction)
        return
    import tensorflow as tf

    resource = variable.value if isinstance(variable, keras.Variable) else variable
    tf.raw_ops.ResourceApplyGradientDescent(var=resource.handle, alpha=rate, delta=direction)


class ScaledRates(DirectUpdates, keras.optimizers.Optimizer):
    """An optimizer whose learning rate, and with it the decoupled decay, differs from variable to variable.

    Args:
        rate_factors: path of a variable -> what the learning rate is multiplied by for it; for the others it is not.

    The factors are configuration, not state: the optimizer has the variables that it has without them.

    Raises:
        TypeError: `update_by` of an optimizer for which the kernels have no operation.

    Example:
        >>> from zoo.training.optimizers.keras_fused import MomentumSGD
        >>> from zoo.training.optimizers.rates import ScaledRates
        >>> weights = [keras.Variable([1.0], name=name) for name in ("old", "new")]
        >>> optimizer = MomentumSGD(learning_rate=0.1, momentum=0.0, rate_factors={"new": 5.0})
        >>> optimizer.apply([np.ones(1, "float32")] * 2, weights)
        >>> isinstance(optimizer, ScaledRates), [round(float(each.numpy()[0]), 3) for each in weights]
        (True, [0.9, 0.5])
    """

    def __init__(self, *args: Any, rate_factors: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rate_factors = dict(rate_factors or {})
        self._excluded: tuple[list[Any], list[str]] = ([], [])
        self.condition: Tensor | None = None

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        self._excluded = (list(var_list or ()), list(var_names or ()))
        super().exclude_from_weight_decay(*self._excluded)

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        self._factors = [self.rate_factors.get(variable.path, 1.0) for variable in variables]
        self._decayed_here = [
            factor != 1 and decays(self, variable) for variable, factor in zip(variables, self._factors, strict=True)
        ]
        if any(self._decayed_here):  # by Keras they would be with the same rate as all
            here = [variable for variable, own in zip(variables, self._decayed_here, strict=True) if own]
            excluded, names = self._excluded
            super().exclude_from_weight_decay([*excluded, *here], names)
        super().build(variables)

    def update_all(self, gradients: list[Any], variables: list[Any], learning_rate: Any) -> bool:
        operations = kernels_for(gradients) if self.has_operation else None
        own = handles(variables) if operations else None
        if own is None:
            return False
        indices = [variable_index(self, variable) for variable in variables]
        self.update_by(
            operations,
            indices,
            apply=True if self.condition is None else self.condition,
            rate=ops.cast(learning_rate, "float32"),
            variables=own,
            gradients=gradients,
            rate_factors=[self._factors[index] for index in indices],
            decays=[self.decay_at(index, variable) for index, variable in zip(indices, variables, strict=True)],
        )
        return True

    @property
    def has_operation(self) -> bool:
        """Whether the kernels have an operation for this optimizer: `update_by` calls it then."""
        return False

    def update_by(self, operations: Any, indices: list[int], **inputs: Any) -> None:
        """Update the variables of these indices by the operation that the kernels have for this optimizer.

        Args:
            inputs: what all such operations take: `apply`, () bool; `rate`, (); `variables`, as handles; `gradients`;
                and for each variable its factor of the learning rate, and its weight decay.
        """
        raise TypeError(f"the kernels have no operation for {type(self).__name__}")

    def decay_at(self, index: int, variable: Any) -> float:
        """The weight decay of a variable."""
        return float(self.weight_decay) if self._decayed_here[index] or decays(self, variable) else 0.0

    def can_skip(self, gradients: Sequence[Any], variables: Sequence[Any]) -> bool:
        """Whether `apply` changes these variables and their state by one operation alone, which may be left out."""
        plain = self.has_operation and not self.use_ema and not self.gradient_accumulation_steps
        free = all(variable.constraint is None and not variable.overwrite_with_gradient for variable in variables)
        return plain and free and kernels_for(gradients) is not None and handles(variables) is not None

    @contextmanager
    def only_where(self, condition: Tensor) -> Iterator[None]:
        """Within this context `apply`, of what `can_skip` allows, changes no variable where `condition`, () bool, is
        false; but `iterations` counts on.
        """
        self.condition = condition
        try:
            yield
        finally:
            self.condition = None

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        index = variable_index(self, variable)
        if self._factors[index] != 1:
            learning_rate = ops.cast(learning_rate, variable.dtype) * self._factors[index]
        if self._decayed_here[index]:
            self.assign_sub(variable, variable * self.weight_decay * learning_rate)
        return self.apply_gradient(gradient, variable, learning_rate)

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        """The update by the gradient, at the rate that this variable has."""
        return super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate_factors": self.rate_factors}
