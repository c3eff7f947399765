"""From a name to a Keras model: what all families share."""

from typing import Any

import keras
from keras import layers

from zoo.registry import family_of, variant


def create(
    model: Any,
    num_classes: int = 1000,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    groups: int | None = None,
    *,
    small_stem: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a network: normalised images (B, H, W, C) to raw logits (B, num_classes), with random weights.

    Args:
        model: a name from `list_models()`, or a family's configuration such as `ResNeXt(depth=101, groups=16)`.
        num_classes: outputs; 0 leaves the classifier out, and the model gives the vector (B, D) that it would see.
        input_shape: (height, width, channels) in pixels; height and width may be None.
        groups: of the family's grouped convolution, in place of the variant's own. What it means: ResNeXt, the
            cardinality, with the width of a group set to keep the size of the network (section 3.2 of the paper);
            ShuffleNet v1, the groups of the pointwise convolutions; ShuffleNet v2 and MobileNet, those of the
            spatial convolutions, which are depthwise by default.
        small_stem: keep the resolution of the image in the stem, for images under 64 pixels: its convolution has
            stride 1 (3x3 in ResNeXt) and no pooling follows. The weights of every other layer keep their shapes.
        dropout: share of the vector's entries dropped before the classifier.

    Raises:
        ValueError: an unknown name, a shape or a number of groups that the network cannot have.
        TypeError: `model` is neither a name nor a configuration.
    """
    config = variant(model) if isinstance(model, str) else model
    module = family_of(config)
    if groups is not None:
        config = config.with_groups(groups)
    _check(num_classes, input_shape, dropout)
    images = keras.Input(tuple(input_shape), name="images")
    x = module.head(config, module.build(config, images, small_stem)[-1])
    if dropout:
        x = layers.Dropout(dropout)(x)
    if num_classes:
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        x = layers.Dense(num_classes, kernel_initializer=initializer, name=module.CLASSIFIER)(x)
    # Losses and metrics want float32, whatever the layers compute in.
    outputs = layers.Activation("linear", dtype="float32", name="logits" if num_classes else "features")(x)
    return keras.Model(images, outputs, name=config.name)


def _check(num_classes: int, input_shape, dropout: float) -> None:
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 0:
        raise ValueError(f"num_classes={num_classes!r} is not allowed: give a number of at least 1, or 0 for features.")
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    sizes = [size for size in shape[:2] if size is not None]
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in (*sizes, shape[2])):
        raise ValueError(
            f"input_shape={input_shape!r} is not allowed: give (height, width, channels), as in (224, 224, 3); "
            "height and width may be None."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} is not allowed: it is a share, from 0 up to but not 1.")
