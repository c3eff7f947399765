"""Settings that no tensor shows, and names: what a file says of its network decides what it is loaded into."""

import sys

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import zoo
from helpers.checks import refusal
from helpers.networks import IMAGES, SHAPE
from zoo.models.fbnet import FBNet
from zoo.weights import published
from zoo.weights.checkpoint import MODEL_KEY, SETTINGS_KEY
from zoo.weights.saving import _convolutional_classifier

TAG = "timm/fbnetc_100.rmsp_in1k"  # trained with another epsilon than timm's fbnetc_100 has otherwise


def epsilons(model) -> set[float]:
    return {layer.epsilon for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}


@pytest.fixture(scope="module")
def trained():
    model = zoo.create(FBNet(epsilon=1e-3), 1000, SHAPE)
    draw = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight * (0.5 + draw.random(weight.shape)))
    return model


@pytest.fixture
def fetched(trained, tmp_path, monkeypatch):
    """The file of the tag, as it is published: without metadata of ours."""
    path = tmp_path / "model.safetensors"
    zoo.save_torch(trained, path)
    save_file(load_file(path), path)
    monkeypatch.setattr(published, "fetch", lambda each: path)
    return path


def test_published_settings_build_the_network(trained, fetched):
    assert published.resolve(TAG).settings == {"epsilon": 1e-3}
    model = zoo.create("fbnetc_100", input_shape=SHAPE, weights=TAG)
    assert epsilons(model) == {1e-3} and epsilons(zoo.create("fbnetc_100", 2, SHAPE)) == {1e-5}
    np.testing.assert_array_equal(model(IMAGES), trained(IMAGES))
    backbone = zoo.create("fbnetc_100", input_shape=SHAPE, weights=TAG, features_only=True, drop_path=0.1)
    assert epsilons(backbone) == {1e-3}
    zoo.load_weights(model, TAG)
    assert "trained with epsilon=0.001, which zoo.create('fbnetc_100', weights='timm/" in str(zoo.info(TAG))


def test_a_network_without_the_published_settings_is_refused(fetched):
    expected = (
        f"{TAG} was trained with epsilon=0.001, and fbnetc_100 was built with epsilon=1e-05: "
        f"use zoo.create('fbnetc_100', weights='{TAG}')."
    )
    model = zoo.create("fbnetc_100", input_shape=SHAPE)
    before = model.get_weights()
    assert refusal(lambda: zoo.load_weights(model, TAG)) == expected
    assert refusal(lambda: zoo.create(FBNet(), input_shape=SHAPE, weights=TAG)) == expected
    for weight, previous in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, previous)


def test_no_other_tag_has_settings():
    assert [tag for tag in published.tags() if published.resolve(tag).settings] == [TAG]
    assert len(set(map(published.resolve, published.tags("fbnetc_100")))) == 1, "they are hashable"


def test_settings_survive_our_own_files(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(trained, path)
    loaded = zoo.create("fbnetc_100", input_shape=SHAPE, weights=path)
    np.testing.assert_array_equal(loaded(IMAGES), trained(IMAGES))
    assert "was trained with epsilon=0.001" in refusal(
        lambda: zoo.load_weights(zoo.create("fbnetc_100", input_shape=SHAPE), path)
    )
    zoo.save_torch(zoo.create("fbnetc_100", 2, SHAPE), path)
    with safe_open(path, "numpy") as file:
        assert SETTINGS_KEY not in file.metadata()


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"epsilon": "0"}', '{"drop_path": 0.5}', '{"epsilon": 1}', "[" * 9999]
)
def test_settings_of_a_file_are_not_trusted(trained, tmp_path, text):
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(trained, path)
    save_file(load_file(path), path, metadata={MODEL_KEY: "fbnetc_100", SETTINGS_KEY: text})
    sentence = refusal(lambda: zoo.create("fbnetc_100", input_shape=SHAPE, weights=path))
    assert sentence.endswith(f"{SETTINGS_KEY} in it is not one of epsilon and a number.")
    save_file(load_file(path), path, metadata={SETTINGS_KEY: '{"epsilon": NaN}'})
    assert "epsilon=nan" in refusal(lambda: zoo.create("fbnetc_100", input_shape=SHAPE, weights=path))


def test_a_network_with_other_groups_is_not_taken_for_the_published_one(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = zoo.create("mobilenetv1_025", 3, SHAPE, groups=8)
    zoo.save_torch(model, path)
    again = zoo.create("mobilenetv1_025", input_shape=SHAPE, groups=8, weights=path)
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    zoo.load_weights(again, path)
    expected = f"{path} has weights of mobilenetv1_025_g8, and mobilenetv1_025 is wanted."
    plain = zoo.create("mobilenetv1_025", 3, SHAPE)
    assert refusal(lambda: zoo.load_weights(plain, path)) == expected
    assert refusal(lambda: zoo.create("mobilenetv1_025", input_shape=SHAPE, weights=path)) == expected
    zoo.save_torch(plain, path)
    assert "has weights of mobilenetv1_025, and mobilenetv1_025_g8 is wanted: use zoo.create('mobilenetv1_025', " in (
        refusal(lambda: zoo.load_weights(model, path))
    )


def test_other_groups_change_nothing_about_the_classifier_of_the_reference():
    classifiers = [_convolutional_classifier(name) for name in ("dpn68", "dpn68_g4", "mobilenetv1_025_g8")]
    assert classifiers == ["classifier", "classifier", None]


def test_weights_of_another_network_are_not_even_fetched(monkeypatch):
    monkeypatch.setattr(published, "fetch", lambda each: pytest.fail("it was fetched"))
    assert f"{TAG} has weights of fbnetc_100, and spnasnet_100 is wanted: use zoo.create('fbnetc_100', " in (
        refusal(lambda: zoo.create("spnasnet_100", weights=TAG))
    )
    assert "fbnetc_100_g2 is wanted" in refusal(lambda: zoo.create("fbnetc_100", groups=2, weights=TAG))


def test_a_tag_that_cannot_be_had_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        ImportError, match=f"{TAG} is fetched through huggingface_hub, which is not installed: pip install"
    ):
        zoo.create("fbnetc_100", weights=TAG)
