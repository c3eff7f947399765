"""MixNet: convolutions whose kernels differ from one share of the channels to the next, and its block."""

from collections.abc import Sequence

from keras import layers, ops

from blocks.composites import convolution, normalization, squeeze_excite, stochastic_depth
from blocks.layers.dotted_names import Scope
from blocks.ops.group_sizes import split_channels
from blocks.typing import Tensor


def mixed_convolution(
    inputs: Tensor,
    filters: int,
    kernel_sizes: int | Sequence[int],
    strides: int = 1,
    groups: int | None = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """A convolution for each of `kernel_sizes` over its share of the channels: (B, H, W, C) -> (B, H/s, W/s, filters).

    Channels and filters are shared out evenly, and what is left goes to the first kernel.

    Args:
        kernel_sizes: one for each share, (3, 5, 7) for instance; with one alone this is a plain convolution.
        groups: of each of the convolutions; None is depthwise, where `filters` is C.
        name: that of the layer; of several, the first is "name.0".

    Raises:
        ValueError: where `groups` does not divide a share, or there are more shares than channels.

    Source: Tan and Le 2019, MixConv: Mixed Depthwise Convolutional Kernels, section 3, arXiv:1907.09595.

    Example:
        >>> x = keras.Input((28, 28, 32))
        >>> model = keras.Model(x, blocks.mixed_convolution(x, 32, (3, 5, 7), groups=None, name="mix"))
        >>> [(layer.name, tuple(layer.kernel.shape)) for layer in model.layers if layer.weights]
        [('mix.0', (3, 3, 1, 12)), ('mix.1', (5, 5, 1, 10)), ('mix.2', (7, 7, 1, 10))]
    """
    kernel_sizes = (kernel_sizes,) if isinstance(kernel_sizes, int) else tuple(kernel_sizes)
    channels, count = inputs.shape[-1], len(kernel_sizes)
    if count == 1:
        return convolution(inputs, filters, kernel_sizes[0], strides, channels if groups is None else groups, name=name)
    scope = Scope(name)
    taken = split_channels(channels, count, "first")
    given = split_channels(filters, count, "first")
    ends = [sum(taken[: share + 1]) for share in range(count - 1)]
    parts = [
        convolution(part, share, kernel, strides, part.shape[-1] if groups is None else groups, name=scope(index))
        for index, (part, share, kernel) in enumerate(
            zip(ops.split(inputs, ends, axis=-1), given, kernel_sizes, strict=True)
        )
    ]
    return layers.Concatenate()(parts)


def mixnet_block(
    inputs: Tensor,
    filters: int,
    expanded: int,
    kernel_sizes: int | Sequence[int],
    strides: int = 1,
    groups: int | None = None,
    *,
    expand_parts: int = 1,
    project_parts: int = 1,
    act: str = "silu",
    squeeze: int = 0,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Inverted residual whose convolutions are mixed: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `expanded` channels, spatial convolutions of `kernel_sizes`, squeeze-and-excitation, linear 1x1
    to `filters`; the input is added where the shape allows.

    Args:
        kernel_sizes: of the spatial convolutions, each over its share of the expanded channels.
        groups: of each spatial convolution; None is depthwise.
        expand_parts, project_parts: shares of the channels that the first and the last 1x1 convolution keep apart.
        squeeze: channels of the squeeze-and-excitation; 0 is none.
        drop_path: share of the images whose branch is dropped in training, where the input is added.

    Raises:
        ValueError: where `groups` does not divide a share of `expanded`.

    Source: Tan and Le 2019, MixConv: Mixed Depthwise Convolutional Kernels, section 4, arXiv:1907.09595.

    Example:
        >>> blocks.mixnet_block(keras.Input((28, 28, 40)), 40, 240, (3, 5), squeeze=20).shape
        (None, 28, 28, 40)
    """
    scope = Scope(name)
    x = mixed_convolution(inputs, expanded, (1,) * expand_parts, name=scope("conv_pw"))
    x = normalization(x, act=act, name=scope("bn1"))
    x = mixed_convolution(x, expanded, kernel_sizes, strides, groups, name=scope("conv_dw"))
    x = normalization(x, act=act, name=scope("bn2"))
    if squeeze:
        x = squeeze_excite(x, squeeze, act=act, name=scope("se"))
    x = mixed_convolution(x, filters, (1,) * project_parts, name=scope("conv_pwl"))
    keeps_shape = strides == 1 and inputs.shape[-1] == filters
    if not (keeps_shape and drop_path):
        return normalization(x, residual=inputs if keeps_shape else None, name=scope("bn3"))
    x = stochastic_depth(normalization(x, name=scope("bn3")), drop_path)
    return layers.Add()([x, inputs])
