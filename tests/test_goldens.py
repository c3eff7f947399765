"""The networks against the reference implementations, through files: complexity to the last digit, and the logits."""

import keras
import numpy as np
import pytest

import zoo
from helpers.reference import NAMES, fixture, images, write_checkpoint
from zoo.costs import costs
from zoo.registry import family_key, variant

LIKE_OTHERS = {"mnasnet", "fbnet", "efficientnet", "lcnet", "mixnet", "igcv3", "mobileone", "repvgg"}


def network(name: str) -> str:
    return name.partition("__")[2]


def marked() -> list:
    """The fixtures, all heavy but the smallest of each family, and of ResNeXt's ResNeXt-50, which has groups.

    Of the families whose blocks are others', or have tests of their own, all are heavy.
    """
    quick = {"timm__resnext50_32x4d"}
    for key in {family_key(variant(network(name))) for name in NAMES} - LIKE_OTHERS:
        members = [name for name in NAMES if family_key(variant(network(name))) == key]
        if quick.isdisjoint(members):
            quick.add(min(members, key=lambda name: costs(network(name)).macs))
    return [name if name in quick else pytest.param(name, marks=pytest.mark.heavy) for name in NAMES]


def test_every_fixture_is_of_a_network_of_the_zoo():
    assert len(NAMES) == 54
    assert set(map(network, NAMES)) <= set(zoo.list_models())


@pytest.mark.parametrize("name", marked())
def test_complexity_and_logits_equal_the_reference(name, tmp_path):
    """Same tensors, same counts, and logits within 1e-4 of the largest, in float32 and inference mode."""
    expected = fixture(name)
    path = write_checkpoint(tmp_path / "weights.safetensors", expected["state_dict"], expected["gain"])
    keras.backend.clear_session()
    model = zoo.create(network(name), input_shape=(None, None, 3), weights=path)
    path.unlink()  # pytest keeps the folders of its last runs
    profile = zoo.profile(model, expected["macs_input_size"])
    assert (profile.parameters, profile.macs) == (expected["params"], expected["macs"])
    assert model.output_shape == (None, expected["num_classes"])
    logits = model(images(expected["input_size"]), training=False).numpy()[:, :100]
    assert np.abs(logits - np.array(expected["logits"])).max() <= 1e-4 * expected["logits_max_abs"]
