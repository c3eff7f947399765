"""From a file's tensors to a network's weights: all of them, or none.

Every tensor is used once, every weight is filled and every shape agrees, or there is one error that says what does not.
"""

import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass

import keras
import numpy as np

from zoo.registry import named
from zoo.weights.checkpoint import Checkpoint, creation, damaged
from zoo.weights.layout import Slot, differing_layers, keras_slots, setting, slots
from zoo.weights.names import is_beside_the_network
from zoo.weights.opening import open_weights

LISTED = 5  # names of each kind in an error
RGB = 3
COMPUTING = ("strides", "dilation_rate", "padding", "groups", "activation")  # what layers do with the same weights


@dataclass(frozen=True)
class Loaded:
    """Where the weights of a network come from: the paths of its variables, "fc/kernel" for instance.

    filled: from `source`; adapted: those of them whose kernels for RGB were turned into others; initialized: from
    random numbers, though others of the network were filled.

    Example:
        >>> from zoo.weights.loading import Loaded
        >>> Loaded("resnet.pth", filled=("conv1/kernel",), adapted=(), initialized=("fc/kernel", "fc/bias")).filled
        ('conv1/kernel',)
    """

    source: str
    filled: tuple[str, ...]
    adapted: tuple[str, ...]
    initialized: tuple[str, ...]


def load_weights(model: keras.Model, weights: str | os.PathLike[str], *, use_ema: bool = True) -> None:
    """Fill `model`, built by `zoo.create`, with weights from a file or a tag, in place.

    Args:
        weights: the tag of published weights such as "timm/resnext50_32x4d.a1h_in1k"; a folder of a run, for the
            `model.keras` in it; or a path that ends in .safetensors; .keras or .weights.h5; or .pth, .pt, .bin, .ckpt,
            .pth.tar, .zip (of one .pth). Checkpoints of training with PyTorch may hold anything beside the weights;
            those lie at the top or under "state_dict", "model" and the like, and their names may begin with what
            wrappers write there: "module.", "_orig_mod.", "model.". A running average is what lies under "model_ema",
            "params_ema", "teacher" and the like, or in a module of that name.
        use_ema: of a checkpoint of PyTorch that has the weights and their running average, take the average, as timm
            does, and warn; False takes the weights themselves.

    Raises:
        ValueError: the file is damaged, or does not fit the network exactly: it names what is missing, left over and of
            another shape, or the setting that the weights were trained with and the model lacks. The model then has
            the weights that it had. For another number of classes or of the images' channels, give the file to
            `zoo.create`.
        ImportError: PyTorch is needed to read the file, or huggingface_hub to fetch it, and is not installed.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/lcnet.weights.h5"
        >>> trained, model = (zoo.create("lcnet_035", 10, (32, 32, 3)) for _ in range(2))
        >>> trained.save_weights(path)
        >>> zoo.load_weights(model, path)
        >>> bool(np.all(model.get_weights()[0] == trained.get_weights()[0]))
        True
    """
    with open_weights(weights, model.name if named(model.name) else None, use_ema=use_ema) as checkpoint:
        fill(model, checkpoint)


