"""Networks as backbones of other models: what their feature maps are, and keeping their first layers as they are."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from blocks.initializers import without_random_numbers
from zoo.checks import close_matches
from zoo.factory import create

PROBE = 1024  # pixels of the image that strides are told from: enough for rounding to leave them as they are


@dataclass(frozen=True)
class FeatureInfo:
    """One feature map (B, H / stride, W / stride, channels) of images (B, H, W, C)."""

    stride: int
    channels: int


def feature_info(model: Any, *, small_stem: bool = False) -> list[FeatureInfo]:
    """The maps that `zoo.create(model, features_only=True)` gives, in its order.

    Args:
        model: a name, a family's configuration, or a model from `zoo.create`.
        small_stem: as given to `zoo.create`; a model has its own.

    Raises:
        ValueError: an unknown name, or a model whose maps are not known.
    """
    if isinstance(model, keras.Model):
        return [info for info, _ in _maps(model)]
    with without_random_numbers():
        probe = create(model, input_shape=(PROBE, PROBE, 3), features_only=True, small_stem=small_stem)
    return [_info(each) for each in probe.outputs]


def freeze(model: keras.Model, until: str | int) -> list[str]:
    """Keep the layers up to and including `until` as they are in training, statistics of normalisations included.

    A frozen normalisation computes as in inference. Compile the model after this, not before.

    Args:
        until: a layer's name; the beginning of the names of a stage's layers, "layer2" or "blocks.3"; or the stride of
            a feature map, and then it is all that the map is computed from (the last map, of several with one stride).

    Returns: the names of the frozen layers that hold weights.
    Raises:
        ValueError: there is no such layer, stage or stride; it says which there are.
    """
    last = _of_stride(model, until) if isinstance(until, int) else _of_name(model, until)
    frozen = _with_everything_before(model, last)
    found = [layer for layer in model.layers if layer.name in frozen]
    for layer in found:
        layer.trainable = False
    return [layer.name for layer in found if layer.weights]


def _of_name(model: keras.Model, until: str) -> set[str]:
    """The layer of that name, or those of that stage."""
    names = [layer.name for layer in model.layers]
    found = {name for name in names if name == until or name.startswith(f"{until}.")}
    if not found:
        stages = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}
        raise ValueError(f"{model.name} has no layer or stage {until!r}: {close_matches(until, sorted(stages))}")
    return found


def _of_stride(model: keras.Model, until: int) -> set[str]:
    """The operation that makes the map of that stride."""
    found = {info.stride: each for info, each in _maps(model)}
    if until not in found:
        known = ", ".join(map(str, sorted(found)))
        raise ValueError(f"{model.name} has no feature map of stride {until}: its strides are {known}.")
    return {found[until]._keras_history.operation.name}


def _maps(model: keras.Model) -> list[tuple[FeatureInfo, keras.KerasTensor]]:
    """What is known of every feature map, and the map itself, in the graph of `model`."""
    maps = getattr(model, "features", None) or model.outputs
    if any(len(each.shape) != 4 for each in maps):
        raise ValueError(
            f"The feature maps of {model.name} are not known, as in a model that was loaded from a file: "
            "give the name of a layer or a stage, or a model from zoo.create."
        )
    with without_random_numbers():
        images = keras.Input((PROBE, PROBE, model.input_shape[-1]))
        probe = keras.models.clone_model(keras.Model(model.input, list(maps)), input_tensors=images)
    return [(_info(found), each) for found, each in zip(probe.outputs, maps, strict=True)]


def _with_everything_before(model: keras.Model, last: set[str]) -> set[str]:
    """`last`, names of operations of the graph, and those of all that they are computed from."""
    parents: dict[str, set[str]] = {}
    for node in _nodes(model):
        before = parents.setdefault(node.operation.name, set())
        before.update(parent.operation.name for parent in node.parent_nodes)
    found, new = set(), set(last)
    while new:
        found |= new
        new = {parent for name in new for parent in parents.get(name, ())} - found
    return found


def _nodes(model: keras.Model) -> list:
    """The calls of layers and operations that make up the graph."""
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]


def _info(output) -> FeatureInfo:
    # Strides are powers of two; convolutions without padding, as in AlexNet, lose a few pixels more.
    return FeatureInfo(2 ** round(math.log2(PROBE / output.shape[1])), output.shape[-1])
