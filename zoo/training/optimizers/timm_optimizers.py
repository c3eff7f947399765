"""The optimizers of timm's `create_optimizer_v2`, which Keras's of the same names are not.

Weight decay is part of the gradient (SGD, RMSprop) or of the update (LAMB) here, not decoupled, and `global_clipnorm`
comes before it. On TensorFlow each update is a fused kernel where there is one.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from blocks.ops.keras_internals import adam_moments, decayed_if_any, variable_index
from zoo.training.optimizers.keras_fused import FusedAdamW
from zoo.training.optimizers.multi_tensor import update_with_momentum
from zoo.training.optimizers.rates import ScaledRates, descend, has_kernel
from zoo.typing import Tensor


class CoupledDecay(ScaledRates):
    """An optimizer whose weight decay is not decoupled from the gradient: what `apply_gradient` does with it.

    Args:
        weight_decay: of the variables that are not excluded from it; None or 0 is none.

    Example:
        >>> from zoo.training.optimizers.timm_optimizers import TorchSGD
        >>> weight = keras.Variable([1.0])
        >>> optimizer = TorchSGD(learning_rate=0.5, momentum=0.9, weight_decay=0.2)
        >>> for _ in range(2):
        ...     optimizer.apply([np.zeros(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # the decay gathers momentum: 0.9 - 0.5 * (0.2 * 0.9 + 0.9 * 0.2)
        array([0.72], dtype=float32)
    """

    def __init__(self, *args: Any, weight_decay: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # without decay: Keras's is decoupled
        self.coupled_decay = weight_decay or 0.0

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        self._coupled = [self.coupled_decay > 0 and decayed_if_any(self, variable) for variable in variables]
        super().build(variables)

    def decay_at(self, index: int, variable: Any) -> float:
        return self.coupled_decay if self._coupled[index] else 0.0

    def with_decay(self, gradient: Tensor, variable: Any) -> Tensor:
        """The gradient, and that of weight_decay / 2 * the square of the variable."""
        decay = self.decay_at(variable_index(self, variable), variable)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
        return gradient + ops.convert_to_tensor(variable) * decay if decay else gradient

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_decay": self.coupled_decay}


@keras.saving.register_keras_serializable(package="zoo")
class TorchSGD(CoupledDecay):
    """`torch.optim.SGD`: the learning rate is not in the momentum, so that a change of it acts at once.

    timm's "sgd" (with Nesterov momentum) and "momentum" (without). Keras's has the rate in the momentum.

    Args:
        momentum: 0 for none.
        nesterov: the gradient at where the momentum leads.
        weight_decay: times the variable, it is added to the gradient.

    Source: Sutskever et al. 2013, On the Importance of Initialization and Momentum in Deep Learning, section 2;
    PyTorch's documentation of `torch.optim.SGD` for the place of the rate.

    Example:
        >>> from zoo.training.optimizers.timm_optimizers import TorchSGD
        >>> weight = keras.Variable([1.0])
        >>> optimizer = TorchSGD(learning_rate=0.5, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.5 * 1 - 0.5 * (0.9 * 1 + 1)
        array([-0.45], dtype=float32)
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, name: str = "sgd", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum, self.nesterov = momentum, nesterov

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    @property
    def has_operation(self) -> bool:
        return self.momentum != 0

    def update_by(self, operations: Any, indices: list[int], **inputs: Any) -> None:
        update_with_momentum(operations, self, indices, rate_in_momentum=False, coupled=True, **inputs)

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> None:
        gradient, rate = self.with_decay(gradient, variable), ops.cast(learning_rate, variable.dtype)
        if not self.momentum:
            descend(variable, rate, gradient)
            return
        accumulator = self.momentums[variable_index(self, variable)]
        if has_kernel(gradient):
            import tensorflow as tf

            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=accumulator.value.handle,
                lr=rate,
                grad=gradient,
                momentum=tf.cast(self.momentum, variable.dtype),
                use_nesterov=self.nesterov,
            )
            return
        self.assign(accumulator, self.momentum * accumulator + gradient)
        self.assign_sub(variable, rate * (gradient + self.momentum * accumulator if self.nesterov else accumulator))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


@keras.saving.register_keras_serializable(package="zoo")
class TorchAdamW(FusedAdamW):
    """`torch.optim.AdamW`, timm's "adamw": epsilon is added once the second moment is corrected, not before.

    Keras's AdamW is this with epsilon / sqrt(1 - beta_2 ** step), 30 times as large at the first steps.

    Raises:
        ValueError: with `amsgrad`.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2, arXiv:1711.05101.

    Example:
        >>> from zoo.training.optimizers.timm_optimizers import TorchAdamW
        >>> weight = keras.Variable([1.0])
        >>> TorchAdamW(learning_rate=0.1, epsilon=1.0, weight_decay=0.5).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.1 * 0.5 * 1 - 0.1 * 1 / (1 + 1)
        array([0.9], dtype=float32)
    """

    def __init__(self, learning_rate: Any = 0.001, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(learning_rate, epsilon=epsilon, **kwargs)
        if self.amsgrad:
            raise ValueError("amsgrad=True is not offered: use keras.optimizers.AdamW.")

    def epsilon_at(self, step: Tensor) -> Tensor:
        return self.epsilon * _root_of_correction(self.beta_2, step)

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> None:
        if has_kernel(gradient):
            super().apply_gradient(gradient, variable, learning_rate)
            return
        scale, direction = _adam_direction(self, gradient, variable.dtype, *adam_moments(self, variable))
        descend(variable, learning_rate * scale, direction)


@keras.saving.register_keras_serializable(package="zoo")
class Lamb(CoupledDecay):
    """timm's "lamb", as NVIDIA's FusedLAMB: Adam's update and the decay, scaled to the norm of the weights.

    Gradients are clipped to a global norm of 1 first, by default. The trust ratio, norm of the weights / norm of the
    update, is for variables with weight decay alone; where either is 0 it is 1.

    Args:
        beta_1, beta_2: of the first and the second moment.
        epsilon: added to the square root of the corrected second moment.
        weight_decay: times the variable, it is added to the update.
        global_clipnorm: largest global norm of the gradients; None clips nothing.

    Source: You et al. 2020, Large Batch Optimization for Deep Learning, algorithm 2, arXiv:1904.00962; timm's `Lamb`.

    Example:
        >>> from zoo.training.optimizers.timm_optimizers import Lamb
        >>> weight = keras.Variable([3.0, 4.0])
        >>> Lamb(learning_rate=0.1, weight_decay=1e-9).apply([np.array([1, 0], "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # a tenth of its own length, 5, along Adam's update
        array([2.5, 4. ], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        global_clipnorm: float | None = 1.0,
        name: str = "lamb",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, global_clipnorm=global_clipnorm, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        self.first_moments, self.second_moments = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> None:
        dtype, index = variable.dtype, variable_index(self, variable)
        first, second = self.first_moments[index], self.second_moments[index]
        scale, direction = _adam_direction(self, gradient, dtype, first, second)
        rate = ops.cast(learning_rate, dtype) * scale
        if decay := self.decay_at(index, variable):
            weights = ops.convert_to_tensor(variable)
            direction = direction + weights * (decay / scale)
            norms = _norm(weights), _norm(direction) * scale
            sound = ops.logical_and(norms[0] > 0, norms[1] > 0)
            rate = rate * ops.where(sound, norms[0] / ops.where(sound, norms[1], 1.0), 1.0)
        descend(variable, rate, direction)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="zoo")
class RMSpropTF(CoupledDecay):
    """RMSprop as TensorFlow 1 has it, timm's "rmsproptf": the mean of the squares begins at 1, epsilon is inside the
    root, and the learning rate in the momentum.

    Args:
        rho: of the mean of the squared gradients.
        momentum: 0 for none.
        epsilon: added to that mean.
        weight_decay: times the variable, it is added to the gradient.

    Source: Tieleman and Hinton 2012, Neural Networks for Machine Learning, lecture 6.5;
    `tf.compat.v1.train.RMSPropOptimizer`.

    Example:
        >>> from zoo.training.optimizers.timm_optimizers import RMSpropTF
        >>> weight = keras.Variable([1.0])
        >>> RMSpropTF(learning_rate=0.1, rho=0.75).apply([np.full(1, 5, "float32")], [weight])
        >>> np.round(weight.numpy(), 4)  # 1 - 0.1 * 5 / sqrt(0.75 * 1 + 0.25 * 25)
        array([0.811], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-10,
        name: str = "rmsprop",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        self.squares, self.momentums = self.add_optimizer_variables(
            variables, ["mean_square", "momentum"], ["ones", "zeros"]
        )

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> None:
        dtype, index = variable.dtype, variable_index(self, variable)
        gradient, rate = self.with_decay(gradient, variable), ops.cast(learning_rate, dtype)
        square, momentum = self.squares[index], self.momentums[index]
        if has_kernel(gradient):
            import tensorflow as tf

            tf.raw_ops.ResourceApplyRMSProp(
                var=variable.handle,
                ms=square.value.handle,
                mom=momentum.value.handle,
                lr=rate,
                rho=tf.cast(self.rho, dtype),
                momentum=tf.cast(self.momentum, dtype),
                epsilon=tf.cast(self.epsilon, dtype),
                grad=gradient,
            )
            return
        self.assign_add(square, (ops.square(gradient) - square) * (1 - self.rho))
        self.assign(momentum, self.momentum * momentum + rate * gradient / ops.sqrt(square + self.epsilon))
        self.assign_sub(variable, momentum)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}


def _adam_direction(
    optimizer: Any, gradient: Tensor, dtype: Any, first: keras.Variable, second: keras.Variable
) -> tuple[Any, Any]:
    """Adam's update as a number () times a tensor, once the moments have been moved on.

    first / correction_1 / (sqrt(second) / correction_2 + epsilon), with few operations on whole tensors.
    """
    gradient, step = ops.cast(ops.convert_to_tensor(gradient), dtype), ops.cast(optimizer.iterations, dtype) + 1
    descend(first, 1 - optimizer.beta_1, first - gradient)
    descend(second, 1 - optimizer.beta_2, second - ops.square(gradient))
    root = _root_of_correction(optimizer.beta_2, step)
    scale = root / (1 - ops.power(ops.cast(optimizer.beta_1, dtype), step))
    return scale, first / (ops.sqrt(second) + optimizer.epsilon * root)


def _root_of_correction(beta_2: float, step: Any) -> Any:
    return ops.sqrt(1 - ops.power(ops.cast(beta_2, step.dtype), step))


def _norm(values: Tensor) -> Any:
    if keras.backend.backend() != "tensorflow":
        return ops.sqrt(ops.sum(ops.square(values)))
    import tensorflow as tf

    return tf.sqrt(2 * tf.nn.l2_loss(values))  # the squares do not go through the memory
