"""From a name to a Keras model: what all families share."""

import contextlib
import functools
import os
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from typing import Any

import keras
from keras import layers

from blocks import Dense
from blocks.layers.initializers import Normal, without_random_numbers
from blocks.ops.keras_internals import mark_called
from zoo.checks import check_share
from zoo.registry import family_of, named, variant
from zoo.weights.checkpoint import Checkpoint
from zoo.weights.layout import differing_layers, names_of
from zoo.weights.loading import fill, slots_of
from zoo.weights.opening import check_network, open_weights

CLASSES = 1000  # of ImageNet, where neither the caller, the weights nor the family say otherwise
SHAPE = (224, 224, 3)  # of images, where neither the caller nor the weights say otherwise
VECTOR = "features"  # the last layer of a network without a classifier


def create(
    model: Any = None,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    groups: int | None = None,
    *,
    weights: str | os.PathLike | None = None,
    use_ema: bool = True,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    small_stem: bool | None = None,
    dropout: float = 0.0,
    drop_path: float | None = None,
) -> keras.Model:
    """Build a network: normalised images (B, H, W, C) to raw logits (B, num_classes).

        zoo.create("resnext50_32x4d", 10, (64, 64, 3))
        zoo.create(weights="outputs/2026-11-23/07-00-00/model.keras")  # as the run built it
        zoo.create("resnet50", features_only=True, out_indices=(1, 2, -1))  # maps of strides 4, 8 and 32

    Args:
        model: a name from `list_models()`, or a family's configuration such as `ResNeXt(depth=101, groups=16)`; None is
            the network that the weights say they are of.
        num_classes: outputs; 0 leaves the classifier out, and the model gives the vector (B, D) that it would see.
            None is what the weights have, else what the reference has: 1000, or 10 where it is one for CIFAR-10.
        input_shape: (height, width, channels) in pixels; height and width may be None. None is what a `.keras` file was
            saved with, else (224, 224, 3).
        groups: of the family's grouped convolution, in place of the variant's own. What it means: ResNeXt, the
            cardinality, with the width of a group set to keep the size of the network (section 3.2 of the paper);
            ShuffleNet v1, the groups of the pointwise convolutions; `zoo.info(name)` says it for the others.
        weights: None for random ones; else a path or a tag as `zoo.load_weights` takes them, which must fit exactly.
            Where they were trained with another setting than the network of that name has, it is built with theirs.
            Two things may differ, and a warning tells of them: another number of classes gives the classifier random
            weights, and for images of other than 3 channels kernels for RGB are summed (1 channel) or repeated and
            scaled by 3 / channels (more), as timm does.
        use_ema: of a checkpoint of PyTorch that has the weights and their running average, take the average, as timm
            does; False takes the weights themselves.
        features_only: the outputs are a list of feature maps, one a resolution (`zoo.feature_info` tells their strides
            and channels), and everything behind the last is left out.
        out_indices: which of these maps, as in timm: their numbers from 0 on, or from -1 for the last down, in any
            order; or one number, of maps at the end. The outputs are in the order of the network.
        small_stem: keep the resolution of the image in the stem, for images under 64 pixels: its convolution has
            stride 1 (3x3 in ResNeXt) and no pooling follows. The weights of every other layer keep their shapes. None
            is as a `.keras` file was saved, else False.
        dropout: share of the vector's entries dropped before the classifier.
        drop_path: rate of stochastic depth in place of the variant's own: it grows linearly, from 0 at the first block
            to this at the last or, in MobileNet v2 and the families with its block, to this at the one behind it.

    Raises:
        ValueError: an unknown name, a shape or a number of groups that the network cannot have, weights that do not
            fit or cannot be read, a feature map that there is not.
        TypeError: `model` is neither a name nor a configuration, and there are no weights to tell it.
        ImportError: the weights need a package that is not installed.
    """
    _check(num_classes, input_shape, dropout)
    if features_only and (num_classes or dropout):
        raise ValueError("features_only=True leaves the classifier out: num_classes and dropout have no meaning then.")
    if out_indices is not None and not features_only:
        raise ValueError(f"out_indices={out_indices!r} chooses feature maps: give features_only=True with it.")
    if model is None and weights is None:
        raise TypeError("create needs the name of a network, or weights that say of which network they are.")
    config = None if model is None else _configured(model, groups, drop_path)
    build = functools.partial(_network, features_only=features_only, out_indices=out_indices, dropout=dropout)
    if weights is None:
        return build(config, num_classes, tuple(input_shape or SHAPE), bool(small_stem))[0]
    with open_weights(weights, config and config.name, use_ema=use_ema) as checkpoint:
        if config is None:
            config = _configured(_named(checkpoint), groups, drop_path)
            check_network(config.name, checkpoint.model, checkpoint.source)
        if model is None or isinstance(model, str):  # of a configuration, `fill` checks that it has them
            config = _with_settings(config, checkpoint.settings)
        classifier, held = family_of(config).CLASSIFIER, checkpoint.classes(family_of(config).CLASSIFIER)
        if num_classes is None:
            num_classes = held
        shape = tuple(input_shape or checkpoint.image_shape or SHAPE)
        if small_stem is None:
            small_stem = _has_small_stem(config, checkpoint)
        network, maps = build(config, num_classes, shape, small_stem, building=without_random_numbers())
        initialized, unused = set(), set()
        if features_only:
            unused = _left_out(config, network, maps, checkpoint)
        elif num_classes != held:
            initialized = names_of(classifier, slots_of(network, checkpoint))
            unused = names_of(classifier, checkpoint.entries)
        fill(network, checkpoint, initialized=initialized, unused=unused, adapt=shape[2] != 3)
        if initialized:
            warnings.warn(
                f"{checkpoint.source} has {held or 'no'} classes, and {num_classes} are wanted: {classifier} "
                "is randomly initialized.",
                stacklevel=2,
            )
    return network


