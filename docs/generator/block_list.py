"""The public blocks in the order of their page: what is drawn and counted of each, and its equation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

import blocks


@dataclass(frozen=True)
class Block:
    """A block or layer.

    equation: plain text; `NOTATION` explains it. call: (inputs, groups) to outputs. shape: of the inputs.
    groups: for which costs are counted, the drawn one first; (None,) where there is no such argument.
    counted: False for a layer that zoo.profile does not know.
    """

    name: str
    equation: str
    call: Callable[[Any, Any], Any]
    shape: tuple[int, ...] = (28, 28, 64)
    groups: tuple[Any, ...] = (None,)
    counted: bool = True


NOTATION = """`x` is the input, `y` the output. `conv3/g(x)` is a 3x3 convolution in g groups, `conv1` a plain 1x1,
`dw3` a depthwise 3x3; `N` behind one is its batch normalisation (`convN3/g`). `[a, b]` concatenates channels,
`mean(x)` is the mean over the image, `shuffle_g` [`ChannelShuffle`](#channelshuffle), `*` a product of
channels."""

SPATIAL = (None, 16, 4, 1)  # depthwise, and groups of the spatial convolution


def _on_pairs(x: Any) -> tuple[Any, Any]:
    mean, image = blocks.ImageMean()(x)
    return image, mean


LAYERS = (
    Block(
        "GroupedConv2D",
        "y[o] = b[o] + sum over taps and c of k[tap, c, o] * x[(o // (F/g)) * C/g + c]",
        lambda x, g: blocks.GroupedConv2D(64, 3, padding="same", groups=g, use_bias=False)(x),
        groups=(4, 1, 2, 16, 64, (17, 17, 17, 13)),
    ),
    Block(
        "GroupedConv1D",
        "y[t, o] = b[o] + sum over i, c of k[i, c, o] * x[t + i, group(o), c]",
        lambda x, g: blocks.GroupedConv1D(64, 3, padding="same", groups=g, use_bias=False)(x),
        (128, 64),
        (4, 1, 16, 64),
    ),
    Block(
        "GroupedConv3D",
        "y[d, h, w, o] = b[o] + sum over i, j, l, c of k[i, j, l, c, o] * x[d + i, h + j, w + l, group(o), c]",
        lambda x, g: blocks.GroupedConv3D(64, 3, padding="same", groups=g, use_bias=False)(x),
        (8, 14, 14, 64),
        (4, 1, 16, 64),
    ),
    Block(
        "Conv2D",
        "keras.layers.Conv2D, computed by these kernels; Conv1D and Conv3D likewise",
        lambda x, g: blocks.Conv2D(64, 3, padding="same", groups=g, use_bias=False)(x),
        groups=(1, 4, 16, 64),
    ),
    Block("Conv1D", "as Conv2D, over one axis", lambda x, g: blocks.Conv1D(64, 3, padding="same")(x), (128, 64)),
    Block(
        "Conv3D", "as Conv2D, over three axes", lambda x, g: blocks.Conv3D(64, 3, padding="same")(x), (8, 14, 14, 64)
    ),
    Block(
        "DepthwiseConv2D",
        "y[c * m + n] = b[c * m + n] + sum over taps of k[tap, c, n] * x[c]        n = 0 ... m - 1",
        lambda x, g: blocks.DepthwiseConv2D(3, padding="same", use_bias=False)(x),
    ),
    Block(
        "DepthwiseConv1D",
        "as DepthwiseConv2D, over one axis",
        lambda x, g: blocks.DepthwiseConv1D(3, padding="same", use_bias=False)(x),
        (128, 64),
    ),
    Block(
        "SeparableConv2D",
        "y = b + conv1(dw3(x))",
        lambda x, g: blocks.SeparableConv2D(128, 3, padding="same")(x),
    ),
    Block(
        "SeparableConv1D",
        "as SeparableConv2D, over one axis",
        lambda x, g: blocks.SeparableConv1D(128, 3, padding="same")(x),
        (128, 64),
        counted=False,
    ),
    Block(
        "DepthwiseSeparableConv2D",
        "y = act(convN1(act(dwN3(x))))        with normalize=True",
        lambda x, g: blocks.DepthwiseSeparableConv2D(128, 3, padding=1, groups=g, normalize=True, activation="relu6")(
            x
        ),
        groups=SPATIAL,
    ),
    Block(
        "ChannelShuffle",
        "y[i * g + j] = x[j * n + i]        n = C / g",
        lambda x, g: blocks.ChannelShuffle(g)(x),
        groups=(4,),
    ),
    Block(
        "ChannelSelection",
        "y[i] = x[index[i]]",
        lambda x, g: blocks.ChannelSelection(channels=32, groups=g)(x),
        groups=(4,),
    ),
    Block(
        "BatchNormalization",
        "y = act(gamma * (x - mean) / sqrt(variance + epsilon) + beta + residual)",
        lambda x, g: blocks.BatchNormalization(activation="relu")(x),
    ),
    Block(
        "LayerNormalization",
        "y = gamma * (x - mean over channels) / sqrt(variance over channels + epsilon) + beta",
        lambda x, g: blocks.LayerNormalization()(x),
    ),
    Block("LayerScale", "y = gamma * x", lambda x, g: blocks.LayerScale(1e-6)(x)),
    Block(
        "LocalResponseNormalization",
        "y[c] = x[c] / (k + alpha / size * sum over neighbours of x^2)^beta",
        lambda x, g: blocks.LocalResponseNormalization()(x),
    ),
    Block(
        "PaddedPooling2D",
        "y[h, w] = max, or mean, of x[s*h - p ... s*h - p + k - 1, the same of w]",
        lambda x, g: blocks.PaddedPooling2D("max", 3, strides=2, padding=1)(x),
    ),
    Block(
        "AdaptiveAveragePooling2D",
        "y[i] = mean of x[floor(i H / height) ... ceil((i + 1) H / height) - 1]",
        lambda x, g: blocks.AdaptiveAveragePooling2D(7)(x),
    ),
    Block(
        "ResizeLike",
        "y[i, j] = x[floor(i h / H), floor(j w / W)]",
        lambda x, g: blocks.ResizeLike()(blocks.PaddedPooling2D("average", 2)(x), x),
    ),
    Block("ImageMean", "y = mean(x), x", lambda x, g: blocks.ImageMean()(x)),
    Block("ChannelGate", "y = x * gate", lambda x, g: blocks.ChannelGate()(*_on_pairs(x))),
    Block(
        "SoftmaxSum",
        "y = sum over r of softmax_r(logits) * x_r",
        lambda x, g: blocks.SoftmaxSum(2)(*_on_pairs(x)),
    ),
    Block(
        "DualPathMerge",
        "y = [p[:R] + u[:R], p[R:], u[R:]]        p and u: paths and update",
        lambda x, g: blocks.DualPathMerge(48)(x, x),
    ),
    Block("Dense", "y = act(x W + b)", lambda x, g: blocks.Dense(10)(x), (64,)),
    Block("Activation", "y = act(x)", lambda x, g: blocks.Activation("gelu")(x)),
    Block(
        "AbsorbedLayer",
        "y = x        the layer of this name is computed by a neighbour",
        lambda x, g: blocks.AbsorbedLayer(keras.saving.serialize_keras_object(keras.layers.ReLU(name="relu")))(x),
    ),
)

COMPOSITES = (
    Block(
        "convolution",
        "y = conv3/g(x)",
        lambda x, g: blocks.convolution(x, 128, 3, groups=g),
        groups=(4, 1, 16),
    ),
    Block("normalization", "y = act(N(x) + residual)", lambda x, g: blocks.normalization(x, act="relu")),
    Block(
        "conv_norm",
        "y = act(convN3/g(x) + residual)",
        lambda x, g: blocks.conv_norm(x, 64, 3, groups=g, act="relu", residual=x),
        groups=(4, 1, 16),
    ),
    Block("squeeze_excite", "y = x * sigmoid(conv1(relu(conv1(mean(x)))))", lambda x, g: blocks.squeeze_excite(x, 16)),
    Block("global_average", "y = mean(x)", lambda x, g: blocks.global_average(x)),
)

FAMILIES = (
    Block(
        "resnext_block",
        "y = relu(convN1(relu(convN3/g(relu(convN1(x))))) + shortcut(x))",
        lambda x, g: blocks.resnext_block(x, 128, 64, g, strides=2),
        groups=(32, 1, 4, 16, 64),
    ),
    Block(
        "resnet_shortcut",
        "y = x where the shape stays, else convN1(x); pooled=True averages 2x2 before",
        lambda x, g: blocks.resnet_shortcut(x, 128, 2, pooled=True),
    ),
    Block(
        "resnet_stem",
        'y = maxpool3(relu(convN7(x)))        version="b"',
        lambda x, g: blocks.resnet_stem(x),
        (224, 224, 3),
    ),
    Block(
        "residual_stages",
        "maps = (stage 1, stage 2, ...)        each of `depths[i]` blocks, the first with stride 2 but in stage 1",
        lambda x, g: blocks.residual_stages(
            x, (1, 2), lambda x, stage, strides, drop_path, name: blocks.resnext_block(x, 64 << stage, 32, g, strides)
        ),
        groups=(8, 1, 32),
    ),
    Block(
        "regnet_block",
        "y = relu(convN1(se(relu(convN3/g(relu(convN1(x)))))) + shortcut(x))",
        lambda x, g: blocks.regnet_block(x, 64, g, squeeze=16),
        groups=(8, 1, 4, 64),
    ),
    Block(
        "selective_kernel",
        "u = relu(convN3/g(x)), v = relu(convN3/g, dilated(x)); (a, b) = softmax(conv1(relu(convN1(mean(u + v))))); "
        "y = a * u + b * v",
        lambda x, g: blocks.selective_kernel(x, 64, 32, g),
        groups=(16, 1, 64),
    ),
    Block(
        "sk_block",
        "y = relu(convN1(selective_kernel(relu(convN1(x)))) + shortcut(x))",
        lambda x, g: blocks.sk_block(x, 64, 64, 16, g),
        groups=(32, 1, 8),
    ),
    Block(
        "res2net_block",
        "x1 ... xs = relu(convN1(x)); yi = relu(convN3/g(xi + y(i-1))), ys = xs; y = relu(convN1([y1 ... ys]) + x)",
        lambda x, g: blocks.res2net_block(x, 64, 32, 4, g),
        groups=(1, 2, 8),
    ),
    Block(
        "split_attention",
        "u1 ... uR = relu(convN3/(R g)(x)); a = softmax over R of conv1/g(relu(convN1/g(mean(sum of u)))); "
        "y = sum of a_r * u_r",
        lambda x, g: blocks.split_attention(x, 64, 32, 2, g),
        groups=(1, 2, 8),
    ),
    Block(
        "resnest_block",
        "y = relu(convN1(split_attention(relu(convN1(x)))) + shortcut(x))",
        lambda x, g: blocks.resnest_block(x, 64, 32, 16, 2, g),
        groups=(1, 2, 8),
    ),
    Block(
        "dual_path_block",
        "z = conv1(pre(conv3/g(pre(conv1(pre(x)))))); y = [x_residual + z_residual, x_dense, z_dense]        "
        "pre: normalisation, relu",
        lambda x, g: blocks.dual_path_block(x, 64, residual=48, growth=8, groups=g),
        groups=(32, 1, 8),
    ),
    Block(
        "condensenet_unit",
        "y = [x, conv3/g(relu(N(shuffle_g(conv1/g(relu(N(selected channels of x)))))))]",
        lambda x, g: blocks.condensenet_unit(x, 16, g),
        groups=(4, 1, 8),
    ),
    Block(
        "igcv3_unit",
        "y = convN1/g(relu6(dwN3(shuffle_g(convN1/g(x))))) + x",
        lambda x, g: blocks.igcv3_unit(x, 64, 128, g),
        groups=(2, 1, 8),
    ),
    Block(
        "shufflenet_v1_unit",
        "y = relu(convN1/g(dwN3(shuffle_g(relu(convN1/g(x))))) + x)",
        lambda x, g: blocks.shufflenet_v1_unit(x, 64, g),
        groups=(4, 1, 2, 8),
    ),
    Block(
        "shufflenet_v2_unit",
        "a, b = halves of x; y = shuffle_2([a, relu(convN1(dwN3(relu(convN1(b)))))])",
        lambda x, g: blocks.shufflenet_v2_unit(x, 64, groups=g),
        groups=(None, 8, 1),
    ),
    Block(
        "mobilenet_v1_block",
        "y = relu6(convN1(relu6(dwN3(x))))",
        lambda x, g: blocks.mobilenet_v1_block(x, 128, groups=g),
        groups=SPATIAL,
    ),
    Block(
        "mobilenet_v2_block",
        "y = convN1(relu6(dwN3(relu6(convN1(x))))) + x",
        lambda x, g: blocks.mobilenet_v2_block(x, 64, 128, groups=g),
        groups=SPATIAL,
    ),
    Block(
        "mobilenet_v3_block",
        "y = convN1(se(hswish(dwN3(hswish(convN1(x)))))) + x",
        lambda x, g: blocks.mobilenet_v3_block(x, 64, 128, groups=g, squeeze=32),
        groups=SPATIAL,
    ),
    Block(
        "universal_inverted_bottleneck",
        "y = convN1(relu(dwN3(relu(convN1(dwN5(x)))))) + x",
        lambda x, g: blocks.universal_inverted_bottleneck(x, 64, 128, groups=g, start_kernel=5),
        groups=SPATIAL,
    ),
    Block(
        "fused_inverted_bottleneck",
        "y = convN1(relu(convN3(x))) + x",
        lambda x, g: blocks.fused_inverted_bottleneck(x, 64, 128),
    ),
    Block(
        "mixed_convolution",
        "y = [dw3(x1), dw5(x2), ...]        a kernel for each share of the channels",
        lambda x, g: blocks.mixed_convolution(x, 64, (3, 5), groups=g),
        groups=(None, 8, 1),
    ),
    Block(
        "mixnet_block",
        "y = convN1(se(silu(N([dw3, dw5](silu(convN1(x))))))) + x",
        lambda x, g: blocks.mixnet_block(x, 64, 128, (3, 5), groups=g, squeeze=16),
        groups=(None, 16, 1),
    ),
    Block(
        "ghost_module",
        "p = relu(convN1(x)); y = [p, relu(dwN3(p))]",
        lambda x, g: blocks.ghost_module(x, 64, groups=g),
        groups=(None, 8, 1),
    ),
    Block(
        "ghost_bottleneck",
        "y = ghost_module(se(ghost_module(x))) + x        the second module linear",
        lambda x, g: blocks.ghost_bottleneck(x, 64, 128, groups=g),
        groups=(None, 16, 1),
    ),
    Block(
        "dfc_attention",
        "y = sigmoid(N(dw5x1(N(dw1x5(convN1(mean over 2x2 of x))))))",
        lambda x, g: blocks.dfc_attention(x, 64, g),
        groups=(None, 8, 1),
    ),
    Block(
        "convnext_block",
        "y = x + gamma * dense(gelu(dense(layernorm(dw7(x)))))",
        lambda x, g: blocks.convnext_block(x, g),
        groups=SPATIAL,
    ),
    Block(
        "repvgg_block",
        "y = relu(convN3/g(x) + convN1/g(x) + N(x))        one convolution after zoo.fuse",
        lambda x, g: blocks.repvgg_block(x, 64, groups=g),
        groups=(1, 4, 16),
    ),
    Block(
        "mobileone_block",
        "y = relu(sum of k convN3/g(x) + convN1/g(x) + N(x))        one convolution after zoo.fuse",
        lambda x, g: blocks.mobileone_block(x, 64, groups=g, branches=2),
        groups=(64, 1, 4),
    ),
    Block(
        "xception_module",
        "y = sep(relu(sep(relu(sep(relu(x)))))) + shortcut(x)        sep: convN1(dwN3(x))",
        lambda x, g: blocks.xception_module(x, (64, 64, 64), groups=g),
        groups=SPATIAL,
    ),
    Block(
        "preactivated_xception_module",
        "y = sep(pre(sep(pre(sep(pre(x)))))) + shortcut(pre(x))        pre: normalisation, relu; sep: conv1(dw3(x))",
        lambda x, g: blocks.preactivated_xception_module(x, (64, 64, 64), groups=g),
        groups=SPATIAL,
    ),
)

SECTIONS = (("Layers", LAYERS), ("What blocks are composed of", COMPOSITES), ("Blocks of the families", FAMILIES))
# Public names that are no blocks: tools, which the pages `speed-up`, `groups` and `ship` show, and the operation that
# `GroupedConv2D` calls.
TOOLS = {"ConversionReport", "convert", "exportable", "grouped_convolution", "restore", "split_channels"}
