"""Keras's optimizers, with TensorFlow's fused kernels: one operation a variable.

Keras's own updates take four (SGD) to a dozen (Adam) operations, and the 25 million weights of a ResNeXt-50 are a
hundred megabytes each time. On another backend and for sparse gradients Keras's update runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from blocks.ops.keras_internals import adam_moments, decays, variable_index
from zoo.typing import Tensor


def _has_kernel(gradient: Tensor) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not isinstance(gradient, tf.IndexedSlices)


class ScaledRates(keras.optimizers.Optimizer):
    """An optimizer whose learning rate, and with it the decoupled decay, differs from variable to variable.

    Args:
        rate_factors: path of a variable -> what the learning rate is multiplied by for it; for the others it is not.

    The factors are configuration, not state: the optimizer has the variables that it has without them.

    Example:
        >>> from zoo.training.optimizers import MomentumSGD, ScaledRates
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


@keras.saving.register_keras_serializable(package="zoo")
class MomentumSGD(ScaledRates, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, fused where it has momentum.

    Arguments and errors are those of Keras's optimizer; `rate_factors` gives variables learning rates of their own.

    Source: Sutskever et al. 2013, On the Importance of Initialization and Momentum in Deep Learning, section 2.

    Example:
        >>> from zoo.training.optimizers import MomentumSGD
        >>> weight = keras.Variable([1.0])
        >>> optimizer = MomentumSGD(learning_rate=0.5, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.5 - (0.5 + 0.9 * 0.5)
        array([-0.45], dtype=float32)
    """

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.momentum == 0 or not _has_kernel(gradient):
            return super().apply_gradient(gradient, variable, learning_rate)
        import tensorflow as tf

        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[variable_index(self, variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable(package="zoo")
class FusedAdamW(ScaledRates, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, fused; the decay is Keras's own, an operation before it.

    Arguments and errors are those of Keras's optimizer; `rate_factors` gives variables learning rates of their own.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2, arXiv:1711.05101.

    Example:
        >>> from zoo.training.optimizers import FusedAdamW
        >>> weight = keras.Variable([1.0])
        >>> FusedAdamW(learning_rate=0.1, weight_decay=0.5).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.1 * 0.5 * 1 - 0.1 * 1
        array([0.85], dtype=float32)
    """

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.amsgrad or not _has_kernel(gradient):
            return super().apply_gradient(gradient, variable, learning_rate)
        import tensorflow as tf

        (momentum, velocity), dtype = adam_moments(self, variable), variable.dtype
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        step = tf.cast(self.iterations.value + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )
