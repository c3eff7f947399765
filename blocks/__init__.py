"""Reusable layers and block functions of grouped-convolution networks, for Keras 3.

Importing this package registers its layers with Keras, so that saved models which use them load.

The examples of all docstrings can be pasted into a Python prompt after `import numpy as np`, `import keras`,
`import blocks` and `import zoo`. Images are (B, H, W, C) unless a docstring says otherwise.
"""

from blocks.composites import conv_norm, convolution, global_average, normalization, squeeze_excite
from blocks.conversion import ConversionReport, convert, restore
from blocks.families.condensenet import condensenet_unit
from blocks.families.convnext import convnext_block
from blocks.families.dpn import dual_path_block
from blocks.families.ghostnet import dfc_attention, ghost_bottleneck, ghost_module
from blocks.families.igcv3 import igcv3_unit
from blocks.families.mixnet import mixed_convolution, mixnet_block
from blocks.families.mobilenet import mobilenet_v1_block, mobilenet_v2_block, mobilenet_v3_block
from blocks.families.mobilenet_v4 import fused_inverted_bottleneck, universal_inverted_bottleneck
from blocks.families.regnet import regnet_block
from blocks.families.reparameterized import mobileone_block, repvgg_block
from blocks.families.res2net import res2net_block
from blocks.families.resnest import resnest_block, split_attention
from blocks.families.resnet import residual_stages, resnet_shortcut, resnet_stem
from blocks.families.resnext import resnext_block
from blocks.families.selective_kernel import selective_kernel, sk_block
from blocks.families.shufflenet import shufflenet_v1_unit, shufflenet_v2_unit
from blocks.families.xception import preactivated_xception_module, xception_module
from blocks.layers.absorbed import AbsorbedLayer
from blocks.layers.batch_norm import BatchNormalization
from blocks.layers.channel_selection import ChannelSelection
from blocks.layers.channel_shuffle import ChannelShuffle
from blocks.layers.conv import Conv1D, Conv2D, Conv3D
from blocks.layers.depthwise_conv import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from blocks.layers.dotted_names import Activation, Dense, LayerNormalization
from blocks.layers.dual_path import DualPathMerge
from blocks.layers.grouped_conv import GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.layers.layer_scale import LayerScale
from blocks.layers.local_response_norm import LocalResponseNormalization
from blocks.layers.pooling import AdaptiveAveragePooling2D, PaddedPooling2D
from blocks.layers.resize import ResizeLike
from blocks.layers.separable_conv import DepthwiseSeparableConv2D
from blocks.layers.softmax_sum import SoftmaxSum
from blocks.layers.squeeze_excite import ChannelGate, ImageMean
from blocks.moved import install as _install_former_paths
from blocks.ops.exporting import exportable
from blocks.ops.group_sizes import split_channels
from blocks.ops.grouped_conv import grouped_convolution

_install_former_paths()

__all__ = [
    "AbsorbedLayer",
    "Activation",
    "AdaptiveAveragePooling2D",
    "BatchNormalization",
    "ChannelGate",
    "ChannelSelection",
    "ChannelShuffle",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConversionReport",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseSeparableConv2D",
    "DualPathMerge",
    "GroupedConv1D",
    "GroupedConv2D",
    "GroupedConv3D",
    "ImageMean",
    "LayerNormalization",
    "LayerScale",
    "LocalResponseNormalization",
    "PaddedPooling2D",
    "ResizeLike",
    "SeparableConv1D",
    "SeparableConv2D",
    "SoftmaxSum",
    "condensenet_unit",
    "conv_norm",
    "convert",
    "convnext_block",
    "convolution",
    "dfc_attention",
    "dual_path_block",
    "exportable",
    "fused_inverted_bottleneck",
    "ghost_bottleneck",
    "ghost_module",
    "global_average",
    "grouped_convolution",
    "igcv3_unit",
    "mixed_convolution",
    "mixnet_block",
    "mobilenet_v1_block",
    "mobilenet_v2_block",
    "mobilenet_v3_block",
    "mobileone_block",
    "normalization",
    "preactivated_xception_module",
    "regnet_block",
    "repvgg_block",
    "res2net_block",
    "residual_stages",
    "resnest_block",
    "resnet_shortcut",
    "resnet_stem",
    "resnext_block",
    "restore",
    "selective_kernel",
    "shufflenet_v1_unit",
    "shufflenet_v2_unit",
    "sk_block",
    "split_attention",
    "split_channels",
    "squeeze_excite",
    "universal_inverted_bottleneck",
    "xception_module",
]
