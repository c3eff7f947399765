"""Small networks with every layer of the project, and the files in `goldens/saved/` that hold them.

The files were written by version 0.1.0 with Keras 3.14 and TensorFlow 2.21, and stay as they are: they prove that
later code loads what earlier code saved. (Keras loads files of an earlier Keras, not always of a later one, so they
do not come from the latest.) `PYTHONPATH=tests python -m helpers.saved_networks` writes those that are not there:

- `layers.keras`, `layers.weights.h5`: the network of `layers_network`. `layers.npz`: its inputs and outputs.
- `pictures.keras`, `pictures.npz`: a network that takes pictures of uint8.
- `MomentumSGD.keras`, `FusedAdamW.keras`: compiled networks after one step of training. Their `.npz`: the batch, the
  optimizer's variables after that step, and the network's after a second.

Keras's files are compressed, for HDF5 takes kilobytes for each layer; `unpacked` gives them as Keras wrote them.
"""

import gzip
import importlib.util
import pkgutil
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

import blocks
import zoo
from blocks import (
    AdaptiveAveragePooling2D,
    BatchNormalization,
    ChannelSelection,
    ChannelShuffle,
    Dense,
    DepthwiseSeparableConv2D,
    GroupedConv1D,
    GroupedConv2D,
    GroupedConv3D,
    LayerNormalization,
    LayerScale,
    LocalResponseNormalization,
    PaddedPooling2D,
    ResizeLike,
    conv_norm,
    squeeze_excite,
)
from helpers.paths import GOLDENS
from helpers.randomized import randomized

FOLDER = GOLDENS / "saved"
OPTIMIZERS = ("MomentumSGD", "FusedAdamW")


def registered_names() -> set[str]:
    """What the whole project registers with Keras, once all of its modules are imported."""
    for package in (blocks, zoo):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            of_jax = module.name.startswith("blocks.ops.jax.") and importlib.util.find_spec("jax") is None
            if not module.name.endswith("__main__") and not of_jax:
                importlib.import_module(module.name)
    registered = keras.saving.get_custom_objects().items()
    return {name for name, value in registered if value.__module__.startswith(("blocks.", "zoo."))}


def layers_network() -> keras.Model:
    """Each output is that of one layer, or of a few, so that a difference says where it comes from."""
    image = keras.Input((7, 6, 8), name="image")
    sequence = keras.Input((10, 6), name="sequence")
    volume = keras.Input((4, 5, 3, 4), name="volume")
    outputs = {
        **_convolutions(image, sequence, volume),
        **_normalizations(image, sequence),
        **_pooling(image),
        **_channels(image),
    }
    return keras.Model({"image": image, "sequence": sequence, "volume": volume}, outputs, name="layers")


def _convolutions(image, sequence, volume) -> dict:
    first = layers.Permute((3, 1, 2), name="channels_first")(image)
    regularized = {"kernel_regularizer": keras.regularizers.L2(1e-4), "kernel_constraint": "max_norm"}
    narrowed = GroupedConv2D(8, 3, padding="same", groups=4, use_bias=False, name="narrowed.conv", **regularized)(image)
    return {
        "conv1d": GroupedConv1D(12, 3, 2, ((1, 2),), groups=3, activation="silu", name="sequence.conv")(sequence),
        "causal": GroupedConv1D(6, 3, 1, "causal", dilation_rate=2, groups=(1, 3, 2), name="causal.conv")(sequence),
        "conv2d": GroupedConv2D(16, 3, 2, ((0, 1), (2, 0)), groups=2, activation="hard_silu", name="image.conv")(image),
        "taps": GroupedConv2D(16, 3, padding=1, groups=4, implementation="taps", name="taps.conv")(image),
        "split": GroupedConv2D(4, (3, 1), (2, 1), groups=2, implementation="split", name="split.conv")(image),
        "channels_first": GroupedConv2D(8, 3, data_format="channels_first", groups=8, name="first.conv")(first),
        "uneven": GroupedConv2D(10, 3, padding=(2, 0), groups=(3, 3, 2), name="uneven.conv")(image),
        "uneven_filters": GroupedConv2D((4, 6), 1, groups=2, use_bias=False, name="filters.conv")(image),
        "residual": GroupedConv2D(8, 3, padding=1, activation="relu", name="residual.conv")(narrowed, residual=image),
        "normal": conv_norm(image, 8, 3, groups=2, act="relu", name="normal.conv", norm_name="normal.bn"),
        "conv3d": GroupedConv3D(8, (2, 3, 3), (1, 2, 2), (1, 0, 1), groups=2, activation="elu", name="volume.conv")(
            volume
        ),
        "frames": GroupedConv3D(4, 3, padding="same", groups=2, implementation="frames", name="frames")(volume),
        "uneven3d": GroupedConv3D(6, 2, groups=(1, 3), name="uneven.volume")(volume),
        "separable": DepthwiseSeparableConv2D(
            12, 3, 2, 1, activation="relu6", normalize=True, momentum=0.8, epsilon=1e-3, name="separable"
        )(image),
        "separable_groups": DepthwiseSeparableConv2D(
            6, (3, 1), padding="same", dilation_rate=2, depth_multiplier=2, groups=(6, 2), name="separable_groups"
        )(image),
    }


