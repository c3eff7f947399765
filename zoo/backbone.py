"""Networks as backbones of other models: what their feature maps are, and keeping their first layers as they are."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import keras

from blocks.layers.initializers import without_random_numbers
from blocks.ops.keras_internals import graph_of, nodes_of, source_of, sublayers
from zoo.checks import close_matches
from zoo.factory import VECTOR, create, selected_maps
from zoo.lora import is_adapted, stored_kernel
from zoo.registry import classifier_of
from zoo.typing import ModelConfig

PRE_LOGITS = "pre_logits"  # as timm calls what the classifier sees
PROBE = 1024  # pixels of the image that strides are computed from: enough for rounding to leave them as they are


@dataclass(frozen=True)
class FeatureInfo:
    """One feature map (B, H / stride, W / stride, channels) of images (B, H, W, C).

    Example:
        >>> zoo.FeatureInfo(stride=8, channels=40)
        FeatureInfo(stride=8, channels=40)
    """

    stride: int
    channels: int


def feature_info(
    model: str | ModelConfig | keras.Model, *, small_stem: bool = False, out_indices: int | Sequence[int] | None = None
) -> list[FeatureInfo]:
    """The maps that `zoo.create(model, features_only=True)` gives, in its order.

    Args:
        model: a name, a family's configuration, or a model from `zoo.create`.
        small_stem: as given to `zoo.create`; a model has its own.
        out_indices: as given to `zoo.create`: which of the maps; of a model, which of those that it gives.

    Raises:
        ValueError: an unknown name, a map that there is not, or a model whose maps are not known.

    Example:
        >>> for info in zoo.feature_info("lcnet_035", out_indices=(0, -1)):
        ...     print(info)
        FeatureInfo(stride=2, channels=16)
        FeatureInfo(stride=32, channels=176)
    """
    if isinstance(model, keras.Model):
        maps = [info for info, _ in _maps(model)]
        return [maps[index] for index in selected_maps(out_indices, len(maps), model.name)]
    with without_random_numbers():
        probe = create(
            model,
            input_shape=(PROBE, PROBE, 3),
            features_only=True,
            small_stem=small_stem,
            out_indices=out_indices,
        )
    return [_info(each) for each in probe.outputs]


def freeze(model: keras.Model, until: str | int = PRE_LOGITS) -> list[str]:
    """Keep the layers up to and including `until` as they are in training, statistics of normalisations included.

    A frozen normalisation computes as in inference. Compile the model after this, not before. `unfreeze` undoes it;
    `model.trainable = True` does not: with TensorFlow, Keras passes over an assignment of the value that is there, and
    a model with frozen layers is trainable itself.

    Args:
        until: a layer's name; the beginning of the names of a stage's layers, "layer2" or "blocks.3"; the stride of a
            feature map, and then it is all that the map is computed from (the last map, of several with one stride);
            or "pre_logits", all that the classifier's input is computed from, which is everything where there is no
            classifier. That is the layer of logits in a network of the zoo, and in other models a last dense layer.

    Returns: the names of the frozen layers that hold weights.
    Raises:
        ValueError: there is no such layer, stage or stride; it says which there are. Or a model has no one last layer.

    Example:
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> zoo.freeze(model, until="bn1")
        ['conv_stem', 'bn1']
        >>> len(zoo.freeze(model)), [layer.name for layer in model.layers if layer.trainable_weights]
        (59, ['classifier'])
    """
    if until == PRE_LOGITS:
        frozen = _before_classifier(model)
    else:
        last = _of_stride(model, until) if isinstance(until, int) else _of_name(model, until)
        frozen = _reachable(_parents(model), last)
    chosen = [layer for layer in model.layers if layer.name in frozen]
    for layer in chosen:
        _set_trainable(layer, False)
    return [layer.name for layer in chosen if layer.weights]


def unfreeze(model: keras.Model, since: str | int | None = None) -> list[str]:
    """Let layers train again that `freeze`, or `layer.trainable = False`, has frozen. Compile the model after this.

    Kernels that LoRA adapts stay frozen, as `enable_lora` leaves them.

    Args:
        since: a layer's name, or the beginning of the names of a stage's layers: these, and all that is computed from
            them; or the stride of a feature map: all that `freeze(model, until=since)` does not freeze, which is what
            lies behind the map. None is every layer.

    Returns: the names of the layers that hold weights and were frozen.
    Raises:
        ValueError: there is no such layer, stage or stride; it says which there are.

    Example:
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> frozen = zoo.freeze(model)  # train the classifier first,
        >>> zoo.unfreeze(model, since="blocks.5.1.conv_pw")  # the end of the last block next,
        ['blocks.5.1.conv_pw', 'blocks.5.1.bn2', 'conv_head']
        >>> len(zoo.unfreeze(model)) == len(frozen) - 3  # and then the rest
        True
    """
    if since is None:
        thawed = {layer.name for layer in model.layers}
    elif isinstance(since, int):
        parents = _parents(model)
        thawed = parents.keys() - _reachable(parents, _of_stride(model, since))
    else:
        thawed = _reachable(_children(model), _of_name(model, since))
    chosen = [layer for layer in model.layers if layer.name in thawed]
    before = {layer.name for layer in chosen if any(not each.trainable for each in sublayers(layer))}
    if not model.trainable:
        left = [layer for layer in model.layers if layer.name not in thawed]
        model.trainable = True  # which is for all layers,
        for layer in left:
            _set_trainable(layer, False)
    for layer in chosen:
        _set_trainable(layer, True)
    return [layer.name for layer in chosen if layer.name in before and layer.weights]


def _set_trainable(layer: keras.Layer, value: bool) -> None:
    """Set it for every sublayer too: Keras passes over those of a layer that has this value already."""
    for each in sublayers(layer):
        each.trainable = value
        if value and is_adapted(each):
            stored_kernel(each).trainable = False


def _before_classifier(model: keras.Model) -> set[str]:
    """The operations that the input of the classifier is computed from; all where `zoo.create` built none."""
    parents = _parents(model)
    name = classifier_of(model.name)
    if name not in parents:
        if all(len(each.shape) == 4 or source_of(each)[0].name == VECTOR for each in model.outputs):
            return set(parents)
        children = _children(model)
        weighted = {layer.name: layer for layer in model.layers if layer.weights}
        last = [each for each in weighted if not (_reachable(children, {each}) - {each}) & weighted.keys()]
        if len(last) != 1 or not isinstance(weighted[last[0]], keras.layers.Dense):
            raise ValueError(
                f"{model.name} has no one dense layer at its end that would be its classifier: "
                f"give the name of a layer or a stage in place of {PRE_LOGITS!r}."
            )
        name = last[0]
    return _reachable(parents, parents[name])


def _of_name(model: keras.Model, until: str) -> set[str]:
    """The layer of that name, or those of that stage."""
    names = [layer.name for layer in model.layers]
    matching = {name for name in names if name == until or name.startswith(f"{until}.")}
    if not matching:
        stages = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}
        if get_close_matches(until, stages, cutoff=0.6):
            raise ValueError(f"{model.name} has no layer or stage {until!r}: {close_matches(until, sorted(stages))}")
        first = (re.match(r".*?\d(?=\.|$)", layer.name) for layer in model.layers if layer.weights)
        listed = ", ".join(dict.fromkeys(match[0] for match in first if match))
        raise ValueError(f"{model.name} has no layer or stage {until!r}: its stages are {listed or ', '.join(names)}.")
    return matching


def _of_stride(model: keras.Model, until: int) -> set[str]:
    """The operation that makes the map of that stride."""
    maps_by_stride = {info.stride: each for info, each in _maps(model)}
    if until not in maps_by_stride:
        known = ", ".join(map(str, sorted(maps_by_stride)))
        raise ValueError(f"{model.name} has no feature map of stride {until}: its strides are {known}.")
    return {source_of(maps_by_stride[until])[0].name}


def _maps(model: keras.Model) -> list[tuple[FeatureInfo, Any]]:
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
    return [(_info(probed), each) for probed, each in zip(probe.outputs, maps, strict=True)]


def _reachable(edges: dict[str, set[str]], start: set[str]) -> set[str]:
    """`start`, names of operations of the graph, and all that the edges lead to from there."""
    visited, new = set(), set(start)
    while new:
        visited |= new
        new = {other for name in new for other in edges.get(name, ())} - visited
    return visited


def _parents(model: keras.Model) -> dict[str, set[str]]:
    """What the inputs of each operation are computed by, of all calls of layers and operations in the graph."""
    parents: dict[str, set[str]] = {}
    graph = graph_of(model)
    assert graph is not None  # it has feature maps
    for node in nodes_of(graph):
        parents.setdefault(node.operation.name, set()).update(each.operation.name for each in node.parent_nodes)
    return parents


def _children(model: keras.Model) -> dict[str, set[str]]:
    """What uses the outputs of each operation."""
    children: dict[str, set[str]] = {}
    for name, parents in _parents(model).items():
        for parent in parents:
            children.setdefault(parent, set()).add(name)
    return children


def _info(output: Any) -> FeatureInfo:
    # Strides are powers of two; convolutions without padding, as in AlexNet, lose a few pixels more.
    return FeatureInfo(2 ** round(math.log2(PROBE / output.shape[1])), output.shape[-1])
