"""Keras's optimizers, with TensorFlow's fused kernels: one operation a variable.

Keras's own updates take four (SGD) to a dozen (Adam) operations, and the 25 million weights of a ResNeXt-50 are a
hundred megabytes each time. On another backend and for sparse gradients Keras's update runs.
"""

import keras

from blocks.ops.keras_internals import adam_moments, variable_index


def _has_kernel(gradient) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not isinstance(gradient, tf.IndexedSlices)


@keras.saving.register_keras_serializable(package="zoo")
class MomentumSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD`, fused where it has momentum."""

    def update_step(self, gradient, variable, learning_rate):
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
    """`keras.optimizers.AdamW`, fused; the decay is Keras's own, an operation before it."""

    def update_step(self, gradient, variable, learning_rate):
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
