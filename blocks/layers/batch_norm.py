"""Batch normalisation that uses the fused kernel where there is one."""

import keras
from keras import ops

from blocks.layers.dotted_names import DottedName
from blocks.layers.real_inputs import RealInputs


@keras.saving.register_keras_serializable(package="blocks")
class BatchNormalization(DottedName, RealInputs, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with its activation, in one kernel, with the running variance of PyTorch.

    Same arguments, weights and outputs as Keras's layer, and:
    - `activation` is applied last, and a `residual` is added before it: activation(normalised + residual). One
      kernel does all of it, in training too.
    - Under TensorFlow, 4-D inputs normalised over their last axis go through fused kernels (float32, bfloat16,
      float16).
    - On every path the running variance is moved towards the unbiased estimate of the batch's variance (divided
      by n - 1), as PyTorch's is; an empty batch leaves the statistics as they are. With a mask, `renorm` or
      `synchronized`, Keras's own computation runs, biased variance included.

    Args:
        activation: Keras's name ("relu", "relu6", "hard_silu", ...) or a callable; None is none.

    Momentum is the share that is kept: 1 minus PyTorch's.

    Call arguments: `inputs` (B, ..., C), C along `axis`; `residual`, of the same shape, or None.
    Returns: (B, ..., C).
    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithms 1 and 2, arXiv:1502.03167.
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, *args, activation=None, **kwargs):
        super().__init__(axis, momentum, epsilon, *args, **kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, inputs, residual=None, training=None, mask=None):
        if mask is not None or self.renorm or self.synchronized:
            return self._finish(super().call(inputs, training=training, mask=mask), residual)
        training = bool(training) and self.trainable
        inputs = ops.cast(inputs, self.compute_dtype)
        residual = None if residual is None else ops.cast(residual, self.compute_dtype)
        normalize = self._fused if self._has_kernel(inputs) else self._plain
        outputs, mean, variance = normalize(inputs, residual, training)
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return outputs

    def compute_output_spec(self, inputs, residual=None, training=None, mask=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}

    def _finish(self, outputs, residual):
        return self.activation(outputs if residual is None else ops.add(outputs, residual))

    def _has_kernel(self, inputs) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in ("float32", "bfloat16", "float16")
            and self.variable_dtype == "float32"
        )

    def _fused(self, inputs, residual, training: bool):
        from blocks.ops.tensorflow.fused import fused_normalize

        shape = (inputs.shape[-1],)
        name = named_activation(self.activation)
        outputs, mean, variance = fused_normalize(
            inputs,
            ops.ones(shape) if self.gamma is None else ops.convert_to_tensor(self.gamma),
            ops.zeros(shape) if self.beta is None else ops.convert_to_tensor(self.beta),
            ops.convert_to_tensor(self.moving_mean),
            ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            rate=1.0 - self.momentum,
            training=training,
            activation=name,
            residual=residual,
        )
        return outputs if name is not None else self.activation(outputs), mean, variance

    def _plain(self, inputs, residual, training: bool):
        """The definition, for every backend, rank, axis and type."""
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        wide = ops.cast(inputs, dtype)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            count = ops.cast(ops.prod([ops.shape(inputs)[axis] for axis in self._reduction_axes]), dtype)
            # Written out: `tf.nn.moments` stops a gradient that second derivatives need.
            own_mean = ops.mean(wide, axis=self._reduction_axes, keepdims=True)
            own_variance = ops.mean(ops.square(wide - own_mean), axis=self._reduction_axes)
            moments = ops.reshape(own_mean, own_variance.shape), own_variance
            # An empty batch has none; the running statistics stay then.
            mean, variance = (
                ops.where(count > 0, own, ops.cast(kept, dtype))
                for own, kept in zip(moments, (mean, variance), strict=True)
            )
        outputs = ops.batch_normalization(
            wide, mean, variance, self.axis, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        if training:
            unbiased = variance * count / ops.maximum(count - 1.0, 1.0)
            keep = ops.cast(ops.where(count > 0, self.momentum, 1.0), self.moving_mean.dtype)
            mean = self.moving_mean * keep + ops.cast(mean, self.moving_mean.dtype) * (1.0 - keep)
            variance = self.moving_variance * keep + ops.cast(unbiased, self.moving_variance.dtype) * (1.0 - keep)
        return self._finish(ops.cast(outputs, self.compute_dtype), residual), mean, variance


def named_activation(function) -> str | None:
    """Keras's name of one of its own elementwise activations, "linear" included; None for any other function."""
    name = getattr(function, "__name__", "")
    return name if name in ELEMENTWISE and function is keras.activations.get(name) else None


ELEMENTWISE = ("linear", "relu", "relu6", "hard_silu", "silu", "hard_sigmoid", "sigmoid", "tanh", "gelu", "elu")
