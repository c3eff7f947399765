"""Reusable layers and block functions of grouped-convolution networks, for Keras 3.

Importing this package registers its layers with Keras, so that saved models which use them load.
"""

from blocks.compose import conv_norm, convolution, global_average, normalization, squeeze_excite
from blocks.convolution import GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.grouped import grouped_convolution
from blocks.mobilenet import mobilenet_v1_block, mobilenet_v2_block, mobilenet_v3_block
from blocks.normalization import BatchNormalization
from blocks.pooling import PaddedPooling2D
from blocks.resnext import resnext_block
from blocks.separable import DepthwiseSeparableConv2D
from blocks.shuffle import ChannelShuffle
from blocks.shufflenet import shufflenet_v1_unit, shufflenet_v2_unit
from blocks.uneven import split_channels

__all__ = [
    "BatchNormalization",
    "ChannelShuffle",
    "DepthwiseSeparableConv2D",
    "GroupedConv1D",
    "GroupedConv2D",
    "GroupedConv3D",
    "PaddedPooling2D",
    "conv_norm",
    "convolution",
    "global_average",
    "grouped_convolution",
    "mobilenet_v1_block",
    "mobilenet_v2_block",
    "mobilenet_v3_block",
    "normalization",
    "resnext_block",
    "shufflenet_v1_unit",
    "shufflenet_v2_unit",
    "split_channels",
    "squeeze_excite",
]