def check_settings(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Raise ValueError where the file is known to be of a network with other settings than `model` has.

    Example:
        >>> from zoo.weights.checkpoint import Checkpoint
        >>> from zoo.weights.loading import check_settings
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.conv_norm(images, 8), name="net")
        >>> check_settings(model, Checkpoint("net.safetensors", {}, dict, settings={"epsilon": 1e-3}))
        Traceback (most recent call last):
            ...
        ValueError: net.safetensors was trained with epsilon=0.001, and net was built with epsilon=1e-05.
    """
    for name, value in checkpoint.settings.items():
        values = setting(model, name)
        if values and values != {value}:
            raise ValueError(
                f"{checkpoint.source} was trained with {name}={value:g}, and {model.name} was built with "
                f"{name}={', '.join(f'{each:g}' for each in sorted(values))}"
                f"{creation(checkpoint.model, checkpoint.source)}."
            )


def built_otherwise(model: keras.Model, checkpoint: Checkpoint) -> str:
    """A sentence on where `model` differs from the one that was saved, though its weights may fit; or nothing.

    Example:
        >>> from zoo.weights.checkpoint import Checkpoint
        >>> from zoo.weights.loading import built_otherwise
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.conv_norm(images, 8, name="conv"), name="net")
        >>> sentence = built_otherwise(model, Checkpoint("net.keras", {}, dict, layers={"conv": {"strides": [2, 2]}}))
        >>> sentence.partition(": ")[2]
        'conv has strides=[2, 2] in the file and [1, 1] in the network.'
    """
    if not checkpoint.layers:
        return ""
    differences = differing_layers(model, checkpoint.layers, COMPUTING)
    here, there = model.input_shape[1:], checkpoint.image_shape
    if len(model.inputs) == 1 and there and any(a != b for a, b in zip(here, there, strict=True) if None not in (a, b)):
        differences.insert(0, f"images are {there} in the file and {here} in the network")
    if not differences:
        return ""
    listed = "; ".join(differences[:LISTED]) + ("; ..." if len(differences) > LISTED else "")
    return f"{checkpoint.source} was saved from another build of {model.name} (input_shape, small_stem): {listed}."


def slots_of(model: keras.Model, checkpoint: Checkpoint) -> dict[str, Slot]:
    """Every weight of `model` by its name in such a file.

    Raises ValueError as `zoo.weights.layout.slots` does.

    Example:
        >>> from zoo.weights.checkpoint import Checkpoint
        >>> from zoo.weights.loading import slots_of
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.convolution(images, 8, name="conv"))
        >>> list(slots_of(model, Checkpoint("net.pth", {}, dict)))
        ['conv.weight']
        >>> list(slots_of(model, Checkpoint("net.keras", {}, dict, of_keras=True)))
        ['conv.0']
    """
    return keras_slots(model) if checkpoint.of_keras else slots(model)


def fill(
    model: keras.Model,
    checkpoint: Checkpoint,
    *,
    initialized: Collection[str] = (),
    unused: Collection[str] = (),
    adapt: bool = False,
    stacklevel: int = 3,
) -> Loaded:
    """Assign the tensors of `checkpoint`; nothing is assigned before everything has been checked.

    Args:
        initialized: names of weights that stay as they are.
        unused: names of tensors that are not read, where they are there.
        adapt: whether kernels for RGB images may be turned into kernels for images of other channels; it warns then.
        stacklevel: of the warnings: 3 is whoever calls the function that calls this.

    Raises:
        ValueError: the file does not fit, or a tensor holds infinities, NaN or numbers of channels that there are not.

    Example:
        >>> from zoo.weights.checkpoint import Checkpoint, Entry
        >>> from zoo.weights.loading import fill
        >>> images = keras.Input((8, 8, 4))
        >>> model = keras.Model(images, blocks.convolution(images, 8, name="conv"), name="net")
        >>> tensors = {"conv.weight": np.ones((8, 4, 1, 1), "float32")}
        >>> fill(model, Checkpoint("a file", {"conv.weight": Entry((8, 4, 1, 1), "float32")}, tensors.get)).filled
        ('conv/kernel',)
        >>> float(np.sum(model.get_weights()[0]))
        32.0
        >>> fill(model, Checkpoint("a file", {}, tensors.get))
        Traceback (most recent call last):
            ...
        ValueError: a file does not fit net: 1 of its weights are missing in the file: conv.weight.
    """
    check_settings(model, checkpoint)
    slots_by_name = slots_of(model, checkpoint)
    wanted = {name: slot for name, slot in slots_by_name.items() if name not in initialized}
    offered = {name: entry for name, entry in checkpoint.entries.items() if name not in unused}
    adapted = [
        name
        for name in wanted.keys() & offered.keys()
        if adapt and wanted[name].image_channels(offered[name].shape) == RGB
    ]
    misfits = Misfits(
        missing=[name for name in wanted if name not in offered],
        left_over=[
            name
            for name, entry in offered.items()
            if name not in wanted and (checkpoint.of_keras or not is_beside_the_network(name, entry))
        ],
        misshapen=[
            f"{name} is {offered[name].shape} in the file and {slot.shape} in the network"
            for name, slot in wanted.items()
            if name in offered and name not in adapted and not slot.fits(offered[name].shape)
        ],
        mistyped=[
            f"{name} is {offered[name].dtype} and should be {'integers' if slot.is_integer else 'floating-point'}"
            for name, slot in wanted.items()
            if name in offered and not (offered[name].is_integer if slot.is_integer else offered[name].is_float)
        ],
    )
    differences = built_otherwise(model, checkpoint)
    if misfits.any:
        raise ValueError(misfits.sentence(model, checkpoint) + (f" {differences}" if differences else ""))
    # Twice through the file, one tensor in memory at a time: what is not finite must show before the first assignment.
    for name, slot in wanted.items():
        _values(checkpoint, name, slot)
    for name, slot in wanted.items():
        values = slot.to_keras(_values(checkpoint, name, slot))
        if name in adapted:
            values = _for_channels(values, slot.variable.shape[-2])
        slot.assign(values)
    if differences:
        warnings.warn(differences, stacklevel=stacklevel)
    for name in adapted:
        channels = wanted[name].variable.shape[-2]
        how = "summed over RGB" if channels == 1 else f"repeated over {channels} channels and scaled by 3/{channels}"
        warnings.warn(
            f"{name} of {checkpoint.source} is for images of {RGB} channels: its kernels are {how}.",
            stacklevel=stacklevel,
        )
    paths = {name: slot.variable.path for name, slot in slots_by_name.items()}
    return Loaded(
        source=checkpoint.source,
        filled=tuple(paths[name] for name in wanted),
        adapted=tuple(paths[name] for name in adapted),
        initialized=tuple(path for name, path in paths.items() if name not in wanted),
    )


@dataclass(frozen=True)
class Misfits:
    """Where a file and a network disagree, in sentences for the last two.

    Example:
        >>> from zoo.weights.loading import Misfits
        >>> Misfits(missing=[], left_over=["fc.bias"], misshapen=[], mistyped=[]).any
        True
    """

    missing: list[str]
    left_over: list[str]
    misshapen: list[str]
    mistyped: list[str]

    @property
    def any(self) -> bool:
        return bool(self.missing or self.left_over or self.misshapen or self.mistyped)

    def sentence(self, model: keras.Model, checkpoint: Checkpoint) -> str:
        kinds = {
            "of its weights are missing in the file": self.missing,
            "tensors of the file are left over": self.left_over,
            "have another shape": self.misshapen,
            "have another type": self.mistyped,
        }
        problems = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''}"
            for kind, names in kinds.items()
            if names
        )
        return f"{checkpoint.source} does not fit {model.name}: {problems}."


def _values(checkpoint: Checkpoint, name: str, slot: Slot) -> np.ndarray:
    """A tensor as float32, or in the integers of its variable. Raises ValueError where that cannot hold its values."""
    stored = checkpoint.read(name)
    if slot.is_integer:
        values = stored.astype(keras.backend.standardize_dtype(slot.variable.dtype))
        if not np.array_equal(values, stored):
            raise damaged(checkpoint.source, f"{name} has numbers too large for {values.dtype}")
        wrong = values[(values < 0) | (values >= slot.below)] if slot.below is not None else values[:0]
        if slot.below is not None and wrong.size:
            raise damaged(
                checkpoint.source, f"{name} chooses channel {wrong[0]}, and there are those from 0 to {slot.below - 1}"
            )
        return values
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        values = stored.astype("float32", copy=False)
    if not np.isfinite(values).all():
        raise damaged(checkpoint.source, f"{name} holds infinities or NaN")
    return values


def _for_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel (kh, kw, 3, filters) for images of other channels, such that grey ones give what they gave.

    As timm's adapt_input_conv: one channel gets the sum, more of them the three in turn, scaled by 3 / channels.
    """
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True)
    turns = [channel % RGB for channel in range(channels)]
    return kernel[..., turns, :] * np.float32(RGB / channels)
