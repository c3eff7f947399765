"""Keras's optimizers, with TensorFlow's fused kernels: one operation a variable.

Keras's own updates take four (SGD) to a dozen (Adam) operations, and the 25 million weights of a ResNeXt-50 are a
hundred megabytes each time. On another backend and for sparse gradients Keras's update runs.
"""

from typing import Any

import keras

from blocks.ops.keras_internals import adam_moments, variable_index
from zoo.typing import Tensor


def _has_kernel(gradient: Tensor) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not isinstance(gradient, tf.IndexedSlices)


@keras.saving.register_keras_serializable(package="zoo")
class MomentumSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD`, fused where it has momentum.

    Arguments and errors are those of Keras's optimizer.

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

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.momentum == 0 or not _has_kernel(gradient):
            return super().update_step(gradient, variable, learning_rate)
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
class FusedAdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, fused; the decay is Keras's own, an operation before it.

    Arguments and errors are those of Keras's optimizer.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2, arXiv:1711.05101.

    Example:
        >>> from zoo.training.optimizers import FusedAdamW
        >>> weight = keras.Variable([1.0])
        >>> FusedAdamW(learning_rate=0.1, weight_decay=0.5).apply([np.ones(1, "float32")], [weight])
        >>> np.round(weight.numpy(), 3)  # 1 - 0.1 * 0.5 * 1 - 0.1 * 1
        array([0.85], dtype=float32)
    """

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Any) -> Any:
        if self.amsgrad or not _has_kernel(gradient):
            return super().update_step(gradient, variable, learning_rate)
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
