"""Keras's optimizers: SGD and AdamW fused, LAMB and RMSprop.

Keras's own updates take four (SGD) to a dozen (Adam) operations a variable, and the 25 million weights of a ResNeXt-50
are a hundred megabytes each time. Where our kernels are available, one operation updates all variables
(`multi_tensor`); else TensorFlow's fused operations take one each. On another backend and for sparse gradients Keras's
update runs.
"""

from typing import Any

import keras

from blocks.ops.keras_internals import adam_moments, all_adam_moments, variable_index
from zoo.training.optimizers.multi_tensor import handles, update_with_momentum
from zoo.training.optimizers.rates import ScaledRates, has_kernel
from zoo.typing import Tensor


@keras.saving.register_keras_serializable(package="zoo")
class MomentumSGD(ScaledRates, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, fused where it has momentum.

    Arguments and errors are those of Keras's optimizer; `rate_factors` gives variables learning rates of their own.

    Source: Sutskever et al. 2013, On the Importance of Initialization and Momentum in Deep Learning, section 2.

    Example:
        >>> from zoo.training.optimizers.keras_fused import MomentumSGD
        >>> weight = keras.Variable([1.0])
        >>> optimizer = MomentumSGD(learning_rate=0.5, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.5 - (0.5 + 0.9 * 0.5)
        array([-0.45], dtype=float32)
    """

    @property
    def has_operation(self) -> bool:
        return self.momentum != 0

    def update_by(self, operations: Any, indices: list[int], **inputs: Any) -> None:
        update_with_momentum(operations, self, indices, rate_in_momentum=True, coupled=False, **inputs)

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.momentum == 0 or not has_kernel(gradient):
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
    """`keras.optimizers.AdamW`, fused, with its decay.

    Arguments and errors are those of Keras's optimizer; `rate_factors` gives variables learning rates of their own.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2, arXiv:1711.05101.

    Example:
        >>> from zoo.training.optimizers.keras_fused import FusedAdamW
        >>> weight = keras.Variable([1.0])
        >>> FusedAdamW(learning_rate=0.1, weight_decay=0.5).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.1 * 0.5 * 1 - 0.1 * 1
        array([0.85], dtype=float32)
    """

    def epsilon_at(self, step: Tensor) -> Tensor | float:
        """What is added to the square root of the second moment, before that is corrected, at a step from 1."""
        return self.epsilon

    @property
    def has_operation(self) -> bool:
        return not self.amsgrad

    def update_by(self, operations: Any, indices: list[int], **inputs: Any) -> None:
        moments = all_adam_moments(self)
        step = keras.ops.cast(self.iterations, "float32") + 1
        operations.blocks_adam_update(
            beta_1_power=keras.ops.power(self.beta_1, step),
            beta_2_power=keras.ops.power(self.beta_2, step),
            epsilon=self.epsilon_at(step),
            first=handles([moments[0][index] for index in indices]),
            second=handles([moments[1][index] for index in indices]),
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            **inputs,
        )

    def apply_gradient(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.amsgrad or not has_kernel(gradient):
            return super().apply_gradient(gradient, variable, learning_rate)
        import tensorflow as tf

        (momentum, velocity), dtype = adam_moments(self, variable), variable.dtype
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        step = keras.ops.cast(self.iterations, dtype) + 1
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon_at(step), dtype),
            grad=tf.cast(gradient, dtype),
        )


@keras.saving.register_keras_serializable(package="zoo")
class KerasLamb(ScaledRates, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb`: trust ratios for all variables, decay outside of them. Compare `timm_optimizers.Lamb`.

    Source: You et al. 2020, Large Batch Optimization for Deep Learning, algorithm 2, arXiv:1904.00962.

    Example:
        >>> from zoo.training.optimizers.keras_fused import KerasLamb
        >>> weight = keras.Variable([1.0])
        >>> KerasLamb(learning_rate=0.1).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)
        array([0.9], dtype=float32)
    """


@keras.saving.register_keras_serializable(package="zoo")
class KerasRMSprop(ScaledRates, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`: the mean of the squares begins at 0, the decay is decoupled. Compare
    `timm_optimizers.RMSpropTF`.

    Source: Tieleman and Hinton 2012, Neural Networks for Machine Learning, lecture 6.5.

    Example:
        >>> from zoo.training.optimizers.keras_fused import KerasRMSprop
        >>> weight = keras.Variable([1.0])
        >>> KerasRMSprop(learning_rate=0.1, rho=0.75).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.1 * 1 / sqrt(0.25)
        array([0.8], dtype=float32)
    """