def selected_maps(out_indices: int | Sequence[int] | None, count: int, name: str) -> list[int]:
    """Which of `count` feature maps of network `name` these are, ascending. Raises ValueError for what is none."""
    if out_indices is None:
        return list(range(count))
    wanted = range(-out_indices, 0) if type(out_indices) is int else out_indices
    numbers = isinstance(wanted, (Sequence, Set)) and all(type(each) is int for each in wanted)
    selected = sorted({each % count for each in wanted}) if numbers else []
    if not selected or len(selected) != len(wanted) or not all(-count <= each < count for each in wanted):
        raise ValueError(
            f"out_indices={out_indices!r} is not allowed for {name}: it has {count} feature maps, so give different "
            f"numbers from 0 to {count - 1}, or from -{count} to -1 counted from the last."
        )
    return selected


def _configured(model: Any, groups: int | None, drop_path: float | None) -> Any:
    """The configuration of a name, or the given one, with these settings in place of its own."""
    config = variant(model) if isinstance(model, str) else model
    family_of(config)
    if groups is not None:
        config = config.with_groups(groups)
    return config if drop_path is None else _with_drop_path(config, drop_path)


def _named(checkpoint: Checkpoint) -> Any:
    """The configuration of the network that the weights say they are of."""
    config = named(checkpoint.model or "")
    if config is None:
        raise ValueError(
            f"{checkpoint.source} is not known to be of a named network: give the name or the configuration with it."
        )
    return config


def _network(
    config: Any,
    num_classes: int | None,
    input_shape: tuple,
    small_stem: bool,
    *,
    features_only: bool,
    out_indices: int | Sequence[int] | None,
    dropout: float,
    building=contextlib.nullcontext(),  # noqa: B008  (has no state)
) -> tuple[keras.Model, list]:
    """The model, and all feature maps that it computes; `building` is entered for all of it but the classifier."""
    module = family_of(config)
    images = keras.Input(input_shape, name="images")
    with building:
        features = module.build(config, images, small_stem)
        if features_only:
            selected = [features[index] for index in selected_maps(out_indices, len(features), config.name)]
            return _callable(keras.Model(images, selected, name=config.name)), features
        x = module.head(config, features[-1])
    if num_classes is None:
        num_classes = getattr(config, "num_classes", CLASSES)
    if dropout:
        x = layers.Dropout(dropout)(x)
    if num_classes:
        x = Dense(num_classes, kernel_initializer=Normal(stddev=0.01), name=module.CLASSIFIER)(x)
    # Losses and metrics want float32, whatever the layers compute in.
    outputs = layers.Activation("linear", dtype="float32", name="logits" if num_classes else VECTOR)(x)
    whole = keras.Model(images, outputs, name=config.name)
    whole.features = tuple(features)  # for zoo.freeze and zoo.feature_info
    return _callable(whole), features


def _callable(model: keras.Model) -> keras.Model:
    """`model`, which Keras's export to ONNX takes for called once: a graph is complete without that."""
    mark_called(model)
    return model


def _left_out(config: Any, backbone: keras.Model, maps: list, checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors that the whole network has and `backbone`, whose graph `maps` are of, lacks."""
    module = family_of(config)
    with without_random_numbers():
        classifier = Dense(1, name=module.CLASSIFIER)(module.head(config, maps[-1]))
    whole = keras.Model(backbone.input, classifier)
    return slots_of(whole, checkpoint).keys() - slots_of(backbone, checkpoint).keys()


def _has_small_stem(config: Any, checkpoint: Checkpoint) -> bool:
    """Whether the saved network keeps the resolution in its stem: its strides are others than without that."""
    if not checkpoint.layers:
        return False
    with without_random_numbers():
        images = keras.Input((None, None, SHAPE[2]))
        usual = keras.Model(images, family_of(config).build(config, images, False))
    return bool(differing_layers(usual, checkpoint.layers, ("strides",)))


def _with_drop_path(config: Any, rate: float) -> Any:
    if not any(field.name == "drop_path" for field in fields(config)):
        raise ValueError(f"{config.name} has no stochastic depth: drop_path is not allowed for it.")
    return replace(config, drop_path=rate)


def _with_settings(config: Any, settings: Mapping[str, float]) -> Any:
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in settings.items() if name in known})


def _check(num_classes: int | None, input_shape: Any, dropout: float) -> None:
    classes = 0 if num_classes is None else num_classes
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise ValueError(f"num_classes={num_classes!r} is not allowed: give a number of at least 1, or 0 for features.")
    shape = SHAPE if input_shape is None else tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    sizes = [size for size in shape[:2] if size is not None]
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in (*sizes, shape[2])):
        raise ValueError(
            f"input_shape={input_shape!r} is not allowed: give (height, width, channels), as in (224, 224, 3); "
            "height and width may be None."
        )
    check_share("dropout", dropout, "a network")
