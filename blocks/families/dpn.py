"""The block of DPN."""

from blocks.composites import convolution, normalization
from blocks.layers.dotted_names import Scope
from blocks.layers.dual_path import DualPathMerge
from blocks.typing import Tensor

EPSILON = 1e-3


def dual_path_block(
    inputs: Tensor,
    width: int,
    residual: int,
    growth: int,
    groups: int = 32,
    strides: int = 1,
    *,
    project: bool = False,
    separate: bool = False,
    name: str | None = None,
) -> Tensor:
    """Dual path block: (B, H, W, C) -> (B, H/strides, W/strides, residual + dense + growth).

    The first `residual` channels of the input are a residual path, to which the block adds; the others are a dense
    path, to which it appends `growth` channels. Both are computed by 1x1, 3x3 in `groups` groups, 1x1, each behind
    its normalisation and ReLU.

    Args:
        width: channels of the 3x3 convolution.
        project: begin a stage: both paths start as a projection of the input, the dense one with 2 * growth channels.
        separate: compute the two paths' outputs by two convolutions in place of one, as DPN's "b" variants name them.

    Raises:
        ValueError: where `groups` does not divide `width`, or stride 2 comes without projection.

    Source: Chen et al. 2017, Dual Path Networks, section 4.1 and figure 2d, arXiv:1707.01629.

    Example:
        >>> x = blocks.dual_path_block(keras.Input((56, 56, 10)), 128, residual=64, growth=16, project=True)
        >>> x.shape  # 64 of the residual path, 3 * 16 of the dense one
        (None, 56, 56, 112)
        >>> blocks.dual_path_block(x, 128, residual=64, growth=16).shape
        (None, 56, 56, 128)
    """
    if strides != 1 and not project:
        raise ValueError(f"A dual path block of strides={strides} needs project=True: its paths change their size.")
    scope, paths = Scope(name), inputs
    if project:
        paths = preactivated(inputs, residual + 2 * growth, 1, strides, name=scope(f"c1x1_w_s{strides}"))
    x = preactivated(inputs, width, name=scope("c1x1_a"))
    x = preactivated(x, width, 3, strides, groups, name=scope("c3x3_b"))
    if separate:
        x = normalization(x, act="relu", epsilon=EPSILON, name=scope("c1x1_c.bn"))
        update = [convolution(x, residual, name=scope("c1x1_c1")), convolution(x, growth, name=scope("c1x1_c2"))]
    else:
        update = [preactivated(x, residual + growth, name=scope("c1x1_c"))]
    return DualPathMerge(residual, name=name)(paths, update)


def preactivated(
    inputs: Tensor, filters: int, kernel_size: int = 1, strides: int = 1, groups: int = 1, *, name: str | None = None
) -> Tensor:
    """Normalisation, ReLU, convolution: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Raises:
        ValueError: where `groups` does not divide C and `filters`.

    Example:
        >>> from blocks.families.dpn import preactivated
        >>> preactivated(keras.Input((28, 28, 64)), 128, 3, strides=2, groups=32).shape
        (None, 14, 14, 128)
    """
    scope = Scope(name)
    x = normalization(inputs, act="relu", epsilon=EPSILON, name=scope("bn"))
    return convolution(x, filters, kernel_size, strides, groups, name=scope("conv"))
