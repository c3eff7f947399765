"""Grouped convolution under JAX, whose operation takes any padding: no padded images are written or differentiated."""

import jax
from jax import lax

from blocks.ops.geometry import Padding


def convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    data_format: str,
) -> jax.Array:
    """Inputs (B, ..., C), or (B, C, ...) with "channels_first", and kernel (..., C / groups, filters) of one type.

    `padding` is "same", "valid" or (before, after) for each axis.
    """
    axes = "DHW"[-len(strides) :]
    images = f"N{axes}C" if data_format == "channels_last" else f"NC{axes}"
    channels = inputs.shape[images.index("C")]
    return lax.conv_general_dilated(
        inputs,
        kernel,
        strides,
        padding.upper() if isinstance(padding, str) else padding,
        rhs_dilation=dilation,
        dimension_numbers=(images, f"{axes}IO", images),
        feature_group_count=channels // kernel.shape[-2],
    )
