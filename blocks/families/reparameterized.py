"""The blocks of RepVGG and MobileOne: parallel linear branches for training that become one convolution afterwards."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from blocks.composites import activation, conv_norm, convolution, normalization, squeeze_excite, stochastic_depth
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor

SQUEEZE_NAMES = ("fc1", "fc2")


def repvgg_block(
    inputs: Tensor,
    filters: int,
    strides: int = 1,
    groups: int = 1,
    *,
    squeeze: int = 0,
    drop_path: float = 0.0,
    reparameterized: bool = False,
    name: str | None = None,
) -> Tensor:
    """Sum of a 3x3 and a 1x1 convolution and the input, and ReLU: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Each summand is normalised; the input is one of them where its shape allows.

    Args:
        groups: of both convolutions.
        squeeze: > 0 puts a squeeze-and-excitation of that many channels before the ReLU.
        drop_path: the share of images that lose the convolutions in training, where the input is added.
        reparameterized: one 3x3 convolution with bias in place of the branches, as `zoo.fuse` makes it of them.

    Raises:
        ValueError: where `groups` does not divide C and `filters`.

    Source: Ding et al. 2021, RepVGG, sections 3.2 and 3.3 and figure 4, arXiv:2101.03697.

    Example:
        >>> x = keras.Input((28, 28, 48))
        >>> branches = keras.Model(x, blocks.repvgg_block(x, 48))
        >>> merged = keras.Model(x, blocks.repvgg_block(x, 48, reparameterized=True))
        >>> branches.count_params() - merged.count_params()  # 48 * (48 + 3 * 4 - 1)
        2832
    """
    branches = [("conv_1x1", 1), ("conv_kxk", 3)]
    return _block(inputs, filters, strides, groups, branches, squeeze, drop_path, reparameterized, Scope(name))


def mobileone_block(
    inputs: Tensor,
    filters: int,
    kernel_size: int = 3,
    strides: int = 1,
    groups: int = 1,
    *,
    branches: int = 1,
    squeeze: int = 0,
    drop_path: float = 0.0,
    reparameterized: bool = False,
    name: str | None = None,
) -> Tensor:
    """Sum of parallel convolutions, a 1x1 and the input, and ReLU: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Each summand is normalised; the input is one of them where its shape allows, the 1x1 convolution where
    `kernel_size` is larger. MobileOne alternates a depthwise block of kernel size 3 and a dense one of 1.

    Args:
        groups: of every convolution, C for a depthwise block.
        branches: convolutions of `kernel_size`; k in the paper.
        squeeze, drop_path, reparameterized: as in `repvgg_block`.

    Raises:
        ValueError: where `groups` does not divide C and `filters`.

    Source: Vasu et al. 2023, MobileOne, section 3.2 and figure 3, arXiv:2206.04040.

    Example:
        >>> x = keras.Input((28, 28, 64))
        >>> x = blocks.mobileone_block(x, 64, 3, strides=2, groups=64)  # depthwise
        >>> blocks.mobileone_block(x, 128, 1, branches=4).shape
        (None, 14, 14, 128)
    """
    summands = [("conv_scale", 1)] if kernel_size > 1 else []
    summands += [(f"conv_kxk.{index}", kernel_size) for index in range(branches)]
    return _block(inputs, filters, strides, groups, summands, squeeze, drop_path, reparameterized, Scope(name))


def _block(
    inputs: Tensor,
    filters: int,
    strides: int,
    groups: int,
    branches: Sequence[tuple[str, int]],
    squeeze: int,
    drop_path: float,
    reparameterized: bool,
    scope: Scope,
) -> Tensor:
    """`branches` are names and kernel sizes of the convolutions that are summed, the largest last."""
    act = None if squeeze else "relu"
    if reparameterized:
        kernel_size = branches[-1][1]
        x = convolution(inputs, filters, kernel_size, strides, groups, use_bias=True, name=scope("reparam_conv"))
        x = activation(x, act)
    else:
        x = _sum(inputs, filters, strides, groups, branches, act, drop_path, scope)
    if squeeze:
        x = activation(squeeze_excite(x, squeeze, layer_names=SQUEEZE_NAMES, name=scope("attn")), "relu")
    return x


def _sum(
    inputs: Tensor,
    filters: int,
    strides: int,
    groups: int,
    branches: Sequence[tuple[str, int]],
    act: str | None,
    drop_path: float,
    scope: Scope,
) -> Tensor:
    """act(sum of the branches); each sum is part of the normalisation that comes last in it."""
    identity = None
    if strides == 1 and inputs.shape[-1] == filters:
        identity = normalization(inputs, name=scope("identity"))
    apart = identity is not None and drop_path > 0  # the input is added to what is left of the convolutions
    total: Any = None if apart else identity
    for suffix, kernel_size in branches:
        last = suffix == branches[-1][0]
        total = conv_norm(
            inputs,
            filters,
            kernel_size,
            strides,
            groups,
            act if last and not apart else None,
            residual=total,
            **(scope / suffix).names("conv", "bn"),
        )
    return activation(layers.Add()([stochastic_depth(total, drop_path), identity]), act) if apart else total
