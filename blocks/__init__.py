"""Reusable layers and block functions of grouped-convolution networks, for Keras 3.

Importing this package registers its layers with Keras, so that saved models which use them load.
"""

from blocks.alexnet import AdaptiveAveragePooling2D, LocalResponseNormalization
from blocks.compose import conv_norm, convolution, global_average, normalization, squeeze_excite
from blocks.condensenet import ChannelSelection, condensenet_unit
from blocks.convnext import LayerScale, convnext_block
from blocks.convolution import GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.dotted import Dense, LayerNormalization
from blocks.dpn import dual_path_block
from blocks.excitation import ChannelGate, ImageMean
from blocks.exporting import exportable
from blocks.ghostnet import ResizeLike, dfc_attention, ghost_bottleneck, ghost_module
from blocks.grouped import grouped_convolution
from blocks.igcv3 import igcv3_unit
from blocks.mixnet import mixed_convolution, mixnet_block
from blocks.mobilenet import mobilenet_v1_block, mobilenet_v2_block, mobilenet_v3_block
from blocks.mobilenet_v4 import fused_inverted_bottleneck, universal_inverted_bottleneck
from blocks.normalization import BatchNormalization
from blocks.pooling import PaddedPooling2D
from blocks.regnet import regnet_block
from blocks.reparameterized import mobileone_block, repvgg_block
from blocks.res2net import res2net_block
from blocks.resnest import resnest_block, split_attention
from blocks.resnet import residual_stages, resnet_shortcut, resnet_stem
from blocks.resnext import resnext_block
from blocks.selective_kernel import selective_kernel, sk_block
from blocks.separable import DepthwiseSeparableConv2D
from blocks.shuffle import ChannelShuffle
from blocks.shufflenet import shufflenet_v1_unit, shufflenet_v2_unit
from blocks.uneven import split_channels
from blocks.xception import preactivated_xception_module, xception_module

__all__ = [
    "AdaptiveAveragePooling2D",
    "BatchNormalization",
    "ChannelGate",
    "ChannelSelection",
    "ChannelShuffle",
    "Dense",
    "DepthwiseSeparableConv2D",
    "GroupedConv1D",
    "GroupedConv2D",
    "GroupedConv3D",
    "ImageMean",
    "LayerNormalization",
    "LayerScale",
    "LocalResponseNormalization",
    "PaddedPooling2D",
    "ResizeLike",
    "condensenet_unit",
    "conv_norm",
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
