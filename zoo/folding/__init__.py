"""A network for inference: normalisations, activations and sums folded into the convolutions before them."""

import keras

from zoo.folding.build import build, plan
from zoo.folding.graph import Report

__all__ = ["Report", "fuse", "report"]


def fuse(model: keras.Model) -> keras.Model:
    """A copy of `model` for inference, with fewer layers and the same outputs up to rounding.

    - A batch normalisation or a `LayerScale` behind a convolution or a dense layer goes into its kernel and bias, in
      float64 from the weights as they are stored.
    - Activations behind such a layer become the layer's own; so do sums behind a `blocks.GroupedConv2D`, as its
      `residual`; parallel convolutions of one tensor that are summed become one.
    - Normalisations and activations behind a concatenation or a `blocks.ChannelShuffle` of such layers alone go into
      each of them.
    - `keras.layers.Conv2D(groups=)` becomes a `GroupedConv2D`, a `DepthwiseSeparableConv2D` two.
    - Dropout and other layers that do nothing at inference go.

    What none of this applies to is copied as it is: `zoo.folding.report(model)` says what goes where, and which
    normalisations stay and why. Convolutions keep their names, the model its inputs and outputs, with their names.
    Nested models stay nested, and are fused too. The copy is not trainable, not compiled, and computes inference
    also when called with training=True; but for layers that the graph of `model` itself calls with training=True.

    Args:
        model: functional or Sequential, built. It is not changed.

    Raises:
        TypeError: `model` is no keras.Model.
        ValueError: `model` is subclassed or not built, or holds a layer that cannot be copied.

    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithm 2, arXiv:1502.03167.

    Example:
        >>> images = keras.Input((16, 16, 8))
        >>> model = keras.Model(images, blocks.repvgg_block(images, 8))
        >>> [type(layer).__name__ for layer in zoo.fuse(model).layers]
        ['InputLayer', 'GroupedConv2D', 'Identity']
        >>> len(model.layers)
        6
    """
    return build(plan(model))


def report(model: keras.Model) -> Report:
    """What `fuse(model)` does, and which normalisations it leaves; print it for a line each. Raises as `fuse` does.

    Example:
        >>> from zoo.folding import report
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.conv_norm(images, 8, 3, act="relu", name="conv", norm_name="norm"))
        >>> print(report(model))
        folded    norm into conv
    """
    return plan(model).report()
