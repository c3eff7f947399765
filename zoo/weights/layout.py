"""Which tensor of a checkpoint each weight of a network is, and in which order its axes are stored there.

Layers are named after the module paths of their reference, so the names follow from them and no table is needed.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from blocks import ChannelSelection, GroupedConv1D, GroupedConv2D, GroupedConv3D
from blocks.ops.keras_internals import sublayers
from zoo.lora import FACTORS, is_adapted, merged_kernel

CONVOLUTIONS = (GroupedConv1D, GroupedConv2D, GroupedConv3D)
NORMALIZATIONS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclass(frozen=True)
class Slot:
    """One weight of a Keras model. `axes` turn the tensor of the checkpoint into Keras's layout.

    Where the layer adapts its kernel by LoRA, the weight is the merged kernel, as in Keras's own files.

    Example:
        >>> from zoo.weights.layout import slots
        >>> images = keras.Input((8, 8, 4))
        >>> slot = slots(keras.Model(images, blocks.convolution(images, 8, 3, groups=2, name="conv")))["conv.weight"]
        >>> slot.shape, slot.axes, slot.fits((8, 4, 3, 3))
        ((8, 2, 3, 3), (2, 3, 1, 0), False)
    """

    variable: keras.Variable
    axes: tuple[int, ...]
    adapter: keras.Layer | None = None  # the layer that adds a low-rank product to this kernel
    sees_images: bool = False  # a kernel whose last axis but one is the channels of the images
    below: int | None = None  # what integers are less than, and at least 0: the channels that they choose from

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the checkpoint's tensor has."""
        return tuple(self.variable.shape[self.axes.index(axis)] for axis in range(len(self.axes)))

    @property
    def is_integer(self) -> bool:
        return "int" in keras.backend.standardize_dtype(self.variable.dtype)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape fills the weight; a dense layer takes the kernel of a 1x1 convolution too."""
        return shape in (self.shape, (*self.shape, 1, 1) if self.axes == (1, 0) else self.shape)

    def image_channels(self, shape: tuple[int, ...]) -> int | None:
        """The channels that the images of a tensor of this shape have, where that alone keeps it from fitting."""
        if not self.sees_images or len(shape) != len(self.axes):
            return None
        turned = [shape[axis] for axis in self.axes]
        others_fit = [*turned[:-2], turned[-1]] == [*self.variable.shape[:-2], self.variable.shape[-1]]
        return turned[-2] if others_fit and turned[-2] != self.variable.shape[-2] else None

    def to_keras(self, tensor: np.ndarray) -> np.ndarray:
        if tensor.ndim == len(self.axes) + 2:
            tensor = tensor[..., 0, 0]
        return tensor.transpose(self.axes)

    def to_torch(self) -> np.ndarray:
        value = keras.ops.convert_to_numpy(self.variable if self.adapter is None else merged_kernel(self.adapter))
        return np.ascontiguousarray(value.transpose(np.argsort(self.axes)))

    def assign(self, values: np.ndarray) -> None:
        """Make this the weight. A low-rank product begins anew: its second factor is 0, as `enable_lora` begins."""
        self.variable.assign(np.array(values, order="C"))  # a copy: a view of the file must not become the variable
        if self.adapter is not None:
            self.adapter.lora_kernel_b.assign(keras.ops.zeros_like(self.adapter.lora_kernel_b))


def slots(model: keras.Model) -> dict[str, Slot]:
    """Every weight of `model` by the name of its tensor in PyTorch: the layer's name, a dot, PyTorch's of the weight.

    Kernels of convolutions are (kh, kw, C / groups, filters) here and (filters, C / groups, kh, kw) there. A layer of
    a kind that PyTorch does not have keeps the names of its weights.

    Raises:
        ValueError: a layer's weights have no counterpart there, as those of `keras.layers.Conv2D` in the same model,
            or are quantised.

    Example:
        >>> from zoo.weights.layout import slots
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.conv_norm(images, 8, 3, name="conv", norm_name="bn"))
        >>> {name: slot.shape for name, slot in slots(model).items() if name.endswith("weight")}
        {'conv.weight': (8, 4, 3, 3), 'bn.weight': (8,)}
    """
    slots_by_name = {}
    for layer in model.layers:
        for variable in _weights(model, layer):
            name = f"{layer.name}.{_name(layer, variable)}"
            if name in slots_by_name or not _is_known(layer, variable):
                raise ValueError(
                    f"{variable.path} of {model.name} has no place in a checkpoint of PyTorch: known are the layers of "
                    f"blocks, dense layers and normalisations; {layer.name} is a {type(layer).__name__}."
                )
            slots_by_name[name] = _slot(model, layer, variable, _axes(layer, variable))
    return slots_by_name


def keras_slots(model: keras.Model) -> dict[str, Slot]:
    """Every weight of `model` as Keras's own files know it: the layer's name, a dot, the weight's number there.

    Raises ValueError where a layer's weights are quantised.

    Example:
        >>> from zoo.weights.layout import keras_slots
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.convolution(images, 8, name="conv"))
        >>> {name: slot.shape for name, slot in keras_slots(model).items()}
        {'conv.0': (1, 1, 4, 8)}
    """
    return {
        f"{layer.name}.{index}": _slot(model, layer, variable, tuple(range(len(variable.shape))))
        for layer in model.layers
        for index, variable in enumerate(_weights(model, layer))
    }


def names_of(layer: str, names: Iterable[str]) -> set[str]:
    """Those of `names`, the names of weights, that belong to `layer`.

    Example:
        >>> from zoo.weights.layout import names_of
        >>> names_of("fc", ["conv1.weight", "fc.weight", "fc2.weight"])
        {'fc.weight'}
    """
    return {name for name in names if name.rpartition(".")[0] == layer}


def setting(model: keras.Model, name: str) -> set[float]:
    """The values that the batch normalisations of `model` have for a setting such as "epsilon".

    Example:
        >>> from zoo.weights.layout import setting
        >>> images = keras.Input((8, 8, 4))
        >>> setting(keras.Model(images, blocks.normalization(images)), "epsilon")
        {1e-05}
    """
    return {getattr(layer, name) for layer in model.layers if isinstance(layer, layers.BatchNormalization)}


def differing_layers(
    model: keras.Model, saved: Mapping[str, Mapping[str, Any]], settings: Collection[str]
) -> list[str]:
    """Where layers of `model` compute something else than those of the same name that were saved, a sentence each.

    Args:
        saved: the configuration of each saved layer, from JSON.
        settings: the arguments that are compared.

    Example:
        >>> from zoo.weights.layout import differing_layers
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.convolution(images, 8, name="conv"))
        >>> differing_layers(model, {"conv": {"groups": 2}}, ["groups"])
        ['conv has groups=2 in the file and 1 in the network']
    """
    sentences = []
    for layer in model.layers:
        here, there = json.loads(json.dumps(layer.get_config(), default=str)), saved.get(layer.name, {})
        for name in settings:
            if name in here and name in there and here[name] != there[name]:
                sentences.append(f"{layer.name} has {name}={there[name]} in the file and {here[name]} in the network")
    return sentences


def _weights(model: keras.Model, layer: keras.Layer) -> list[keras.Variable]:
    """The weights of `layer` but for the factors of its low-rank product. Raises ValueError for quantised ones."""
    mode = next((each.quantization_mode for each in sublayers(layer) if each.quantization_mode), None)
    if mode is not None:
        raise ValueError(
            f"{layer.name} of {model.name} is quantised to {mode}, which a file of weights has no place for: write and "
            "load weights before model.quantize; model.save keeps a quantised model."
        )
    return [each for each in layer.weights if not (is_adapted(layer) and each.name in FACTORS)]


def _slot(model: keras.Model, layer: keras.layers.Layer, variable: keras.Variable, axes: tuple[int, ...]) -> Slot:
    below = layer.input.shape[-1] if isinstance(layer, ChannelSelection) else None
    adapter = layer if variable.name == "kernel" and is_adapted(layer) else None
    return Slot(variable, axes, adapter, _sees_images(model, layer, variable), below)


def _name(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    if variable.name == "kernel":
        return "weight"
    if isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
        return NORMALIZATIONS[variable.name]
    return variable.name


def _is_known(layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    return len(variable.shape) < 2 or isinstance(layer, (*CONVOLUTIONS, layers.Dense))


def _axes(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...]:
    rank = len(variable.shape)
    if variable.name == "kernel" and isinstance(layer, CONVOLUTIONS):
        return (*range(2, rank), 1, 0)
    if variable.name == "kernel" and isinstance(layer, layers.Dense):
        return (1, 0)
    return tuple(range(rank))


def _sees_images(model: keras.Model, layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Whether `variable` is the kernel of an ungrouped convolution of the images themselves."""
    if variable.name != "kernel" or not isinstance(layer, CONVOLUTIONS) or layer.groups != 1:
        return False
    return any(layer.input is image for image in model.inputs)
