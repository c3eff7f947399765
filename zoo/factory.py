"""From a name to a Keras model: what all families share."""

import contextlib
import itertools
import os
import warnings
from collections.abc import Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
from keras import layers

from blocks import Dense
from blocks.layers.initializers import Normal, without_random_numbers
from blocks.ops.keras_internals import mark_called
from zoo.checks import check_share
from zoo.registry import family_of, named, variant
from zoo.typing import ModelConfig, Tensor
from zoo.weights.checkpoint import Checkpoint
from zoo.weights.layout import differing_layers, names_of
from zoo.weights.loading import Loaded, fill, slots_of
from zoo.weights.opening import check_network, open_weights

CLASSES = 1000  # of ImageNet, where neither the caller, the weights nor the family say otherwise
SHAPE = (224, 224, 3)  # of images, where neither the caller nor the weights say otherwise
ImageShape = tuple[int | None, int | None, int]  # (height, width, channels); None is a dynamic dimension
VECTOR = "features"  # the last layer of a network without a classifier


def create(
    model: str | ModelConfig | None = None,
    num_classes: int | None = None,
    input_shape: ImageShape | None = None,
    groups: int | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    use_ema: bool = True,
    new_classifier: bool = False,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    small_stem: bool | None = None,
    dropout: float = 0.0,
    drop_path: float | None = None,
) -> keras.Model:
    """Build a network: normalised images (B, H, W, C) to raw logits (B, num_classes).

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
        new_classifier: give the classifier random weights though the file has as many classes, for they are others.
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

    Returns: the network. Its attribute `small_stem` says how the stem was built, `classifier` the name of the layer of
        logits, and `loaded`, where there are weights, which of its variables are theirs (`zoo.weights.loading.Loaded`).

    Raises:
        ValueError: an unknown name, a shape or a number of groups that the network cannot have, weights that do not
            fit or cannot be read, a feature map that there is not.
        TypeError: `model` is neither a name nor a configuration, and there are no weights to tell it.
        ImportError: the weights need a package that is not installed.

    Example:
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> model(np.zeros((2, 32, 32, 3))).shape == (2, 10)
        True
        >>> backbone = zoo.create("lcnet_035", features_only=True, input_shape=(64, 64, 3), out_indices=(1, 2, -1))
        >>> [x.shape for x in backbone.outputs]
        [(None, 16, 16, 24), (None, 8, 8, 48), (None, 2, 2, 176)]
    """
    _check(num_classes, input_shape, dropout)
    if features_only and (num_classes or dropout):
        raise ValueError("features_only=True leaves the classifier out: num_classes and dropout have no meaning then.")
    if out_indices is not None and not features_only:
        raise ValueError(f"out_indices={out_indices!r} chooses feature maps: give features_only=True with it.")
    if new_classifier and (weights is None or features_only):
        raise ValueError("new_classifier=True is for a network with weights and a classifier: leave it out.")
    if model is None and weights is None:
        raise TypeError("create needs the name of a network, or weights that say of which network they are.")
    config = None if model is None else _configured(model, groups, drop_path)
    with _opened(weights, config, use_ema) as checkpoint:
        if checkpoint is not None and (config is None or isinstance(model, str)):  # else `fill` compares the settings
            config = _as_trained(config, checkpoint, groups, drop_path)
        assert config is not None  # of the two, one has told it
        spec = _resolve(config, checkpoint, num_classes, input_shape, small_stem, new_classifier)
        images, maps = _build(spec)
        network = _select(spec, images, maps, out_indices) if features_only else _classify(spec, images, maps, dropout)
        network.small_stem = spec.small_stem
        if checkpoint is not None:
            network.loaded = _load(spec, network, maps, checkpoint, features_only)
    return network


def selected_maps(out_indices: int | Sequence[int] | None, count: int, name: str) -> list[int]:
    """Which of `count` feature maps of network `name` these are, ascending. Raises ValueError for what is none.

    Example:
        >>> from zoo.factory import selected_maps
        >>> selected_maps((1, -1), 5, "resnet50"), selected_maps(2, 5, "resnet50")  # the last two
        ([1, 4], [3, 4])
    """
    if out_indices is None:
        return list(range(count))
    wanted = range(-out_indices, 0) if isinstance(out_indices, int) else out_indices
    numbers = isinstance(wanted, (Sequence, Set)) and all(type(each) is int for each in wanted)
    selected = sorted({each % count for each in wanted}) if numbers else []
    if (
        isinstance(out_indices, bool)
        or not selected
        or len(selected) != len(wanted)
        or not all(-count <= each < count for each in wanted)
    ):
        raise ValueError(
            f"out_indices={out_indices!r} is not allowed for {name}: it has {count} feature maps, so give different "
            f"numbers from 0 to {count - 1}, or from -{count} to -1 counted from the last."
        )
    return selected


