"""The bottleneck of ResNet, ResNeXt and SE-ResNeXt."""

from keras import layers

from blocks.composites import activation, conv_norm, squeeze_excite, stochastic_depth
from blocks.families.resnet import resnet_shortcut
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor

LAYER_NAMES = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))  # convolution and normalisation; timm, torchvision


def resnext_block(
    inputs: Tensor,
    filters: int,
    width: int,
    groups: int = 32,
    strides: int = 1,
    *,
    squeeze: int = 0,
    pooled_shortcut: bool = False,
    drop_path: float = 0.0,
    layer_names: tuple[tuple[str, str], ...] = LAYER_NAMES,
    shortcut_names: tuple[str, str] | None = None,
    name: str | None = None,
) -> Tensor:
    """Aggregated residual transformation: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `width` channels, 3x3 in `groups` groups, 1x1 to `filters`, added to the input; the input is
    projected where its shape changes. `groups` is the cardinality C and width / groups the d of the paper;
    with one group this is ResNet's bottleneck, its stride on the 3x3 convolution.

    Args:
        squeeze: > 0 puts a squeeze-and-excitation of that many channels before the sum (Hu et al. 2018, figure 3).
        pooled_shortcut: average before the input is projected, see `resnet_shortcut`.
        drop_path: share of the images whose branch is dropped in training.
        layer_names, shortcut_names: of the convolutions and their normalisations, below `name`.

    Raises:
        ValueError: where `groups` does not divide `width`.

    Source: Xie et al. 2017, section 3.3 and figure 3c, arXiv:1611.05431.

    Example:
        >>> x = keras.Input((56, 56, 64))
        >>> blocks.resnext_block(x, filters=256, width=128, groups=32, strides=2).shape  # 32x4d
        (None, 28, 28, 256)
    """
    scope, (first, second, third) = Scope(name), layer_names
    shortcut = resnet_shortcut(inputs, filters, strides, pooled_shortcut, layer_names=shortcut_names, name=name)
    x = conv_norm(inputs, width, act="relu", **scope.names(*first))
    x = conv_norm(x, width, 3, strides, groups, "relu", **scope.names(*second))
    if not squeeze:
        return conv_norm(
            x, filters, act="relu", residual=shortcut, drop_path=drop_path, gamma="zeros", **scope.names(*third)
        )
    x = conv_norm(x, filters, gamma="zeros", **scope.names(*third))
    x = squeeze_excite(x, squeeze, layer_names=("fc1", "fc2"), name=scope("se"))
    return activation(layers.Add()([stochastic_depth(x, drop_path), shortcut]), "relu")
