"""Grouped convolution over one, two and three axes, as Keras layers."""

import keras

from blocks.layers.grouped_conv import GroupedConvolution


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv2D(GroupedConvolution):
    """2-D convolution whose input channels are split into groups, each with filters of its own.

    Takes the arguments of `keras.layers.Conv2D`, in the same order, and holds the same weights, so either can
    load the other's. Unlike it, a group costs no more on a CPU than its arithmetic, padding can be explicit,
    strides combine with dilation, and groups may differ in size.

    Args:
        filters: number of outputs, over all groups together, or a tuple with the outputs of each group. A number is
            a multiple of a number of `groups`; among uneven groups it is shared in proportion to their sizes, by
            largest remainder, at least 1 each.
        kernel_size, strides, dilation_rate: one integer, or two (height, width), of at least 1.
        padding: "valid", "same", or zeros in pixels: n, (height, width) or ((top, bottom), (left, right)).
        data_format: "channels_last" (B, H, W, C), "channels_first" (B, C, H, W), or None for Keras's setting.
        groups: into how many equal slices the inputs are split, C for a depthwise convolution; or the size of each,
            (16, 16, 16, 19) for 67 channels. `blocks.split_channels` computes sizes.
        activation, use_bias, *_initializer, *_regularizer, *_constraint: as in `keras.layers.Conv2D`.
        implementation: how it is computed, one of `blocks.ops.implementation.NAMES`; None chooses. Backends other than
            TensorFlow have "native" only. It changes no result beyond rounding.

    Call: `layer(inputs, residual=None)` is activation(convolution + bias + residual), the residual in the shape of
    the outputs.

    Weights: `kernel` (kh, kw, C / groups, filters) and `bias` (filters,). Neighbouring groups with equally many
    channels and filters share one kernel; where the groups are not all alike, the kernels are `kernel_0`,
    `kernel_1`, ..., each (kh, kw, channels of one group, filters of them all), and `kernels` lists them.

    Raises:
        ValueError: for a wrong argument; when built, where `groups` does not divide or add up to the input channels,
            or the input is smaller than the kernel; when called, for a residual of another shape.

    Source: Krizhevsky et al. 2012 (AlexNet), section 3.5; Xie et al. 2017 (ResNeXt), section 3.3.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv1D(GroupedConvolution):
    """1-D convolution in groups: `GroupedConv2D` for sequences (B, L, C), or (B, C, L) with "channels_first".

    Arguments, weights and errors are those of `GroupedConv2D`, and in the order of `keras.layers.Conv1D`, with one
    integer for the one axis. `padding` is "valid", "same", zeros in steps (n or ((before, after),)), or "causal":
    zeros in front only, so that an output sees no later input (van den Oord et al. 2016, WaveNet, section 2.1,
    arXiv:1609.03499). Weights: `kernel` (k, C / groups, filters) and `bias` (filters,).
    """

    rank = 1


@keras.saving.register_keras_serializable(package="blocks")
class GroupedConv3D(GroupedConvolution):
    """3-D convolution in groups: `GroupedConv2D` for volumes and films (B, D, H, W, C), or (B, C, D, H, W).

    Arguments, weights and errors are those of `GroupedConv2D`, and in the order of `keras.layers.Conv3D`, with
    (depth, height, width) for the axes; `padding` in voxels is n, one number for each axis, or
    ((front, back), (top, bottom), (left, right)). `implementation` is "native" (on a CPU for one group only),
    "frames", "split" or None. Weights: `kernel` (kd, kh, kw, C / groups, filters) and `bias` (filters,).
    """

    rank = 3
