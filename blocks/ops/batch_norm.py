"""Batch normalisation with residual sum and activation, on every backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from blocks.ops.activations import named_activation
from blocks.typing import Tensor

FUSED_DTYPES = ("float32", "bfloat16", "float16")


def batch_normalization(
    inputs: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    *,
    axis: int,
    momentum: float,
    epsilon: float,
    training: bool | None,
    activation: Callable[[Any], Any],
    residual: Tensor | None = None,
    unbiased: bool = True,
    together: bool = False,
) -> tuple[Any, Any, Any]:
    """activation(batch normalisation of `inputs` + residual), and the running statistics that follow.

    Args:
        inputs: (B, ..., C), C along `axis`; `residual`, of the same shape and type, or None.
        gamma, beta: scale and offset, (C,), or None.
        mean, variance: running statistics, (C,); used where not `training`.
        momentum: decay of the running statistics; 1 - PyTorch's momentum.
        activation: a function of Keras or any other.
        unbiased: move `variance` towards the unbiased estimate (divided by n - 1, as PyTorch), not the batch's own.
        together: in training the batch is that of all replicas of `tf.distribute`, not the share of this one.

    Returns:
        The outputs, (B, ..., C) of the inputs' type, and when training `mean` and `variance` moved towards those of
        the batch; an empty batch moves nothing. Else both are to be ignored.

    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithms 1 and 2, arXiv:1502.03167.

    Example:
        >>> from blocks.ops.batch_norm import batch_normalization
        >>> x, zero, one = np.array([[-2.0], [4.0]], "float32"), np.zeros(1, "float32"), np.ones(1, "float32")
        >>> settings = {"axis": -1, "momentum": 0.9, "epsilon": 0.0, "activation": keras.activations.relu}
        >>> y, mean, variance = batch_normalization(x, None, None, zero, one, training=True, **settings)
        >>> np.ravel(y), np.round(mean, 1), np.round(variance, 1)
        (array([0., 1.], dtype=float32), array([0.1], dtype=float32), array([2.7], dtype=float32))
    """
    if training and together:
        return _plain(
            inputs, gamma, beta, mean, variance, axis, momentum, epsilon, True, activation, residual, unbiased, True
        )
    normalize = _fused if _has_kernel(inputs, mean, axis) else _by_jax if _is_for_jax(inputs) else _plain
    return normalize(
        inputs, gamma, beta, mean, variance, axis, momentum, epsilon, training, activation, residual, unbiased
    )


def _has_kernel(inputs: Tensor, mean: Tensor, axis: int) -> bool:
    return (
        keras.backend.backend() == "tensorflow"
        and len(inputs.shape) == 4
        and axis in (-1, 3)
        and keras.backend.standardize_dtype(inputs.dtype) in FUSED_DTYPES
        and keras.backend.standardize_dtype(mean.dtype) == "float32"
    )


def _fused(
    inputs: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    momentum: float,
    epsilon: float,
    training: bool | None,
    activation: Callable[[Any], Any],
    residual: Tensor | None,
    unbiased: bool,
) -> tuple[Any, Any, Any]:
    from blocks.ops.tensorflow.batch_norm import fused_normalize

    channels = inputs.shape[-1]
    name = named_activation(activation)
    outputs, moved_mean, moved_variance = fused_normalize(
        inputs,
        *_scale_and_offset(gamma, beta, channels),
        ops.convert_to_tensor(mean),
        ops.convert_to_tensor(variance),
        epsilon=epsilon,
        rate=1.0 - momentum,
        training=training,
        activation=name,
        residual=residual,
    )
    if training and not unbiased:
        # The kernels move by the unbiased variance, n / (n - 1) times the batch's. Undone in positive terms, so that
        # neither is cancelled, whichever of the two variances is larger by how much; with n < 2 they are the same.
        count = _positions(inputs, (0, 1, 2), "float32")
        share = ops.where(count > 1.0, 1.0 / ops.maximum(count, 1.0), 0.0)
        moved_variance = moved_variance * (1.0 - share) + ops.convert_to_tensor(variance) * (momentum * share)
    return outputs if name is not None else activation(outputs), moved_mean, moved_variance


def _scale_and_offset(gamma: Tensor | None, beta: Tensor | None, channels: int) -> tuple[Any, Any]:
    """Both as vectors (channels,), for operations that take no None."""
    return (
        ops.ones((channels,)) if gamma is None else ops.convert_to_tensor(gamma),
        ops.zeros((channels,)) if beta is None else ops.convert_to_tensor(beta),
    )


def _is_for_jax(inputs: Tensor) -> bool:
    return (
        keras.backend.backend() == "jax"
        and keras.backend.standardize_dtype(inputs.dtype) in FUSED_DTYPES
        and 0 not in inputs.shape
    )


def _by_jax(
    inputs: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    momentum: float,
    epsilon: float,
    training: bool | None,
    activation: Callable[[Any], Any],
    residual: Tensor | None,
    unbiased: bool,
) -> tuple[Any, Any, Any]:
    from blocks.ops.jax.batch_norm import Settings, normalize

    axis %= len(inputs.shape)
    channels = inputs.shape[axis]
    name = named_activation(activation)
    outputs, own_mean, own_variance = normalize(
        ops.convert_to_tensor(inputs),
        *_scale_and_offset(gamma, beta, channels),
        ops.convert_to_tensor(mean),
        ops.convert_to_tensor(variance),
        None if residual is None else ops.convert_to_tensor(residual),
        Settings(axis, epsilon, name or "linear", bool(training)),
    )
    outputs = outputs if name is not None else activation(outputs)
    if not training:
        return outputs, mean, variance
    axes = [index for index in range(len(inputs.shape)) if index != axis]
    count = _positions(inputs, axes, "float32")
    return outputs, *_moved(mean, variance, own_mean, own_variance, count, momentum, unbiased)


def _plain(
    inputs: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    momentum: float,
    epsilon: float,
    training: bool | None,
    activation: Callable[[Any], Any],
    residual: Tensor | None,
    unbiased: bool,
    together: bool = False,
) -> tuple[Any, Any, Any]:
    """The definition, for every backend, rank, axis and type; `together`, by the moments of all replicas."""
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    wide = ops.cast(inputs, dtype)
    running_mean, running_variance = mean, variance
    mean, variance = ops.cast(mean, dtype), ops.cast(variance, dtype)
    gamma, beta = (None if each is None else ops.cast(each, dtype) for each in (gamma, beta))
    if training:
        axes = [index for index in range(len(inputs.shape)) if index != axis % len(inputs.shape)]
        count: Any
        if together:
            from blocks.ops.tensorflow.replicas import moments_of_all

            *moments, count = moments_of_all(wide, mean, axes)
        else:
            count = _positions(inputs, axes, dtype)
            # Written out: `tf.nn.moments` stops a gradient that second derivatives need.
            own_mean = ops.mean(wide, axis=axes, keepdims=True)
            own_variance = ops.mean(ops.square(wide - own_mean), axis=axes)
            moments = [ops.reshape(own_mean, own_variance.shape), own_variance]
        # An empty batch has none; the running statistics stay then.
        mean, variance = (
            ops.where(count > 0, batch_moment, running)
            for batch_moment, running in zip(moments, (mean, variance), strict=True)
        )
    outputs = ops.batch_normalization(wide, mean, variance, axis, offset=beta, scale=gamma, epsilon=epsilon)
    if training:
        moved = _moved(running_mean, running_variance, mean, variance, count, momentum, unbiased)
    else:
        moved = running_mean, running_variance
    outputs = ops.cast(outputs, inputs.dtype)
    return activation(outputs if residual is None else ops.add(outputs, residual)), *moved


def _moved(
    running_mean: Tensor,
    running_variance: Tensor,
    mean: Any,
    variance: Any,
    count: Any,
    momentum: float,
    unbiased: bool,
) -> tuple[Any, Any]:
    """The running statistics moved towards a batch's, its variance the biased one of `count` positions."""
    estimate = variance * count / ops.maximum(count - 1.0, 1.0) if unbiased else variance
    # In the statistics' own type: from a plain number 0.9 would be that of float32.
    keep = ops.where(count > 0, *(ops.convert_to_tensor(each, running_mean.dtype) for each in (momentum, 1.0)))
    return (
        running_mean * keep + ops.cast(mean, running_mean.dtype) * (1.0 - keep),
        running_variance * keep + ops.cast(estimate, running_variance.dtype) * (1.0 - keep),
    )


def _positions(inputs: Tensor, axes: Sequence[int], dtype: str) -> Any:
    """How many positions the statistics of a channel are taken over."""
    return ops.cast(ops.prod([ops.shape(inputs)[index] for index in axes]), dtype)
