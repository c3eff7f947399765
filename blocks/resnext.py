"""The bottleneck of ResNet and ResNeXt."""

from blocks.compose import child, conv_norm


def resnext_block(inputs, filters: int, width: int, groups: int = 32, strides: int = 1, *, name: str | None = None):
    """Aggregated residual transformation: (B, H, W, C) -> (B, H/strides, W/strides, filters).

    1x1 convolution to `width` channels, 3x3 in `groups` groups, 1x1 to `filters`, added to the input; the input is
    projected where its shape changes. `groups` is the cardinality C and width / groups the d of the paper;
    with one group this is ResNet's bottleneck, its stride on the 3x3 convolution.

    Raises:
        ValueError: where `groups` does not divide `width`.

    Source: Xie et al. 2017, section 3.3 and figure 3c, arXiv:1611.05431.
    """
    shortcut = inputs
    if strides != 1 or inputs.shape[-1] != filters:
        shortcut = conv_norm(
            inputs, filters, 1, strides, name=child(name, "downsample.0"), norm_name=child(name, "downsample.1")
        )
    x = conv_norm(inputs, width, act="relu", name=child(name, "conv1"), norm_name=child(name, "bn1"))
    x = conv_norm(x, width, 3, strides, groups, "relu", name=child(name, "conv2"), norm_name=child(name, "bn2"))
    return conv_norm(
        x,
        filters,
        act="relu",
        residual=shortcut,
        gamma="zeros",
        name=child(name, "conv3"),
        norm_name=child(name, "bn3"),
    )
