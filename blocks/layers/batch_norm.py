"""Batch normalisation that uses the fused kernel where there is one."""

from typing import Any

import keras
from keras import ops

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import check_residual
from blocks.ops.batch_norm import batch_normalization
from blocks.ops.keras_internals import DottedName, in_replica
from blocks.typing import Activation, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class BatchNormalization(DottedName, RealInputs, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with its activation, in one kernel, and PyTorch's or Keras's running variance.

    Same arguments, weights and outputs as Keras's layer, and:
    - `activation` is applied last, and a `residual` is added before it: activation(normalised + residual). One
      kernel does all of it, in training too.
    - Under TensorFlow, 4-D inputs normalised over their last axis go through fused kernels (float32, bfloat16,
      float16).
    - The running variance is moved towards the unbiased estimate of the batch's variance (divided by n - 1), as
      PyTorch's is, or towards the variance itself, as Keras's; an empty batch leaves the statistics as they are. With
      a mask, `renorm` or `synchronized`, Keras's own computation runs, biased variance included.

    Args:
        activation: Keras's name ("relu", "relu6", "hard_silu", ...) or a callable; None is none.
        unbiased_variance: True for PyTorch's running variance, False for Keras's, n / (n - 1) times smaller, n the
            number of positions of a batch. What is normalised in training is the same.

    Momentum is the decay of the running statistics: 1 - PyTorch's momentum. With `layer.statistics_frozen = True`,
    which is not saved, training computes with the running statistics too and leaves them as they are, as a layer does
    that is not trainable, while gamma and beta are trained. With `layer.statistics_of_all_replicas = True`, not saved
    either, a training under a strategy of `tf.distribute` computes with mean and variance of the whole batch, to which
    each replica has a share of any size, as Keras's `synchronized`, and with the activation and the running variance of
    above.

    Call arguments: `inputs` (B, ..., C), C along `axis`; `residual`, of the same shape, or None.
    Returns: (B, ..., C).

    Raises:
        ValueError: for an activation that Keras does not know, or a residual of another shape than the inputs.

    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithms 1 and 2, arXiv:1502.03167.

    Example:
        >>> layer = blocks.BatchNormalization(momentum=0.9, activation="relu")
        >>> images = np.array([-1.0, 1.0, 3.0]).reshape(3, 1, 1, 1)
        >>> np.round(np.ravel(layer(images, training=True)), 2)
        array([0.  , 0.  , 1.22], dtype=float32)
        >>> np.round(np.asarray(layer.moving_variance), 2)  # 0.9 * 1 + 0.1 * 4, the unbiased variance
        array([1.3], dtype=float32)
        >>> layer = blocks.BatchNormalization(momentum=0.9, unbiased_variance=False)
        >>> y = layer(images, training=True)
        >>> np.round(np.asarray(layer.moving_variance), 2)  # 0.9 * 1 + 0.1 * 8 / 3, as keras.layers.BatchNormalization
        array([1.17], dtype=float32)
    """

    moving_mean: keras.Variable
    moving_variance: keras.Variable

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        *args: Any,
        activation: Activation = None,
        unbiased_variance: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(axis, momentum, epsilon, *args, **kwargs)
        self.activation = keras.activations.get(activation)
        self.unbiased_variance = bool(unbiased_variance)
        self.statistics_frozen = False
        self.statistics_of_all_replicas = False

    def call(  # type: ignore[override]  # the residual is an argument more
        self, inputs: Tensor, residual: Tensor | None = None, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if residual is not None:
            check_residual(inputs.shape, residual.shape)
        training = bool(training) and self.trainable and not self.statistics_frozen
        if mask is not None or self.renorm or self.synchronized:
            outputs = super().call(inputs, training=training, mask=mask)
            return self.activation(outputs if residual is None else ops.add(outputs, residual))
        outputs, mean, variance = batch_normalization(
            ops.cast(inputs, self.compute_dtype),
            self.gamma,
            self.beta,
            self.moving_mean,
            self.moving_variance,
            axis=self.axis,
            momentum=self.momentum,
            epsilon=self.epsilon,
            training=training,
            activation=self.activation,
            residual=None if residual is None else ops.cast(residual, self.compute_dtype),
            unbiased=self.unbiased_variance,
            together=self.statistics_of_all_replicas and in_replica(),
        )
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return outputs

    def compute_output_spec(
        self, inputs: Tensor, residual: Tensor | None = None, training: bool | None = None, mask: Tensor | None = None
    ) -> keras.KerasTensor:
        if residual is not None:
            check_residual(inputs.shape, residual.shape)
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "unbiased_variance": self.unbiased_variance,
        }
