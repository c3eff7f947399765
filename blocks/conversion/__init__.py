"""Keras models with their stock layers exchanged for those of this package, and back."""

from typing import Literal, overload

import keras

from blocks.conversion.model import Conversion
from blocks.conversion.report import ConversionReport
from blocks.conversion.to_blocks import ToBlocks
from blocks.conversion.to_keras import ToKeras

__all__ = ["ConversionReport", "convert", "restore"]


@overload
def convert(model: keras.Model, report: Literal[False] = False) -> keras.Model: ...


@overload
def convert(model: keras.Model, report: Literal[True]) -> tuple[keras.Model, ConversionReport]: ...


def convert(model: keras.Model, report: bool = False) -> keras.Model | tuple[keras.Model, ConversionReport]:
    """A copy of `model` with its stock Keras layers replaced by those of `blocks`, which compute the same faster.

    - `Conv1D/2D/3D`, `DepthwiseConv1D/2D`, `SeparableConv1D/2D` and `BatchNormalization` become the layers of these
      names in `blocks`, the last with Keras's running variance (`unbiased_variance=False`).
    - So do `LayerNormalization`, and `Activation` where it is GELU, SiLU or hard SiLU and no normalisation applies it.
    - An activation that alone follows a normalisation is computed by it; zero padding that a convolution or a pooling
      alone follows is its padding. The layer that did so stays in its place, under its name, as an `AbsorbedLayer`,
      which hands on what it gets.

    Weights, names, trainable flags, regularisers, constraints and dtype policies stay; shared layers stay shared and
    nested models nested. A compiled model is compiled, with the state of its optimizer. A functional model whose class
    is your own keeps the class; its `get_config` then describes stock layers, so what is saved of it loads as those.

    Of the old model and the new each loads the `.weights.h5` files of the other.

    A subclassed model is copied by its configuration, and the layers that its attributes hold are exchanged, directly
    or in lists and dictionaries; nothing is joined there. What stays as it was is in the report, with the reason, and
    in a warning.

    Args:
        model: functional, Sequential or subclassed; of a subclassed one and of your own layers, `get_config` must be
            enough to make it again. It is not changed.
        report: whether to return a `ConversionReport` too: print it for a line each.

    Returns:
        The new model; with `report`, (model, report).

    Raises:
        TypeError: `model` is no keras.Model.
        ValueError: a layer, or a subclassed model, cannot be copied.

    Example:
        >>> images = keras.Input((32, 32, 8))
        >>> x = keras.layers.Conv2D(16, 3, groups=4, name="conv")(images)
        >>> x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
        >>> model = keras.Model(images, x)
        >>> fast, report = blocks.convert(model, report=True)
        >>> print(report)
        exchanged  conv: Conv2D -> Conv2D of blocks
        exchanged  norm: BatchNormalization -> BatchNormalization of blocks
        absorbed   relu by norm
        >>> pictures = np.ones((2, 32, 32, 8))
        >>> bool(np.allclose(fast(pictures), model(pictures), atol=1e-6))
        True
    """
    return _run(model, Conversion(ToBlocks(), "convert"), report)


@overload
def restore(model: keras.Model, report: Literal[False] = False) -> keras.Model: ...


@overload
def restore(model: keras.Model, report: Literal[True]) -> tuple[keras.Model, ConversionReport]: ...


def restore(model: keras.Model, report: bool = False) -> keras.Model | tuple[keras.Model, ConversionReport]:
    """A copy of `model` with the layers of `blocks` replaced by stock Keras layers, where Keras can express them.

    What `convert` made becomes what it was, absorbed layers included; others too: explicit padding becomes a
    `ZeroPadding` layer before a convolution, an activation or a residual of a normalisation or a convolution layers
    behind it; shuffles, selections, gates and scales of channels become operations of Keras in a functional model. What
    Keras cannot express, uneven groups for instance, stays, with the reason in the report and in a warning. All
    networks of the zoo become models that need Keras alone; what they were compiled with stays. The running variance
    of a normalisation is Keras's from then on: divided by n, not n - 1.

    Arguments, returned values and errors are those of `convert`.

    Example:
        >>> images = keras.Input((32, 32, 8), name="images")
        >>> model = keras.Model(images, blocks.conv_norm(images, 16, 3, act="relu", name="conv", norm_name="norm"))
        >>> [type(layer).__name__ for layer in blocks.restore(model).layers]
        ['InputLayer', 'ZeroPadding2D', 'Conv2D', 'BatchNormalization', 'Activation']
    """
    return _run(model, Conversion(ToKeras(), "restore"), report)


def _run(
    model: keras.Model, conversion: Conversion, report: bool
) -> keras.Model | tuple[keras.Model, ConversionReport]:
    if not isinstance(model, keras.Model):
        raise TypeError(f"{conversion.name} takes a keras.Model; got {type(model).__name__}.")
    new = conversion.run(model)
    if report:
        return new, conversion.report
    conversion.report.warn(model.name)
    return new
