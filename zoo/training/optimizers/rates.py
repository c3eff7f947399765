"""What all optimizers here have: a learning rate that differs from variable to variable, and with it the decay."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from blocks.ops.keras_internals import ReplicaUpdates, decays, variable_index
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


class ScaledRates(ReplicaUpdates, keras.optimizers.Optimizer):
    """An optimizer whose learning rate, and with it the decoupled decay, differs from variable to variable.

    Args:
        rate_factors: path of a variable -> what the learning rate is multiplied by for it; for the others it is not.

    The factors are configuration, not state: the optimizer has the variables that it has without them.

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
