"""The networks against the reference implementations: complexity to the last digit, and the logits."""

import numpy as np
import pytest

import zoo
from reference import NAMES, checkpoint_names, fixture, images, tensor


def test_every_family_has_a_fixture():
    names = [name.split("__")[1] for name in NAMES]
    assert len(names) == 21
    for prefix in ("resnet", "resnext", "shufflenet_g", "shufflenet_v2", "mobilenetv1", "mobilenetv2", "mobilenetv3"):
        assert any(name.startswith(prefix) for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_complexity_and_logits_equal_the_reference(name):
    """Same tensors, same counts, and logits within 1e-4 of the largest, in float32 and inference mode."""
    expected = fixture(name)
    model = zoo.create(name.split("__")[1], input_shape=(None, None, 3))
    profile = zoo.profile(model, expected["macs_input_size"])
    assert (profile.parameters, profile.macs) == (expected["params"], expected["macs"])

    variables = checkpoint_names(model)
    assert set(variables) == {key for key, _ in expected["state_dict"]}
    for key, shape in expected["state_dict"]:
        variable, axes = variables[key]
        variable.assign(tensor(key, shape, expected["gain"]).transpose(axes))
    logits = model(images(expected["input_size"]), training=False).numpy()[:, :100]
    assert np.abs(logits - np.array(expected["logits"])).max() <= 1e-4 * expected["logits_max_abs"]