def _normalizations(image, sequence) -> dict:
    return {
        "batch_norm": BatchNormalization(-1, 0.9, 1e-5, activation="hard_silu", name="stage.bn")(image),
        "batch_norm_residual": BatchNormalization(activation="relu", scale=False, name="stage.bn2")(
            image, residual=image
        ),
        "batch_norm_sequence": BatchNormalization(1, center=False, activation="tanh", name="sequence.bn")(sequence),
        "layer_norm": LayerNormalization(epsilon=1e-6, name="stage.norm")(image),
        "layer_scale": LayerScale(0.1, name="stage.gamma")(image),
        "local_response": LocalResponseNormalization(3, 1.5, 0.3, 0.6, name="local_response")(image),
        "dense": Dense(5, activation="gelu", name="mlp.fc1")(sequence),
    }


def _pooling(image) -> dict:
    small = PaddedPooling2D("max", 3, 2, ((0, 1), (1, 1)), name="max_pooling")(image)
    return {
        "max_pooling": small,
        "average_pooling": PaddedPooling2D("average", (3, 2), (2, 1), 1, name="average_pooling")(image),
        "adaptive_pooling": AdaptiveAveragePooling2D((2, 4), name="adaptive_pooling")(image),
        "resized": ResizeLike(name="resized")(small, image),
    }


def _channels(image) -> dict:
    shuffled = ChannelShuffle(4, num_outputs=2, name="pieces")([image, PaddedPooling2D("max", 3, 1, 1)(image)])
    return {
        "shuffle": ChannelShuffle(2, name="shuffle")(image),
        "first_piece": shuffled[0],
        "second_piece": shuffled[1],
        "selection": ChannelSelection(12, groups=3, name="selection.conv")(image),
        "gated": squeeze_excite(image, 4, "hard_sigmoid", name="gated.se"),
    }


def trained_weights(model: keras.Model, seed: int) -> keras.Model:
    """`model` with random weights and statistics, and the channels of its selections in random order."""
    draw = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, ChannelSelection):
            layer.index.assign(draw.integers(0, 8, layer.index.shape))
    return randomized(model, seed)


def _pictures_network() -> keras.Model:
    pictures = keras.Input((14, 11, 3), dtype="uint8", name="pictures")
    preprocessing = keras.saving.get_registered_object("zoo>Preprocessing")
    x = preprocessing(8, 0.9, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic", "border", name="preprocessing")(pictures)
    x = conv_norm(x, 8, 3, 2, act="relu", name="stem.conv", norm_name="stem.bn")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model({"pictures": pictures}, {"logits": Dense(4, name="head.fc")(x)}, name="pictures")


def _compiled_network(optimizer: str) -> keras.Model:
    """As training compiles it: a schedule, decoupled decay, gradients clipped to a norm."""
    image = keras.Input((5, 5, 4), name="image")
    x = conv_norm(image, 8, 3, groups=2, act="relu", name="stem.conv", norm_name="stem.bn")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, Dense(3, name="head.fc")(x), name=optimizer)
    rate = keras.optimizers.schedules.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=3)
    own = {"momentum": 0.9, "nesterov": True} if optimizer == "MomentumSGD" else {"beta_1": 0.8, "beta_2": 0.95}
    create = keras.saving.get_registered_object(f"zoo>{optimizer}")
    model.compile(
        create(rate, weight_decay=0.01, global_clipnorm=1.0, **own),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def arrays(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def unpacked(name: str, folder: Path) -> Path:
    """The file of Keras of that name, in `folder`."""
    path = folder / name
    path.write_bytes(gzip.decompress((FOLDER / f"{name}.gz").read_bytes()))
    return path


def _pack(save, name: str) -> None:
    """What `save` writes to the path that it is called with, compressed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        save(path)
        (FOLDER / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def _write_network(model: keras.Model, inputs: dict) -> None:
    _pack(model.save, f"{model.name}.keras")
    values = {f"input_{name}": value for name, value in inputs.items()}
    outputs = {f"output_{name}": value.numpy() for name, value in model(inputs, training=False).items()}
    np.savez_compressed(FOLDER / f"{model.name}.npz", **values, **outputs)


def _write_layers() -> None:
    model, draw = trained_weights(layers_network(), seed=1), np.random.default_rng(2)
    _write_network(model, {x.name: draw.standard_normal((2, *x.shape[1:])).astype("float32") for x in model.inputs})
    _pack(model.save_weights, "layers.weights.h5")


def _write_pictures() -> None:
    model, draw = trained_weights(_pictures_network(), seed=3), np.random.default_rng(4)
    _write_network(model, {"pictures": draw.integers(0, 256, (2, 14, 11, 3), "uint8")})


def _write_compiled(optimizer: str) -> None:
    model, draw = trained_weights(_compiled_network(optimizer), seed=5), np.random.default_rng(6)
    batch = {"images": draw.standard_normal((6, 5, 5, 4)).astype("float32"), "labels": np.arange(6) % 3}
    model.train_on_batch(batch["images"], batch["labels"])
    _pack(model.save, f"{optimizer}.keras")
    state = arrays(model.optimizer.variables)
    model.train_on_batch(batch["images"], batch["labels"])
    values = {f"state_{index}": value for index, value in enumerate(state)}
    values |= {f"weight_{index}": value for index, value in enumerate(arrays(model.weights))}
    np.savez_compressed(FOLDER / f"{optimizer}.npz", **batch, **values)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    registered_names()
    tasks = {"layers": _write_layers, "pictures": _write_pictures}
    tasks |= {name: lambda name=name: _write_compiled(name) for name in OPTIMIZERS}
    for name, write in tasks.items():
        if (FOLDER / f"{name}.npz").exists():
            print(f"{name}: is there, and stays as it is.")
        else:
            write()
            print(f"{name}: written.")
