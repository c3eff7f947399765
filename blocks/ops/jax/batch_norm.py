"""Batch normalisation under JAX, with a gradient of its own: it keeps the inputs, and computes the rest of them again.

What JAX derives by itself stores more between the forward and the backward pass, and reads the images more often: the
time of a normalisation on a GPU is that of reading and writing images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import keras
from jax import lax
from jax import numpy as jnp

# Activations that clip: their derivative is 1 strictly between these bounds of what comes out, and 0 elsewhere.
CLIPPED = {"relu": (0.0, jnp.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True)
class Settings:
    """What is fixed when a normalisation is traced.

    axis: of the channels, from 0 up.
    activation: Keras's name of an elementwise activation.
    training: normalise by the moments of the batch, else by those that are given.
    """

    axis: int
    epsilon: float
    activation: str
    training: bool


def normalize(
    inputs: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    residual: jax.Array | None,
    settings: Settings,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """activation(normalised `inputs` + residual), rounded once, and mean and (biased) variance it is normalised by.

    Inputs (B, ..., C) with C along `settings.axis`, in float32, bfloat16 or float16 and not empty; the residual is of
    their shape and type; all others are (C,), and computed with in float32. Derivatives of first and higher order in
    reverse mode; JAX's forward mode (`jax.jvp`) has no rule for it, and says so.
    """
    vectors = (each.astype("float32") for each in (scale, offset, mean, variance))
    return _normalize(settings, inputs, *vectors, residual)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalize(
    settings: Settings,
    inputs: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    residual: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _forward(settings, inputs, scale, offset, mean, variance, residual)[0]


def _forward(
    settings: Settings,
    inputs: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    residual: jax.Array | None,
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[Any, ...]]:
    """The outputs, and what the gradient needs of all."""
    if settings.training:
        mean, variance = _moments(inputs, settings.axis)
    inverse = lax.rsqrt(variance + settings.epsilon)
    linear = _linear(settings, inputs, scale, offset, mean, inverse, residual)
    outputs = _activation(settings)(linear).astype(inputs.dtype)
    if residual is not None:
        # Without it XLA, which knows what was rounded, stores a sum that several layers use in float32 too.
        outputs = lax.optimization_barrier(outputs)
    # The outputs say as well where they were clipped, and the next layer keeps them in any case.
    with_residual = None if residual is None else outputs if settings.activation in CLIPPED else residual
    return (outputs, mean, variance), (inputs, scale, offset, mean, inverse, with_residual)


def _backward(settings: Settings, saved: tuple[Any, ...], gradients: tuple[jax.Array, ...]) -> tuple[Any, ...]:
    """The gradients of all inputs, in two passes over the images: the sums of a channel, and what is made of them."""
    inputs, scale, offset, mean, inverse, with_residual = saved
    of_outputs, of_mean, of_variance = gradients
    channels = partial(_along, axis=settings.axis, rank=inputs.ndim)
    axes = _others(settings.axis, inputs.ndim)
    centred = inputs.astype("float32") - channels(mean)
    if settings.activation in CLIPPED:
        low, high = CLIPPED[settings.activation]
        values = with_residual
        if values is None:
            values = _linear(settings, inputs, scale, offset, mean, inverse, None)
        gradient = jnp.where((values > low) & (values < high), of_outputs, 0).astype("float32")
    else:
        linear = _linear(settings, inputs, scale, offset, mean, inverse, with_residual)
        (gradient,) = jax.vjp(_activation(settings), linear)[1](of_outputs.astype("float32"))
    total = jnp.sum(gradient, axes)
    product = jnp.sum(gradient * centred, axes)
    of_mean = of_mean - scale * inverse * total
    of_variance = of_variance - scale * inverse**3 * product / 2
    of_inputs = gradient * channels(scale * inverse)
    if settings.training:  # the moments are those of the inputs, not arguments
        count = inputs.size // inputs.shape[settings.axis]
        of_inputs += channels(of_mean / count) + centred * channels(2 * of_variance / count)
        of_mean, of_variance = jnp.zeros_like(of_mean), jnp.zeros_like(of_variance)
    of_residual = None if with_residual is None else gradient.astype(inputs.dtype)
    return of_inputs.astype(inputs.dtype), product * inverse, total, of_mean, of_variance, of_residual


_normalize.defvjp(_forward, _backward)


def _linear(
    settings: Settings,
    inputs: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    inverse: jax.Array,
    residual: jax.Array | None,
) -> jax.Array:
    """What the activation is applied to, in float32."""
    channels = partial(_along, axis=settings.axis, rank=inputs.ndim)
    normalized = (inputs.astype("float32") - channels(mean)) * channels(scale * inverse) + channels(offset)
    return normalized if residual is None else normalized + residual.astype("float32")


def _moments(inputs: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance of each channel, in float32.

    By their definition, in two passes over the images; of bfloat16 in one, by the mean of squares: what this cancels
    where the mean is large beside the deviation is less than what bfloat16 has rounded.
    """
    axes = _others(axis, inputs.ndim)
    wide = inputs.astype("float32")
    mean = jnp.mean(wide, axes)
    if inputs.dtype == jnp.bfloat16:
        return mean, jnp.maximum(jnp.mean(jnp.square(wide), axes) - jnp.square(mean), 0)
    return mean, jnp.mean(jnp.square(wide - _along(mean, axis, inputs.ndim)), axes)


def _activation(settings: Settings) -> Callable[[jax.Array], jax.Array]:
    return keras.activations.get(settings.activation)


def _along(vector: jax.Array, axis: int, rank: int) -> jax.Array:
    """(C,) in the shape that is repeated over images with channels along `axis`."""
    return lax.broadcast_in_dim(vector, [vector.size if index == axis else 1 for index in range(rank)], (axis,))


def _others(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(index for index in range(rank) if index != axis)
