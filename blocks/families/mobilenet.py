"""The blocks of MobileNet v1, v2 and v3, and of the networks searched or scaled from them (MnasNet, EfficientNet)."""

from blocks.composites import EPSILON, conv_norm, squeeze_excite
from blocks.layers.dotted_names import Scope
from blocks.typing import Tensor


def mobilenet_v1_block(
    inputs: Tensor,
    filters: int,
    strides: int = 1,
    groups: int | None = None,
    *,
    kernel_size: int = 3,
    act: str = "relu6",
    final_act: str | None = "relu6",
    squeeze: int = 0,
    squeeze_act: str = "relu",
    gate: str = "hard_sigmoid",
    skip: bool = True,
    drop_path: float = 0.0,
    epsilon: float = EPSILON,
    name: str | None = None,
) -> Tensor:
    """Depthwise separable convolution: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    Spatial convolution, normalisation, `act`; 1x1 convolution, normalisation, `final_act`.

    Args:
        groups: of the spatial convolution; None is depthwise.
        final_act: None makes the output linear, as in the first block of MobileNet v2 and v3.
        squeeze: > 0 puts a squeeze-and-excitation of that many channels between the halves (MobileNet v3);
            `squeeze_act` follows its first convolution and `gate` its second.
        skip: add the input to a linear output of its shape.
        drop_path: share of the images whose branch is dropped in training, where the input is added.

    Raises:
        ValueError: where `groups` does not divide C.

    Source: Howard et al. 2017, section 3.1 and figure 3, arXiv:1704.04861.

    Example:
        >>> blocks.mobilenet_v1_block(keras.Input((112, 112, 32)), 64, strides=2).shape
        (None, 56, 56, 64)
    """
    scope, channels = Scope(name), inputs.shape[-1]
    x = conv_norm(
        inputs,
        channels,
        kernel_size,
        strides,
        channels if groups is None else groups,
        act,
        epsilon=epsilon,
        **scope.names("conv_dw", "bn1"),
    )
    if squeeze:
        x = squeeze_excite(x, squeeze, gate, act=squeeze_act, name=scope("se"))
    keeps_shape = final_act is None and strides == 1 and channels == filters
    return conv_norm(
        x,
        filters,
        act=final_act,
        residual=inputs if skip and keeps_shape else None,
        drop_path=drop_path,
        epsilon=epsilon,
        **scope.names("conv_pw", "bn2"),
    )


def mobilenet_v2_block(
    inputs: Tensor,
    filters: int,
    expanded: int,
    strides: int = 1,
    groups: int | None = None,
    *,
    drop_path: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Inverted residual with a linear bottleneck: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `expanded` channels (t * C in the paper, t the expansion ratio), spatial 3x3, both followed
    by ReLU6; linear 1x1 to `filters`; the input is added where the shape allows.

    Args:
        groups: of the spatial convolution; None is depthwise.
        drop_path: share of the images whose branch is dropped in training, where the input is added.

    Raises:
        ValueError: where `groups` does not divide `expanded`.

    Source: Sandler et al. 2018, MobileNetV2, section 3 and table 1, arXiv:1801.04381.

    Example:
        >>> x = keras.Input((56, 56, 24))
        >>> y = blocks.mobilenet_v2_block(x, 24, expanded=6 * 24)  # the input is added
        >>> y.shape, keras.Model(x, y).count_params()
        ((None, 56, 56, 24), 9456)
    """
    return mobilenet_v3_block(
        inputs, filters, expanded, strides, groups, kernel_size=3, act="relu6", drop_path=drop_path, name=name
    )


def mobilenet_v3_block(
    inputs: Tensor,
    filters: int,
    expanded: int,
    strides: int = 1,
    groups: int | None = None,
    *,
    kernel_size: int = 3,
    act: str = "hard_silu",
    squeeze: int = 0,
    squeeze_act: str = "relu",
    gate: str = "hard_sigmoid",
    skip: bool = True,
    drop_path: float = 0.0,
    epsilon: float = EPSILON,
    name: str | None = None,
) -> Tensor:
    """Inverted residual with an optional squeeze-and-excitation: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    As `mobilenet_v2_block`, with a kernel of `kernel_size`, any activation, and a gate on the expanded channels.

    Args:
        groups: of the spatial convolution; None is depthwise.
        act: Keras's name; "hard_silu" is the paper's h-swish.
        squeeze: channels of the squeeze-and-excitation; 0 is none. `squeeze_act` follows its first convolution and
            `gate` its second: "relu" and "hard_sigmoid" in the paper, "silu" and "sigmoid" in EfficientNet.
        skip: add the input where the shape allows.
        drop_path: share of the images whose branch is dropped in training, where the input is added.

    Raises:
        ValueError: where `groups` does not divide `expanded`.

    Source: Howard et al. 2019, Searching for MobileNetV3, section 5 and figure 4, arXiv:1905.02244.

    Example:
        >>> x = keras.Input((28, 28, 40))
        >>> blocks.mobilenet_v3_block(x, 80, expanded=240, strides=2, kernel_size=5, squeeze=64).shape
        (None, 14, 14, 80)
    """
    scope = Scope(name)
    x = conv_norm(inputs, expanded, act=act, epsilon=epsilon, **scope.names("conv_pw", "bn1"))
    x = conv_norm(
        x,
        expanded,
        kernel_size,
        strides,
        expanded if groups is None else groups,
        act,
        epsilon=epsilon,
        **scope.names("conv_dw", "bn2"),
    )
    if squeeze:
        x = squeeze_excite(x, squeeze, gate, act=squeeze_act, name=scope("se"))
    keeps_shape = strides == 1 and inputs.shape[-1] == filters
    return conv_norm(
        x,
        filters,
        residual=inputs if skip and keeps_shape else None,
        drop_path=drop_path,
        epsilon=epsilon,
        **scope.names("conv_pwl", "bn3"),
    )
