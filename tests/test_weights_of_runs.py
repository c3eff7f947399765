"""A run's `model.keras`, and Keras's other whole models, as weights."""

import json
import os
import warnings
import zipfile

import keras
import numpy as np
import pytest

import zoo
from helpers.checks import refusal
from helpers.networks import IMAGES, NAME, SHAPE
from helpers.randomized import perturbed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network as train.py builds and saves it for small images, and the folder of its run."""
    folder = tmp_path_factory.mktemp("run")
    model = perturbed(zoo.create(NAME, 7, SHAPE, small_stem=True, dropout=0.2))
    keras.Model(model.inputs, model.outputs, name=model.name).save(folder / "model.keras")
    return model, folder


@pytest.mark.parametrize(("model", "part"), [
    (NAME, "model.keras"),
    (None, ""),
    pytest.param(NAME, "", marks=pytest.mark.heavy),
    pytest.param(None, "model.keras", marks=pytest.mark.heavy),
])  # fmt: skip
def test_a_saved_network_is_built_as_it_was(saved, model, part):
    """Size of the images, stem and classes are the file's where nothing else is asked for."""
    expected, folder = saved
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = zoo.create(model, weights=os.path.join(folder, part))
    assert loaded.input_shape == (None, *SHAPE) and loaded.name == NAME
    np.testing.assert_array_equal(loaded(IMAGES), expected(IMAGES))
    np.testing.assert_array_equal(loaded(IMAGES), keras.models.load_model(folder / "model.keras")([IMAGES]))


def test_other_builds_are_told_of(saved):
    _, folder = saved
    path = folder / "model.keras"
    with pytest.warns(UserWarning) as caught:
        loaded = zoo.create(NAME, 3, (64, 64, 3), weights=path, small_stem=False)
    assert [str(each.message) for each in caught if each.category is UserWarning] == [
        f"{path} was saved from another build of {NAME} (input_shape, small_stem): images are (32, 32, 3) in the file "
        "and (64, 64, 3) in the network; conv_stem has strides=[1, 1] in the file and [2, 2] in the network.",
        f"{path} has 7 classes, and 3 are wanted: classifier is randomly initialized.",
    ]
    assert loaded.output_shape == (None, 3)
    with pytest.warns(UserWarning, match="conv_stem has strides"):
        zoo.load_weights(zoo.create(NAME, 7, SHAPE), path)
    with pytest.warns(UserWarning, match="its kernels are summed over RGB"):
        zoo.create(NAME, input_shape=(32, 32, 1), weights=path)


def test_a_stem_of_another_shape_is_explained(tmp_path):
    zoo.create("resnet26", 2, SHAPE, small_stem=True).save(tmp_path / "model.keras")
    assert zoo.create(weights=tmp_path / "model.keras").get_layer("conv1").strides == (1, 1)
    sentence = refusal(lambda: zoo.create("resnet26", weights=tmp_path / "model.keras", small_stem=False))
    assert "conv1.0 is (3, 3, 3, 64) in the file and (7, 7, 3, 64) in the network" in sentence
    assert "another build of resnet26 (input_shape, small_stem): conv1 has strides=[1, 1] in the file" in sentence


def test_it_is_known_of_which_network_it_is(saved, tmp_path):
    _, folder = saved
    assert f"has weights of {NAME}, and mobilenetv1_050 is wanted: use zoo.create('{NAME}', weights=" in refusal(
        lambda: zoo.create("mobilenetv1_050", weights=folder)
    )
    grouped = perturbed(zoo.create(NAME, 2, SHAPE, groups=4))
    for name, write in (("model.keras", keras.Model.save), ("weights.safetensors", zoo.save_torch)):
        write(grouped, tmp_path / name)
        loaded = zoo.create(input_shape=SHAPE, weights=tmp_path / name)
        assert loaded.name == grouped.name == f"{NAME}_g4"
        np.testing.assert_array_equal(loaded(IMAGES), grouped(IMAGES))


def test_weights_that_do_not_say_of_which_network_they_are(tmp_path):
    zoo.create(NAME, 2, SHAPE).save_weights(tmp_path / "model.weights.h5")
    sentence = refusal(lambda: zoo.create(weights=tmp_path / "model.weights.h5"))
    assert sentence.endswith("is not known to be of a named network: give the name or the configuration with it.")
    with pytest.raises(TypeError, match="create needs the name of a network, or weights that say"):
        zoo.create()


