"""The blocks of MobileNet v4: the universal and the fused inverted bottleneck."""

from typing import Unpack

from blocks.composites import conv_norm
from blocks.layers.dotted_names import ConvNormNames, Scope
from blocks.layers.pooling import PaddedPooling2D
from blocks.typing import Tensor


def universal_inverted_bottleneck(
    inputs: Tensor,
    filters: int,
    expanded: int,
    strides: int = 1,
    groups: int | None = None,
    *,
    start_kernel: int = 0,
    middle_kernel: int = 3,
    act: str = "relu",
    antialias: bool = False,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Inverted residual with up to two spatial convolutions: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Spatial convolution of `start_kernel` without activation, 1x1 to `expanded` channels, spatial of `middle_kernel`,
    linear 1x1 to `filters`; the input is added where the shape allows. A kernel of 0 leaves that convolution out:
    without the first this is MobileNet v2's block, without the second ConvNeXt's, without both a feed-forward
    network; with both the paper calls it ExtraDW. The last of the two has the strides.

    Args:
        groups: of the spatial convolutions; None is depthwise.
        antialias: where strides is 2, convolve at stride 1 and average 2x2 positions after it.
        drop_path: share of the images whose branch is dropped in training, where the input is added.

    Raises:
        ValueError: strides without a spatial convolution, or `groups` that does not divide C or `expanded`.

    Source: Qin et al. 2024, MobileNetV4: Universal Models for the Mobile Ecosystem, arXiv:2404.10518.

    Example:
        >>> x = keras.Input((24, 24, 48))
        >>> extra_dw = blocks.universal_inverted_bottleneck(x, 96, 192, strides=2, start_kernel=5, middle_kernel=5)
        >>> extra_dw.shape
        (None, 12, 12, 96)
        >>> blocks.universal_inverted_bottleneck(x, 96, 192, strides=2, middle_kernel=0)
        Traceback (most recent call last):
            ...
        ValueError: strides=2 needs a spatial convolution: use start_kernel=3 or middle_kernel=3.
    """
    if strides != 1 and not (start_kernel or middle_kernel):
        raise ValueError(f"strides={strides} needs a spatial convolution: use start_kernel=3 or middle_kernel=3.")
    scope, x, channels = Scope(name), inputs, inputs.shape[-1]
    if start_kernel:
        x = _strided(
            x,
            channels,
            start_kernel,
            1 if middle_kernel else strides,
            channels if groups is None else groups,
            None,
            antialias,
            **scope.names("dw_start.conv", "dw_start.bn"),
        )
    x = conv_norm(x, expanded, act=act, **scope.names("pw_exp.conv", "pw_exp.bn"))
    if middle_kernel:
        x = _strided(
            x,
            expanded,
            middle_kernel,
            strides,
            expanded if groups is None else groups,
            act,
            antialias,
            **scope.names("dw_mid.conv", "dw_mid.bn"),
        )
    return conv_norm(
        x,
        filters,
        residual=inputs if strides == 1 and channels == filters else None,
        drop_path=drop_path,
        **scope.names("pw_proj.conv", "pw_proj.bn"),
    )


def fused_inverted_bottleneck(
    inputs: Tensor,
    filters: int,
    expanded: int,
    strides: int = 1,
    *,
    kernel_size: int = 3,
    act: str = "relu",
    antialias: bool = False,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Inverted residual that expands with its spatial convolution: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Dense convolution of `kernel_size` to `expanded` channels, `act`, linear 1x1 to `filters`; the input is added where
    the shape allows. `antialias` and `drop_path` are those of `universal_inverted_bottleneck`.

    Raises:
        ValueError: for `filters`, `expanded` or `strides` below 1.

    Source: Xiong et al. 2021, MobileDets, section 3, arXiv:2004.14525.

    Example:
        >>> blocks.fused_inverted_bottleneck(keras.Input((48, 48, 32)), 48, expanded=128, strides=2).shape
        (None, 24, 24, 48)
    """
    scope = Scope(name)
    x = _strided(inputs, expanded, kernel_size, strides, 1, act, antialias, **scope.names("conv_exp", "bn1"))
    return conv_norm(
        x,
        filters,
        residual=inputs if strides == 1 and inputs.shape[-1] == filters else None,
        drop_path=drop_path,
        **scope.names("conv_pwl", "bn2"),
    )


def _strided(
    x: Tensor,
    filters: int,
    kernel_size: int,
    strides: int,
    groups: int,
    act: str | None,
    antialias: bool,
    **names: Unpack[ConvNormNames],
) -> Tensor:
    """conv_norm, or conv_norm at stride 1 and a 2x2 average that has the strides."""
    averaged = antialias and strides != 1
    x = conv_norm(x, filters, kernel_size, 1 if averaged else strides, groups, act, **names)
    return PaddedPooling2D("average", strides, strides, 0, "channels_last")(x) if averaged else x
