"""From a name to a Keras model: what all families share."""

import contextlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import keras
from keras import layers

from blocks import Dense
from blocks.initializers import Normal, without_random_numbers
from zoo.checks import check_share
from zoo.registry import family_of, variant
from zoo.weights.checkpoint import Checkpoint, open_weights
from zoo.weights.layout import names_of
from zoo.weights.loading import fill, slots_of

CLASSES = 1000  # of ImageNet, where neither the caller, the weights nor the family say otherwise


def create(
    model: Any,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    groups: int | None = None,
    *,
    weights: str | os.PathLike | None = None,
    features_only: bool = False,
    small_stem: bool = False,
    dropout: float = 0.0,
    drop_path: float | None = None,
) -> keras.Model:
    """Build a network: normalised images (B, H, W, C) to raw logits (B, num_classes).

    Args:
        model: a name from `list_models()`, or a family's configuration such as `ResNeXt(depth=101, groups=16)`.
        num_classes: outputs; 0 leaves the classifier out, and the model gives the vector (B, D) that it would see.
            None is what the weights have, else what the reference has: 1000, or 10 where it is one for CIFAR-10.
        input_shape: (height, width, channels) in pixels; height and width may be None.
        groups: of the family's grouped convolution, in place of the variant's own. What it means: ResNeXt, the
            cardinality, with the width of a group set to keep the size of the network (section 3.2 of the paper);
            ShuffleNet v1, the groups of the pointwise convolutions; `zoo.info(name)` says it for the others.
        weights: None for random ones; else a path or a tag as `zoo.load_weights` takes them, which must fit exactly.
            Where they were trained with another setting than the network of that name has, it is built with theirs.
            Two things may differ, and a warning tells of them: another number of classes gives the classifier random
            weights, and for images of other than 3 channels kernels for RGB are summed (1 channel) or repeated and
            scaled by 3 / channels (more), as timm does.
        features_only: the outputs are a list of feature maps, one a resolution (`zoo.feature_info` tells their strides
            and channels), and everything behind the last is left out.
        small_stem: keep the resolution of the image in the stem, for images under 64 pixels: its convolution has
            stride 1 (3x3 in ResNeXt) and no pooling follows. The weights of every other layer keep their shapes.
        dropout: share of the vector's entries dropped before the classifier.
        drop_path: rate of stochastic depth in place of the variant's own: it grows linearly, from 0 at the first block
            to this at the last or, in MobileNet v2 and the families with its block, to this at the one behind it.

    Raises:
        ValueError: an unknown name, a shape or a number of groups that the network cannot have, weights that do not
            fit or cannot be read.
        TypeError: `model` is neither a name nor a configuration.
        ImportError: the weights need a package that is not installed.
    """
    config = variant(model) if isinstance(model, str) else model
    module = family_of(config)
    if groups is not None:
        config = config.with_groups(groups)
    if drop_path is not None:
        config = _with_drop_path(config, drop_path)
    _check(num_classes, input_shape, dropout)
    if features_only and (num_classes or dropout):
        raise ValueError("features_only=True leaves the classifier out: num_classes and dropout have no meaning then.")
    if weights is None:
        return _network(config, module, num_classes, input_shape, small_stem, features_only, dropout)
    with open_weights(weights, config.name) as checkpoint:
        if isinstance(model, str):  # of a configuration, `fill` checks that it has them
            config = _with_settings(config, checkpoint.settings)
        held = checkpoint.classes(module.CLASSIFIER)
        if num_classes is None:
            num_classes = held
        made = _network(
            config, module, num_classes, input_shape, small_stem, features_only, dropout, without_random_numbers()
        )
        classifier = names_of(module.CLASSIFIER, checkpoint.entries)
        kept, unused = set(), set()
        if features_only:
            unused = _behind_features(config, module, made, checkpoint)
        elif num_classes != held:
            kept = names_of(module.CLASSIFIER, slots_of(made, checkpoint))
            unused = classifier
        fill(made, checkpoint, kept=kept, unused=unused, adapt=input_shape[2] != 3)
        if kept:
            warnings.warn(
                f"{checkpoint.source} has {held or 'no'} classes, and {num_classes} are wanted: {module.CLASSIFIER} "
                "begins with random weights.",
                stacklevel=2,
            )
    return made


def _network(
    config: Any,
    module: ModuleType,
    num_classes: int | None,
    input_shape,
    small_stem: bool = False,
    features_only: bool = False,
    dropout: float = 0.0,
    building=contextlib.nullcontext(),  # noqa: B008  (has no state)
) -> keras.Model:
    """The model; `building` is entered for all of it but the classifier."""
    images = keras.Input(tuple(input_shape), name="images")
    with building:
        features = module.build(config, images, small_stem)
        if features_only:
            return _callable(keras.Model(images, features, name=config.name))
        x = module.head(config, features[-1])
    if num_classes is None:
        num_classes = getattr(config, "num_classes", CLASSES)
    if dropout:
        x = layers.Dropout(dropout)(x)
    if num_classes:
        x = Dense(num_classes, kernel_initializer=Normal(stddev=0.01), name=module.CLASSIFIER)(x)
    # Losses and metrics want float32, whatever the layers compute in.
    outputs = layers.Activation("linear", dtype="float32", name="logits" if num_classes else "features")(x)
    whole = keras.Model(images, outputs, name=config.name)
    whole.features = tuple(features)  # for zoo.freeze and zoo.feature_info
    return _callable(whole)


def _callable(model: keras.Model) -> keras.Model:
    """`model`, which Keras's export to ONNX takes for called once: a graph is complete without that."""
    model._called = True
    return model


def _behind_features(config: Any, module: ModuleType, backbone: keras.Model, checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors that the whole network has and `backbone` lacks."""
    last = keras.Input(backbone.outputs[-1].shape[1:])
    with without_random_numbers():
        vector = module.head(config, last)
        classifier = Dense(1, name=module.CLASSIFIER)(vector)
    return set(slots_of(keras.Model(last, classifier), checkpoint))


def _with_drop_path(config: Any, rate: float) -> Any:
    if not any(field.name == "drop_path" for field in fields(config)):
        raise ValueError(f"{config.name} has no stochastic depth: drop_path is not allowed for it.")
    return replace(config, drop_path=rate)


def _with_settings(config: Any, settings: Mapping[str, float]) -> Any:
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in settings.items() if name in known})


def _check(num_classes: int | None, input_shape, dropout: float) -> None:
    classes = 0 if num_classes is None else num_classes
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise ValueError(f"num_classes={num_classes!r} is not allowed: give a number of at least 1, or 0 for features.")
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    sizes = [size for size in shape[:2] if size is not None]
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in (*sizes, shape[2])):
        raise ValueError(
            f"input_shape={input_shape!r} is not allowed: give (height, width, channels), as in (224, 224, 3); "
            "height and width may be None."
        )
    check_share("dropout", dropout, "a network")
