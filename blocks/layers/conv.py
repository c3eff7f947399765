"""The grouped convolutions under the names of Keras's layers, for models that have those."""

import keras

from blocks.layers.grouped_conv import GroupedConv1D, GroupedConv2D, GroupedConv3D


@keras.saving.register_keras_serializable(package="blocks")
class Conv2D(GroupedConv2D):
    """`GroupedConv2D` under the name of `keras.layers.Conv2D`, in whose place `blocks.convert` puts it.

    (B, H, W, C) -> (B, H', W', filters). A `.weights.h5` file names the classes of layers: of two models that differ in
    these alone, each loads the other's.
    Arguments, shapes, weights and errors are those of `GroupedConv2D`.

    Example:
        >>> layer = blocks.Conv2D(16, 3, groups=4)
        >>> isinstance(layer, blocks.GroupedConv2D), layer(np.ones((2, 8, 8, 8))).shape == (2, 6, 6, 16)
        (True, True)
    """


@keras.saving.register_keras_serializable(package="blocks")
class Conv1D(GroupedConv1D):
    """`GroupedConv1D` under the name of `keras.layers.Conv1D`, as `Conv2D` is `GroupedConv2D`.

    (B, L, C) -> (B, L', filters). Arguments, weights and errors are those of `GroupedConv2D`, with one integer for the
    one axis.

    Example:
        >>> blocks.Conv1D(16, 3, padding="causal")(np.ones((2, 8, 4))).shape == (2, 8, 16)
        True
    """


@keras.saving.register_keras_serializable(package="blocks")
class Conv3D(GroupedConv3D):
    """`GroupedConv3D` under the name of `keras.layers.Conv3D`, as `Conv2D` is `GroupedConv2D`.

    (B, D, H, W, C) -> (B, D', H', W', filters). Arguments, weights and errors are those of `GroupedConv2D`, with three
    integers for the axes.

    Example:
        >>> blocks.Conv3D(8, 3, padding="same")(np.ones((1, 4, 8, 8, 4))).shape == (1, 4, 8, 8, 8)
        True
    """
