"""Batch normalisation that uses the fused kernel where there is one."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="blocks")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` in one kernel, with the running variance that PyTorch keeps.

    Same arguments, weights and outputs; two differences. Under TensorFlow, 4-D inputs normalised over their last
    axis go through the fused kernel (float32, bfloat16, float16). And, on every path, the running variance is
    moved towards the unbiased estimate of the batch's variance (divided by n - 1), as PyTorch's is. With a mask,
    `renorm` or `synchronized`, Keras's own computation runs, biased variance included.

    Momentum is the share that is kept: 1 minus PyTorch's.

    Shapes: (B, ..., C) in and out, C along `axis`.
    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithms 1 and 2, arXiv:1502.03167.
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or self.renorm or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        training = bool(training) and self.trainable
        normalize = self._fused if self._has_kernel(inputs) else self._plain
        outputs, mean, variance = normalize(ops.cast(inputs, self.compute_dtype), training)
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return outputs

    def _has_kernel(self, inputs) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in ("float32", "bfloat16", "float16")
            and self.variable_dtype == "float32"
        )

    def _fused(self, inputs, training: bool):
        from blocks.tensorflow_ops import fused_normalize

        shape = (inputs.shape[-1],)
        return fused_normalize(
            inputs,
            ops.ones(shape) if self.gamma is None else ops.convert_to_tensor(self.gamma),
            ops.zeros(shape) if self.beta is None else ops.convert_to_tensor(self.beta),
            ops.convert_to_tensor(self.moving_mean),
            ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            rate=1.0 - self.momentum,
            training=training,
        )

    def _plain(self, inputs, training: bool):
        """The definition, for every backend, rank, axis and type."""
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        wide = ops.cast(inputs, dtype)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = ops.moments(wide, axes=self._reduction_axes)
        outputs = ops.batch_normalization(
            wide, mean, variance, self.axis, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        if training:
            count = ops.cast(ops.prod([ops.shape(inputs)[axis] for axis in self._reduction_axes]), dtype)
            unbiased = variance * count / ops.maximum(count - 1.0, 1.0)
            keep = self.momentum
            mean = self.moving_mean * keep + ops.cast(mean, self.moving_mean.dtype) * (1.0 - keep)
            variance = self.moving_variance * keep + ops.cast(unbiased, self.moving_variance.dtype) * (1.0 - keep)
        return ops.cast(outputs, self.compute_dtype), mean, variance
