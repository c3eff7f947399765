"""Files that version 0.1.0 saved load, whichever modules the layers lie in today, and compute what they did."""

import json
import zipfile

import keras
import numpy as np
import pytest

from helpers.checks import check_close
from helpers.processes import run_code
from helpers.saved_networks import FOLDER, OPTIMIZERS, arrays, layers_network, registered_names, unpacked

NETWORKS = ("layers", "pictures")

# What is registered since, and not in the files: a new layer is listed here, or saved in a file of its own.
YOUNGER = {  # of converted models: test_conversion.py saves them
    f"blocks>{name}"
    for name in (
        "AbsorbedLayer", "Activation", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D",
        "SeparableConv1D", "SeparableConv2D",
    )
} | {  # test_softmax_sum.py and test_dual_path.py save them
    "blocks>DualPathMerge", "blocks>SoftmaxSum"
} | {  # of recipes: test_timm_optimizers.py and test_recipe.py have them come back from their configuration
    f"zoo>{name}"
    for name in ("KerasLamb", "KerasRMSprop", "Lamb", "RMSpropTF", "Schedule", "TorchAdamW", "TorchSGD")
}  # fmt: skip

RENAMED = {"pieces": "num_outputs"}  # arguments of layers in the files -> their names today

# Share of an output's largest value: float32's rounding where sums are added in another order, which the kernels,
# TensorFlow's own operations and other processors do.
TOLERANCE = 1e-5

LOAD = """
import sys
import {package}
import keras, numpy as np
values = np.load({values!r})
inputs = {{key.removeprefix("input_"): values[key] for key in values if key.startswith("input_")}}
outputs = keras.models.load_model({model!r})(inputs, training=False)
np.savez({outputs!r}, **{{f"output_{{name}}": value for name, value in outputs.items()}})
print(sorted({{"blocks", "zoo"}} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of a file, by its name, as Keras wrote it."""
    folder = tmp_path_factory.mktemp("saved")
    return lambda name: str(unpacked(name, folder))


@pytest.fixture(scope="module")
def registered() -> set[str]:
    return registered_names()


def stored(name: str, kind: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as values:
        return {key.removeprefix(f"{kind}_"): values[key] for key in values if key.startswith(f"{kind}_")}


def is_own(registered_name: str | None) -> bool:
    return registered_name is not None and registered_name.startswith(("blocks>", "zoo>"))


def configuration(path: str) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def check_each(actual: dict, expected: dict) -> None:
    assert actual.keys() == expected.keys() and expected
    for name, value in expected.items():
        assert np.ptp(value) > 0, name
        check_close(actual[name], value, TOLERANCE, name)


def check_outputs(model: keras.Model, name: str) -> None:
    check_each(model(stored(name, "input"), training=False), stored(name, "output"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_computes_what_it_did(saved, name):
    check_outputs(keras.models.load_model(saved(f"{name}.keras")), name)


def test_saved_weights_fit_the_network_that_is_built_anew(saved):
    model = layers_network()
    with pytest.raises(AssertionError):
        check_outputs(model, "layers")
    model.load_weights(saved("layers.weights.h5"))
    check_outputs(model, "layers")
    loaded = keras.models.load_model(saved("layers.keras"))
    assert [weight.path for weight in model.weights] == [weight.path for weight in loaded.weights]
    for ours, theirs in zip(arrays(model.weights), arrays(loaded.weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name, package, imported, kernels", [
    pytest.param("layers", "blocks", ["blocks"], "off", marks=pytest.mark.heavy),
    ("pictures", "zoo", ["blocks", "zoo"], "on"),
])  # fmt: skip
def test_one_import_is_enough(saved, tmp_path, name, package, imported, kernels):
    """In a fresh process, once with the kernels and once without."""
    paths = {"values": str(FOLDER / f"{name}.npz"), "model": saved(f"{name}.keras"), "outputs": str(tmp_path / "o.npz")}
    assert run_code(LOAD.format(package=package, **paths), BLOCKS_KERNELS=kernels) == f"{imported}\n"
    with np.load(paths["outputs"]) as outputs:
        check_each({key.removeprefix("output_"): outputs[key] for key in outputs}, stored(name, "output"))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_saved_optimizer(saved, registered, name):
    model, batch = keras.models.load_model(saved(f"{name}.keras")), np.load(FOLDER / f"{name}.npz")
    assert type(model.optimizer) is keras.saving.get_registered_object(f"zoo>{name}")
    assert model.optimizer.iterations == 1
    state = stored(name, "state")
    assert len(state) == len(model.optimizer.variables)
    for index, value in enumerate(arrays(model.optimizer.variables)):
        np.testing.assert_array_equal(value, state[str(index)])
    model.train_on_batch(batch["images"], batch["labels"])
    check_each({str(index): value for index, value in enumerate(arrays(model.weights))}, stored(name, "weight"))


def holds(today, saved) -> bool:
    """Whether a configuration has all of a saved one, but for modules, which move, and what Keras numbers anew."""
    if isinstance(saved, dict):
        keys = saved.keys() - {"module", "shared_object_id"}
        return all(key in today and holds(today[key], saved[key]) for key in keys)
    if isinstance(saved, list):
        return len(today) == len(saved) and all(map(holds, today, saved))
    return today == saved


@pytest.mark.parametrize("name", NETWORKS)
def test_every_saved_argument_reaches_its_layer(saved, name):
    path = saved(f"{name}.keras")
    model = keras.models.load_model(path)
    entries = [each for each in json.loads(configuration(path))["config"]["layers"] if is_own(each["registered_name"])]
    assert entries
    for entry in entries:
        layer = model.get_layer(entry["config"]["name"])
        today = keras.saving.serialize_keras_object(layer)["config"]
        for former, value in entry["config"].items():
            key = RENAMED.get(former, former)
            assert key in today and holds(today[key], value), (layer.name, key)


def test_every_registered_class_is_in_a_file(saved, registered):
    files = "".join(configuration(saved(f"{name}.keras")) for name in (*NETWORKS, *OPTIMIZERS))
    missing = {name for name in registered if f'"{name}"' not in files}
    assert missing == YOUNGER