@dataclass(frozen=True)
class _Spec:
    """What a network is built from, where the caller, the weights and the family have had their say, in this order.

    filled: its weights are read from a file, so that none need be drawn.
    new_classifier: but for those of its classifier, which the file has with another number of classes or lacks.
    """

    config: ModelConfig
    num_classes: int
    input_shape: ImageShape
    small_stem: bool
    filled: bool
    new_classifier: bool

    def initializing(self) -> AbstractContextManager[None]:
        """The block in which layers are built whose weights the file has, where there is one."""
        return without_random_numbers() if self.filled else contextlib.nullcontext()


def _configured(model: str | ModelConfig, groups: int | None, drop_path: float | None) -> ModelConfig:
    """The configuration of a name, or the given one, with these settings in place of its own."""
    config = variant(model) if isinstance(model, str) else model
    family_of(config)
    if groups is not None:
        config = config.with_groups(groups)
    return config if drop_path is None else _with_drop_path(config, drop_path)


def _opened(
    weights: str | os.PathLike[str] | None, config: ModelConfig | None, use_ema: bool
) -> AbstractContextManager[Checkpoint | None]:
    """The open weights, of the network of `config` where that is known; None where there are none."""
    if weights is None:
        return contextlib.nullcontext()
    return open_weights(weights, None if config is None else config.name, use_ema=use_ema)


def _as_trained(
    config: ModelConfig | None, checkpoint: Checkpoint, groups: int | None, drop_path: float | None
) -> ModelConfig:
    """`config`, else the configuration that the weights say they are of, with the settings they were trained with."""
    if config is None:
        config = named(checkpoint.model or "")
        if config is None:
            raise ValueError(
                f"{checkpoint.source} is not known to be of a named network: give the name or the configuration "
                "with it."
            )
        config = _configured(config, groups, drop_path)
        check_network(config.name, checkpoint.model, checkpoint.source)
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in checkpoint.settings.items() if name in known})


def _resolve(
    config: ModelConfig,
    checkpoint: Checkpoint | None,
    num_classes: int | None,
    input_shape: ImageShape | None,
    small_stem: bool | None,
    new_classifier: bool,
) -> _Spec:
    """What is built: None is left to the weights, then to the family."""
    saved_classes, saved_shape = None, None
    if checkpoint is not None:
        saved_classes, saved_shape = checkpoint.classes(family_of(config).CLASSIFIER), checkpoint.image_shape
        if small_stem is None:
            small_stem = _has_small_stem(config, checkpoint)
    classes = saved_classes if num_classes is None else num_classes
    height, width, channels = input_shape or saved_shape or SHAPE
    return _Spec(
        config=config,
        num_classes=getattr(config, "num_classes", CLASSES) if classes is None else classes,
        input_shape=(height, width, channels),
        small_stem=bool(small_stem),
        filled=checkpoint is not None,
        new_classifier=checkpoint is not None and (new_classifier or classes != saved_classes),
    )


def _build(spec: _Spec) -> tuple[Tensor, list[Tensor]]:
    """The images, and all feature maps that the family computes of them."""
    images = keras.Input(spec.input_shape, name="images")
    with spec.initializing():
        return images, _maps(spec.config, images, spec.small_stem)


def _maps(config: ModelConfig, images: Tensor, small_stem: bool) -> list[Tensor]:
    """What the family builds. Raises TypeError or ValueError where that is no list of maps, one a resolution."""
    family = family_of(config)
    built: Any = family.build(config, images, small_stem)
    should = f"{type(config).__module__}.build should return a list of feature maps (B, H, W, C), one a resolution"
    if not isinstance(built, (list, tuple)):
        only = ": [x], where there is one alone" if isinstance(built, keras.KerasTensor) else ""
        raise TypeError(f"{should}{only}, and for {config.name} it returned {_in_words(built)}.")
    wrong = [each for each in built if not isinstance(each, keras.KerasTensor) or len(each.shape) != 4]
    if wrong or not built:
        raise TypeError(
            f"{should}, and for {config.name} it returned {f'{_in_words(wrong[0])} in it' if wrong else 'none'}."
        )
    for number, (larger, smaller) in enumerate(itertools.pairwise(built)):
        if any(
            None not in sizes and sizes[0] > 1 and (sizes[1] > sizes[0] or (sizes[1] == sizes[0] and not small_stem))
            for sizes in zip(larger.shape[1:3], smaller.shape[1:3], strict=True)
        ):
            raise ValueError(
                f"{should}, of the highest first, and for {config.name} maps {number} and {number + 1} have "
                f"{_pixels(larger)} and {_pixels(smaller)} pixels: of several with one stride return the last."
            )
    return list(built)


