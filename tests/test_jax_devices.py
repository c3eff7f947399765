"""One training on several devices of Keras's JAX backend, which are four parts of the CPU here.

Run as a program, this file is the other side: `KERAS_BACKEND=jax python tests/test_jax_devices.py`.
"""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import blocks
from helpers.paths import ROOT
from helpers.processes import process_environment

DEVICES = 4


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_devices_train_as_one():
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    devices = f"--xla_force_host_platform_device_count={DEVICES} --xla_backend_optimization_level=0"
    own = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": devices}
    environment = process_environment(PYTHONPATH=path, **own)
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def network():
    images = keras.Input((8, 8, 3))
    x = blocks.GroupedConv2D(8, 3, padding="same")(images)
    x = blocks.BatchNormalization(momentum=0.9, activation="relu")(x)
    x = blocks.GroupedConv2D(16, 3, groups=4, strides=2, padding="same", activation="relu")(x)
    x = blocks.ChannelShuffle(4)(x)
    return keras.Model(images, blocks.Dense(5)(keras.layers.GlobalAveragePooling2D()(x)))


def trained():
    """Losses of four epochs, and the model behind them."""
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(64, 8, 8, 3)).astype("float32"), rng.integers(0, 5, 64)
    keras.utils.set_random_seed(0)
    model = network()
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    losses = model.fit(images, labels, batch_size=16, epochs=4, shuffle=False, verbose=0).history["loss"]
    return losses, model


def main():
    import jax

    assert len(jax.devices()) == DEVICES
    losses, model = trained()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()))
    losses_of_all, model_of_all = trained()
    assert len(model_of_all.weights[0].value.sharding.device_set) == DEVICES
    assert len(model.weights[0].value.sharding.device_set) == 1
    np.testing.assert_allclose(losses_of_all, losses, atol=1e-5)
    assert losses[-1] < losses[0]
    for own, of_all in zip(model.get_weights(), model_of_all.get_weights(), strict=True):
        np.testing.assert_allclose(of_all, own, atol=1e-4)


if __name__ == "__main__":
    main()
