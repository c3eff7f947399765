"""The layers on Keras's JAX and PyTorch backends: models saved under TensorFlow, loaded and trained there.

Run as a program, this file is the other side: `KERAS_BACKEND=torch python tests/test_backends.py FOLDER`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import blocks
from helpers.paths import ROOT
from helpers.processes import process_environment


def volumes():
    x = films = keras.Input((5, 6, 4, 7), name="films")
    x = blocks.GroupedConv3D(8, (3, 1, 2), (2, 1, 1), padding=((1, 1), (0, 0), (1, 0)), groups=(2, 2, 3))(x)
    x = blocks.GroupedConv3D(8, 3, padding="same", dilation_rate=2, groups=4, activation="silu")(x, residual=x)
    x = keras.layers.Reshape((-1, 8))(x)
    x = blocks.GroupedConv1D(6, 3, 2, padding="causal", dilation_rate=2, groups=2)(x)
    x = blocks.GroupedConv1D(6, 2, padding="same", groups=(1, 5), implementation="native")(x)
    return keras.Model(films, x)


def images():
    x = pictures = keras.Input((10, 9, 7), name="pictures")
    x = blocks.GroupedConv2D((4, 6), 3, (2, 1), ((0, 2), (1, 1)), dilation_rate=2, groups=(3, 4))(x)
    x = blocks.GroupedConv2D(10, 1, groups=(5, 5), activation="relu6")(x, residual=x)
    x = blocks.BatchNormalization(activation="hard_silu")(blocks.ChannelShuffle(5)(x), residual=x)
    x = blocks.GroupedConv2D(10, 1, groups=2)(blocks.ChannelShuffle(4)([x, x[..., :6]]))
    x = blocks.PaddedPooling2D("max", 3, 1, 1)(x) + blocks.PaddedPooling2D("average", 3, 1, (1, 1))(x)
    x = blocks.DepthwiseSeparableConv2D(8, 3, 2, "same", groups=(4, 6), normalize=True, activation="silu")(x)
    x = keras.layers.Permute((3, 1, 2))(x)
    x = blocks.GroupedConv2D(8, 2, padding="same", data_format="channels_first", groups=(2, 2, 4))(x)
    first, second = blocks.ChannelShuffle(2, "channels_first", num_outputs=2)(x)
    return keras.Model(pictures, first + second)


def families():
    """Weights with dots in the names of their layers, which PyTorch refuses in a parameter's."""
    x = pictures = keras.Input((6, 6, 8), name="pictures")
    x = blocks.resnext_block(x, 8, 8, 4, name="layer1.0")
    x = blocks.mobilenet_v3_block(x, 8, 16, strides=2, squeeze=4, name="blocks.1.0")
    return keras.Model(pictures, x)


def quantised():
    """int8 kernels, with and without quantised inputs; Keras's running variance."""
    x = pictures = keras.Input((6, 6, 8), name="pictures")
    x = blocks.GroupedConv2D(8, 3, padding="same", groups=2, activation="relu", name="conv")(x)
    x = blocks.BatchNormalization(unbiased_variance=False)(x)
    x = blocks.GroupedConv2D(6, 3, groups=(2, 2, 4), name="uneven")(x)
    model = keras.Model(pictures, x)
    model.get_layer("conv").quantize("int8")
    model.get_layer("uneven").quantize(config=keras.quantizers.Int8QuantizationConfig(activation_quantizer=None))
    return model


MODELS = {make.__name__: make for make in (volumes, images, families, quantised)}


def train(model: keras.Model, inputs, targets) -> list[np.ndarray]:
    """The weights after one step of SGD."""
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(inputs, targets)
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What TensorFlow makes of every model: its file, inputs, outputs, and the weights after a step."""
    path, draw = tmp_path_factory.mktemp("backends"), np.random.default_rng(0)
    for name, make in MODELS.items():
        model = make()
        for weight in model.weights:
            if weight.dtype == "float32" and weight.name != "kernel_scale":
                low, high = (0.5, 1.5) if weight.name.endswith("variance") else (-0.3, 0.3)
                weight.assign(draw.uniform(low, high, weight.shape))
        model.save(path / f"{name}.keras")
        inputs = draw.standard_normal((4, *model.input_shape[1:])).astype("float32")
        outputs = keras.ops.convert_to_numpy(model(inputs))
        before = model.get_weights()
        after = train(model, inputs, np.ones_like(outputs))
        changed = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
        # Offsets may stand still: the mean that the next normalisation subtracts takes some of them away.
        still = ("beta", "kernel_scale")
        learns = [
            change
            for change, weight in zip(changed, model.weights, strict=True)
            if weight.name not in still and weight.dtype == "float32"
        ]
        assert all(learns)
        arrays = {f"weight{index}": value for index, value in enumerate(after)}
        np.savez(path / f"{name}.npz", inputs=inputs, outputs=outputs, **arrays)
    return path


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_computes_and_learns_what_it_does_under_tensorflow(backend, folder):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    quick = "--xla_backend_optimization_level=0"  # JAX compiles every random initialisation; it shall not optimise it
    environment = process_environment(PYTHONPATH=path, KERAS_BACKEND=backend, XLA_FLAGS=quick)
    done = subprocess.run([sys.executable, __file__, str(folder)], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == [f"the same under {backend}"], done.stderr


def compare(folder: Path) -> None:
    """Load every model of `folder` under this backend and hold it against TensorFlow's values."""
    for name in MODELS:
        model, expected = keras.models.load_model(folder / f"{name}.keras"), np.load(folder / f"{name}.npz")
        outputs = keras.ops.convert_to_numpy(model(expected["inputs"]))
        close(outputs, expected["outputs"], f"outputs of {name}")
        assert model.output_shape[1:] == outputs.shape[1:]
        for index, weight in enumerate(train(model, expected["inputs"], np.ones_like(outputs))):
            close(weight, expected[f"weight{index}"], f"{model.weights[index].path} of {name}")
    compare_lora()
    try:
        blocks.GroupedConv2D(8, 3, implementation="merge")
    except ValueError as error:
        assert "exists on Keras's TensorFlow backend only" in str(error)
    else:
        raise AssertionError("an implementation of TensorFlow's was taken")
    print("the same under", keras.backend.backend())


def compare_lora() -> None:
    """A convolution that LoRA adapts, beside Keras's own: both learn their factors, and keep the kernel."""
    inputs, trained = np.random.default_rng(1).standard_normal((2, 6, 6, 8)).astype("float32"), []
    for kind in (blocks.GroupedConv2D, keras.layers.Conv2D):
        # PyTorch refuses dots in the names of Keras's own layers.
        name = "layer1.conv" if kind is blocks.GroupedConv2D else "conv"
        layer = kind(8, 3, groups=2, kernel_initializer=keras.initializers.GlorotUniform(0), name=name)
        model = keras.Sequential([keras.Input((6, 6, 8)), layer])
        layer.enable_lora(2, 4, "ones", keras.initializers.RandomUniform(seed=1))
        trained.append([keras.ops.convert_to_numpy(model(inputs)), *train(model, inputs, np.ones((2, 4, 4, 8)))])
    for ours, theirs in zip(*trained, strict=True):
        close(ours, theirs, "a layer that LoRA adapts")


def close(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max(), rtol=0, err_msg=what)


if __name__ == "__main__":
    compare(Path(sys.argv[1]))