def test_settings_of_normalisations_come_with_it(tmp_path):
    from zoo.models.fbnet import FBNet

    zoo.create(FBNet(epsilon=1e-3), 2, SHAPE).save(tmp_path / "model.keras")
    loaded = zoo.create("fbnetc_100", weights=tmp_path)
    assert {each.epsilon for each in loaded.layers if isinstance(each, keras.layers.BatchNormalization)} == {1e-3}
    assert "was trained with epsilon=0.001" in refusal(
        lambda: zoo.load_weights(zoo.create("fbnetc_100", 2, SHAPE), tmp_path)
    )


def test_models_of_the_users_own(saved, tmp_path):
    """Layers of his own are left over, and named; a network within another model is read."""
    model, _ = saved
    inner = zoo.create(NAME, 0, SHAPE)
    own = keras.Sequential([keras.Input(SHAPE), inner, keras.layers.Dense(7, name="classifier")])
    perturbed(own).save(tmp_path / "own.keras")
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "own.keras")
    np.testing.assert_allclose(loaded(IMAGES), own(IMAGES), rtol=1e-4, atol=1e-4)
    extra = keras.Model(model.input, keras.layers.Dense(2, name="extra")(model.output), name="own")
    extra.save(tmp_path / "extra.keras")
    sentence = refusal(lambda: zoo.create(NAME, weights=tmp_path / "extra.keras"))
    assert "2 tensors of the file are left over: extra.0, extra.1" in sentence


def test_damaged_models(saved, tmp_path):
    _, folder = saved
    content = (folder / "model.keras").read_bytes()
    path = tmp_path / "bad.keras"
    for broken in (b"", b"x", content[: len(content) // 2]):
        path.write_bytes(broken)
        assert "cannot be read as a file of weights" in refusal(lambda: zoo.create(NAME, weights=path))
    layer = {"name": "bn1", "moving_mean_initializer": {}, "epsilon": [1]}
    hostile = [
        json.dumps({"class_name": "Functional", "config": {"name": NAME, "layers": [{"config": each}]}})
        for each in (layer, {**layer, "epsilon": "x"}, {"name": "images", "batch_shape": [None, "x", -3, 3]})
    ]
    for config in (
        "{",
        "[]",
        "[" * 100000,
        json.dumps({"class_name": "Functional", "config": {"layers": [3]}}),
        *hostile,
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", config)
        assert "cannot be read as a file of weights" in refusal(lambda: zoo.create(NAME, weights=path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(10**7))
    assert "it would unpack to over 20 times its size" in refusal(lambda: zoo.create(NAME, weights=path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}}))
    assert "it has no model.weights.h5" in refusal(lambda: zoo.create(NAME, weights=path))
    assert "it is a folder, and has no model.keras" in refusal(lambda: zoo.create(NAME, weights=tmp_path))


def test_a_network_whose_name_has_its_groups_within(tmp_path):
    grouped = perturbed(zoo.create("resnext20_16x4d_cifar10", 2, SHAPE, groups=8))
    assert grouped.name == "resnext20_8x8d_cifar10" not in zoo.list_models()
    for name, write in (("model.keras", keras.Model.save), ("weights.safetensors", zoo.save_torch)):
        write(grouped, tmp_path / name)
        loaded = zoo.create(weights=tmp_path / name, input_shape=SHAPE)
        assert loaded.name == grouped.name
        np.testing.assert_array_equal(loaded(IMAGES), grouped(IMAGES))
    sentence = refusal(lambda: zoo.create("resnext20_16x4d_cifar10", weights=tmp_path))
    assert sentence == f"{tmp_path} has weights of {grouped.name}, and resnext20_16x4d_cifar10 is wanted."


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_quantised_model_is_refused_with_what_reads_it(tmp_path, mode):
    images = keras.Input(SHAPE)
    outputs = keras.layers.Dense(2, name="classifier")(keras.layers.GlobalAveragePooling2D()(images))
    model, path = keras.Model(images, outputs, name=NAME), tmp_path / "q.keras"
    model.get_layer("classifier").quantize(mode)
    model.save(path)
    for make in (
        lambda: zoo.create(weights=path),
        lambda: zoo.create(NAME, weights=path),
        lambda: zoo.load_weights(zoo.create(NAME, 2, SHAPE), path),
    ):
        assert refusal(make) == (
            f"{path} is a model quantised to {mode}, whose weights fit no network that is not: read it with "
            "keras.models.load_model, or give weights that were saved before model.quantize."
        )