def _vector(config: ModelConfig, features: Tensor) -> Tensor:
    """What the family makes of the last map for the classifier. Raises TypeError where that is no vector."""
    family = family_of(config)
    vector: Any = family.head(config, features)
    if not isinstance(vector, keras.KerasTensor) or len(vector.shape) != 2:
        raise TypeError(
            f"{type(config).__module__}.head should return a vector (B, D), as blocks.global_average does, and for "
            f"{config.name} it returned {_in_words(vector)}."
        )
    return vector


def _in_words(value: Any) -> str:
    return f"a tensor {value.shape}" if isinstance(value, keras.KerasTensor) else type(value).__name__


def _pixels(features: Tensor) -> str:
    return " x ".join(map(str, features.shape[1:3]))


def _select(
    spec: _Spec,
    images: Tensor,
    maps: list[Tensor],
    out_indices: int | Sequence[int] | None,
) -> keras.Model:
    """The backbone: a model of these feature maps, without what lies behind the last of them."""
    selected = [maps[index] for index in selected_maps(out_indices, len(maps), spec.config.name)]
    return _callable(keras.Model(images, selected, name=spec.config.name))


def _classify(spec: _Spec, images: Tensor, maps: list[Tensor], dropout: float) -> keras.Model:
    """The whole network: head and classifier on the last feature map."""
    family = family_of(spec.config)
    with spec.initializing():
        x = _vector(spec.config, maps[-1])
    if dropout:
        x = layers.Dropout(dropout)(x)
    if spec.num_classes:
        x = Dense(spec.num_classes, kernel_initializer=Normal(stddev=0.01), name=family.CLASSIFIER)(x)
    # Losses and metrics want float32, whatever the layers compute in.
    outputs = layers.Activation("linear", dtype="float32", name="logits" if spec.num_classes else VECTOR)(x)
    network = keras.Model(images, outputs, name=spec.config.name)
    network.features = tuple(maps)  # for zoo.freeze and zoo.feature_info
    network.classifier = family.CLASSIFIER if spec.num_classes else None
    return _callable(network)


def _load(spec: _Spec, network: keras.Model, maps: list[Tensor], checkpoint: Checkpoint, features_only: bool) -> Loaded:
    """Fill the network with the weights; warn where the classifier keeps its random ones."""
    classifier = family_of(spec.config).CLASSIFIER
    initialized: set[str] = set()
    unused: set[str] = set()
    if features_only:
        unused = _left_out(spec.config, network, maps, checkpoint)
    elif spec.new_classifier:
        initialized = names_of(classifier, slots_of(network, checkpoint))
        unused = names_of(classifier, checkpoint.entries)
    adapt = spec.input_shape[2] != 3
    loaded = fill(network, checkpoint, initialized=initialized, unused=unused, adapt=adapt, stacklevel=4)
    there = checkpoint.classes(classifier) or "no"
    if initialized and there != spec.num_classes:
        warnings.warn(
            f"{checkpoint.source} has {there} classes, and {spec.num_classes} are wanted: {classifier} is randomly "
            "initialized.",
            stacklevel=3,
        )
    return loaded


def _callable(model: keras.Model) -> keras.Model:
    """`model`, which Keras's export to ONNX takes for called once: a graph is complete without that."""
    mark_called(model)
    return model


def _left_out(config: ModelConfig, backbone: keras.Model, maps: list[Tensor], checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors that the whole network has and `backbone`, whose graph `maps` are of, lacks."""
    module = family_of(config)
    with without_random_numbers():
        classifier = Dense(1, name=module.CLASSIFIER)(module.head(config, maps[-1]))
    whole = keras.Model(backbone.input, classifier)
    return slots_of(whole, checkpoint).keys() - slots_of(backbone, checkpoint).keys()


def _has_small_stem(config: ModelConfig, checkpoint: Checkpoint) -> bool:
    """Whether the saved network keeps the resolution in its stem: its strides are others than without that."""
    if not checkpoint.layers:
        return False
    with without_random_numbers():
        images = keras.Input((None, None, SHAPE[2]))
        usual = keras.Model(images, _maps(config, images, False))
    return bool(differing_layers(usual, checkpoint.layers, ("strides",)))


def _with_drop_path(config: ModelConfig, rate: float) -> ModelConfig:
    if not any(field.name == "drop_path" for field in fields(config)):
        raise ValueError(f"{config.name} has no stochastic depth: drop_path is not allowed for it.")
    return replace(config, drop_path=rate)


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
