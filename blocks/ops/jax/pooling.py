"""Max pooling under JAX, with a gradient that keeps one byte an output: the place of its maximum in the window.

XLA's own on a GPU stores the maxima and four indices of each in 32 bits, and scatters gradients into zeros that it
writes before.
"""

import itertools
from functools import partial

import jax
from jax import lax
from jax import numpy as jnp

MOST_PLACES = 127  # that an int8 numbers


def fits(window: tuple[int, ...], inputs: jax.Array) -> bool:
    return window[0] * window[1] <= MOST_PLACES and jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.size > 0


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(
    inputs: jax.Array, window: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> jax.Array:
    """Maxima of inputs (B, H, W, C), padded with -inf by ((top, bottom), (left, right)) pixels.

    The gradient goes to the first of equal maxima. Derivatives of any order in reverse mode.
    """
    window_of, strides_of = (1, *window, 1), (1, *strides, 1)
    return lax.reduce_window(inputs, -jnp.inf, lax.max, window_of, strides_of, ((0, 0), *padding, (0, 0)))


def _forward(
    inputs: jax.Array, window: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> tuple[jax.Array, tuple[jax.Array, tuple[int, ...]]]:
    batch, *sizes, channels = inputs.shape
    sides = [(low, high, 0) for low, high in ((0, 0), *padding, (0, 0))]
    padded = lax.pad(inputs, jnp.array(-jnp.inf, inputs.dtype), sides)
    counts = [
        (size - extent) // stride for size, extent, stride in zip(padded.shape[1:3], window, strides, strict=True)
    ]
    maxima = places = None
    for number, first in enumerate(itertools.product(*map(range, window))):
        last = [start + count * stride + 1 for start, count, stride in zip(first, counts, strides, strict=True)]
        pixels = lax.slice(padded, (0, *first, 0), (batch, *last, channels), (1, *strides, 1))
        if maxima is None:
            maxima, places = pixels, jnp.zeros(pixels.shape, "int8")
            continue
        larger = (pixels > maxima) | jnp.isnan(pixels)
        maxima, places = jnp.where(larger, pixels, maxima), jnp.where(larger, jnp.int8(number), places)
    return maxima, (places, jnp.zeros((0, *sizes)))


def _backward(
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    saved: tuple[jax.Array, jax.Array],
    gradient: jax.Array,
) -> tuple[jax.Array]:
    """Pixels of one remainder by the strides are the same places of windows: an image of its own, computed without
    scattering; these are interleaved."""
    places, (_, *sizes) = saved[0], saved[1].shape
    batch, *counts, channels = gradient.shape
    reach = [(extent - 1) // stride for extent, stride in zip(window, strides, strict=True)]
    shape = [count + more for count, more in zip(counts, reach, strict=True)]
    wide = gradient.astype(jnp.promote_types(gradient.dtype, "float32"))
    images = []
    for remainder in itertools.product(*map(range, strides)):
        total = jnp.zeros((batch, *shape, channels), wide.dtype)
        for row, column in itertools.product(*map(range, remainder, window, strides)):
            share = jnp.where(places == row * window[1] + column, wide, 0)
            before = row // strides[0], column // strides[1]
            sides = [(low, most - low, 0) for low, most in zip(before, reach, strict=True)]
            total += lax.pad(share, jnp.zeros((), wide.dtype), [(0, 0, 0), *sides, (0, 0, 0)])
        images.append(total.astype(gradient.dtype))
    mixed = jnp.stack(images, 3).reshape((batch, *shape, *strides, channels)).transpose((0, 1, 3, 2, 4, 5))
    mixed = mixed.reshape((batch, shape[0] * strides[0], shape[1] * strides[1], channels))
    sides = [(-low, size + low - own, 0) for (low, _), size, own in zip(padding, sizes, mixed.shape[1:3], strict=True)]
    return (lax.pad(mixed, jnp.zeros((), mixed.dtype), [(0, 0, 0), *sides, (0, 0, 0)]),)


max_pool.defvjp(_forward, _backward)
